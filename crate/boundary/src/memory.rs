//! Addresses from JavaScript to references: the only `unsafe` of the boundary.

use core::cell::{Cell, RefCell, RefMut};

use batchnorm_kernel::layout::{Extent, Layout, MAX_OPERANDS};
use batchnorm_kernel::moments::Statistics;
use batchnorm_kernel::{Cells, Workspace};

use crate::Status;

extern crate alloc;
use alloc::alloc::{Layout as Block, alloc, alloc_zeroed, dealloc};

#[cfg(target_arch = "wasm32")]
#[global_allocator]
static ALLOCATOR: rlsf::SmallGlobalTlsf = rlsf::SmallGlobalTlsf::new();

/// Nobody can read a message here, and its text would be a third of the module.
/// The trap reaches JavaScript as a `WebAssembly.RuntimeError`.
#[cfg(target_arch = "wasm32")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    core::arch::wasm32::unreachable()
}

/// A cache line; vectors need 16.
const ALIGNMENT: usize = 64;

/// What an instance of the module keeps from call to call.
pub static STATE: PerInstance<State> =
    PerInstance(RefCell::new(State { layout: Layout::NOTHING, workspace: Workspace::new() }));

/// Memory of a call that the next one uses again.
pub struct State {
    pub layout: Layout,
    pub workspace: Workspace,
}

/// A value of which every instance of the module has one.
pub struct PerInstance<T>(RefCell<T>);

// SAFETY: without atomics an instance has one thread.
#[cfg(not(target_feature = "atomics"))]
unsafe impl<T> Sync for PerInstance<T> {}

impl<T> PerInstance<T> {
    pub fn borrow_mut(&self) -> RefMut<'_, T> {
        self.0.borrow_mut()
    }
}

fn block(bytes: usize) -> Option<Block> {
    // An empty tensor has an address too: one byte.
    Block::from_size_align(bytes.max(1), ALIGNMENT).ok()
}

pub fn allocate(bytes: usize, zeroed: bool) -> usize {
    let Some(block) = block(bytes) else { return 0 };
    // SAFETY: the block's size is not zero.
    let pointer = unsafe { if zeroed { alloc_zeroed(block) } else { alloc(block) } };
    pointer.expose_provenance()
}

pub fn release(address: usize, bytes: usize) {
    if let Some(block) = block(bytes) {
        // SAFETY: the caller owes an address from `allocate` with the same
        // number of bytes, and to forget it; the port's storage does so.
        unsafe { dealloc(core::ptr::with_exposed_provenance_mut(address), block) }
    }
}

/// Where the tensors of a record begin, in words.
const HEADER: usize = 16;

/// A call record (see the crate's documentation), read and checked.
pub struct Record {
    pub operation: usize,
    pub numbers: [f64; 3],
    /// x, then y or dy, then dx; empty where the operation has less.
    pub tensors: [Cells<'static>; MAX_OPERANDS],
    pub statistics: Statistics<'static>,
    /// One value a channel: γ, β, and two to be written.
    pub vectors: [Option<Cells<'static>>; 4],
}

/// Tensors of each operation.
const TENSORS: [usize; 4] = [2, 1, 3, 1];

impl Record {
    /// Reads it, and plans the walk over its tensors.
    pub fn read(address: usize, layout: &mut Layout) -> Result<Self, Status> {
        let numbers: &[Cell<f64>] = slice(address, 3)?;
        let header: &[Cell<u32>] = slice(address, HEADER)?;
        let word = |index: usize| header[index].get() as usize;
        let (operation, axis, rank) = (word(6), word(7), word(8));
        let tensors = *TENSORS.get(operation).ok_or(Status::BadRecord)?;
        let len = rank.checked_mul(1 + tensors).and_then(|len| len.checked_add(2 * tensors));
        let rest = address + HEADER * size_of::<u32>();
        let words: &[Cell<u32>] = slice(rest, len.ok_or(Status::BadRecord)?)?;
        // SAFETY: the caller owes a record that nobody writes during the call.
        let words: &[u32] = unsafe { &*(core::ptr::from_ref(words) as *const [u32]) };

        let (sizes, words) = words.split_at(rank);
        let mut tensors: [Cells; MAX_OPERANDS] = [&[]; MAX_OPERANDS];
        let mut extents = [Extent { strides: &[], len: 0 }; MAX_OPERANDS];
        for (k, tensor) in words.chunks_exact(2 + rank).enumerate() {
            let extent = Extent { strides: &tensor[2..], len: tensor[1] as usize };
            tensors[k] = slice(tensor[0] as usize, extent.len)?;
            extents[k..].fill(extent);
        }
        layout.plan(sizes, axis, &extents).map_err(|_| Status::BadRecord)?;

        let channels = layout.channels;
        let vector = |index| match word(index) {
            0 => Ok(None),
            address => slice(address, channels).map(Some),
        };
        let statistics = if word(15) == 0 {
            Statistics::Given([slice(word(11), channels)?, slice(word(12), channels)?])
        } else {
            Statistics::Own([slice(word(11), channels)?, slice(word(12), channels)?])
        };
        Ok(Self {
            operation,
            numbers: core::array::from_fn(|index| numbers[index].get()),
            tensors,
            statistics,
            vectors: [vector(9)?, vector(10)?, vector(13)?, vector(14)?],
        })
    }
}

fn slice<T>(address: usize, len: usize) -> Result<&'static [Cell<T>], Status> {
    if !lies_in_memory(address, len, size_of::<T>(), align_of::<T>()) {
        return Err(Status::BadAddress);
    }
    // SAFETY: aligned, not null and inside of the memory, which only grows. That
    // it overlaps nothing of the module's own is what the caller owes: it passes
    // only what `allocate` gave it and it has not released.
    Ok(unsafe { core::slice::from_raw_parts(core::ptr::with_exposed_provenance(address), len) })
}

#[inline(never)]
fn lies_in_memory(address: usize, len: usize, size: usize, alignment: usize) -> bool {
    let end = len
        .checked_mul(size)
        .filter(|&bytes| bytes <= isize::MAX as usize)
        .and_then(|bytes| address.checked_add(bytes));
    address != 0
        && address.is_multiple_of(alignment)
        && end.is_some_and(|end| end <= memory_bytes())
}

#[cfg(target_arch = "wasm32")]
fn memory_bytes() -> usize {
    // Saturates at 4 GiB − 1, where no slice of a whole memory ends.
    core::arch::wasm32::memory_size(0).saturating_mul(65_536)
}

/// Native builds exist for lints only; there the kernel is tested directly.
#[cfg(not(target_arch = "wasm32"))]
fn memory_bytes() -> usize {
    usize::MAX
}
