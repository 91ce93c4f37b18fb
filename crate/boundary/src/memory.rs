//! Addresses from JavaScript to references: the only `unsafe` of the boundary.

use core::cell::{Cell, RefCell, RefMut};

use batchnorm_kernel::layout::{Extent, Layout, MAX_OPERANDS};
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

/// One value a channel, of the type that the operation wants.
pub fn per_channel<T>(address: usize, channels: usize) -> Result<&'static [Cell<T>], Status> {
    slice(address, channels)
}

/// As [`per_channel`], with 0 for none.
pub fn per_channel_if_any<T>(
    address: usize,
    channels: usize,
) -> Result<Option<&'static [Cell<T>]>, Status> {
    if address == 0 { Ok(None) } else { per_channel(address, channels).map(Some) }
}

/// The tensors of the call record at `address` (see the crate's documentation), and
/// their layout.
pub fn tensors<const K: usize>(
    address: usize,
    layout: &mut Layout,
) -> Result<[Cells<'static>; K], Status> {
    let cells = read_record(address, K, layout)?;
    Ok(core::array::from_fn(|k| cells[k]))
}

/// Not a copy for each number of tensors.
#[inline(never)]
fn read_record(
    address: usize,
    number: usize,
    layout: &mut Layout,
) -> Result<[Cells<'static>; MAX_OPERANDS], Status> {
    let header: &[Cell<u32>] = slice(address, 2)?;
    let rank = header[0].get() as usize;
    let words = rank.checked_mul(1 + number).and_then(|words| words.checked_add(2 + 2 * number));
    let words: &[Cell<u32>] = slice(address, words.ok_or(Status::BadRecord)?)?;
    // SAFETY: the caller owes a record that nobody writes during the call.
    let words: &[u32] = unsafe { &*(core::ptr::from_ref(words) as *const [u32]) };

    let sizes = &words[2..][..rank];
    let mut cells: [Cells; MAX_OPERANDS] = [&[]; MAX_OPERANDS];
    let mut extents = [Extent { strides: &[], len: 0 }; MAX_OPERANDS];
    for (k, tensor) in words[2 + rank..].chunks_exact(2 + rank).enumerate() {
        extents[k] = Extent { strides: &tensor[2..], len: tensor[1] as usize };
        cells[k] = slice(tensor[0] as usize, extents[k].len)?;
    }
    layout.plan(sizes, words[1] as usize, &extents[..number]).map_err(|_| Status::BadRecord)?;
    Ok(cells)
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
