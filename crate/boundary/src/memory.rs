//! Addresses to references: with the one promise that `record.rs` gives to [`Memory::words`], all
//! that is `unsafe` between the exports and the kernel.

use core::cell::Cell;
use core::marker::PhantomData;

/// Memory that a record may speak of.
#[derive(Clone, Copy)]
pub struct Memory<'a> {
    /// Where address 0 is, and the first address that counts; of the module's they are known.
    #[cfg(not(target_arch = "wasm32"))]
    origin: [usize; 2],
    end: usize,
    lifetime: PhantomData<&'a [Cell<u64>]>,
}

/// A number that any bytes are one of.
///
/// # Safety
/// It must be one.
pub unsafe trait Number {}
// SAFETY: none of their bits is invalid.
unsafe impl Number for u32 {}
// SAFETY: likewise.
unsafe impl Number for f32 {}
// SAFETY: likewise.
unsafe impl Number for f64 {}

impl Memory<'static> {
    /// All of the module's but its stack and statics, which come first.
    #[cfg(target_arch = "wasm32")]
    pub fn of_module() -> Self {
        // Saturates at 4 GiB − 1, where no number of a whole memory ends.
        let end = core::arch::wasm32::memory_size(0).saturating_mul(crate::heap::PAGE);
        Self { end, lifetime: PhantomData }
    }

    /// Natively the exports are there for lints only; tests bring a memory of their own.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn of_module() -> Self {
        Self { origin: [0, 1], end: 0, lifetime: PhantomData }
    }
}

impl<'a> Memory<'a> {
    /// These; address 0 is that of the first one.
    #[cfg(test)]
    pub fn new(cells: &'a [Cell<u64>], start: usize, end: usize) -> Self {
        assert!(0 < start && start <= end && end <= size_of_val(cells));
        let base = cells.as_ptr().expose_provenance();
        Self { origin: [base, start], end, lifetime: PhantomData }
    }

    /// `len` numbers from `address` on, if all of them lie in this memory.
    pub fn cells<T: Number>(self, address: usize, len: usize) -> Option<&'a [Cell<T>]> {
        let address = self.place(address, len, size_of::<T>())?;
        // SAFETY: aligned, not null and inside of memory that is there as long as `'a`, and
        // of which all others know that it may change at any time: they use cells as well.
        // Of the module's own that is what the caller owes: it passes only what `allocate`
        // gave it and it has not released.
        Some(unsafe {
            core::slice::from_raw_parts(core::ptr::with_exposed_provenance(address), len)
        })
    }

    /// [`Memory::cells`] that stay as they are.
    ///
    /// # Safety
    /// Nobody may write to them while they are borrowed.
    pub unsafe fn words(self, address: usize, len: usize) -> Option<&'a [u32]> {
        let cells: &[Cell<u32>] = self.cells(address, len)?;
        // SAFETY: a cell is laid out as what it holds; the rest is the caller's.
        Some(unsafe { &*(core::ptr::from_ref(cells) as *const [u32]) })
    }

    #[cfg(target_arch = "wasm32")]
    fn origin(self) -> [usize; 2] {
        [0, crate::heap::base()]
    }

    #[cfg(not(target_arch = "wasm32"))]
    fn origin(self) -> [usize; 2] {
        self.origin
    }

    /// Where `len` numbers of `size` bytes, and so aligned, are.
    #[inline(never)]
    fn place(self, address: usize, len: usize, size: usize) -> Option<usize> {
        let bytes = len.checked_mul(size).filter(|&bytes| bytes <= isize::MAX as usize)?;
        let end = address.checked_add(bytes)?;
        let [base, start] = self.origin();
        let place = base + address;
        (address >= start && end <= self.end && place.is_multiple_of(size)).then_some(place)
    }
}
