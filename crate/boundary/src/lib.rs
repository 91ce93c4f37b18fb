//! The WebAssembly exports: thin shells over `batchnorm-kernel`.
//!
//! Nothing crosses but numbers: addresses, lengths, options and a [`Status`].
//! No slices (wasm-bindgen copies them), no strings, no thrown errors, no Rust
//! structs (a second owner): the module imports nothing at all.
//!
//! [`abi`] has what both sides agree on: a record of words describes a call of [`run`].
//!
//! The statistics of no elements are saved as 0, and move nothing.
//!
//! What a trap left half done is never used again: the next call traps as well.
#![cfg_attr(target_arch = "wasm32", no_std)]

mod abi;
mod calls;
#[cfg(all(feature = "threads", target_family = "wasm"))]
mod crew;
mod heap;
mod memory;
mod operations;
mod per_instance;
mod record;
#[cfg(test)]
mod tests;

use abi::{Abi, Contents, Operation, Status};
use batchnorm_kernel::Workspace;
use batchnorm_kernel::layout::Layout;
use calls::{batch, group, layer};
use memory::Memory;
use per_instance::PerInstance;
use record::Record;
use wasm_bindgen::prelude::wasm_bindgen;

/// Nobody can read a message here, and its text would be a third of the module.
/// The trap reaches JavaScript as a `WebAssembly.RuntimeError`.
#[cfg(target_arch = "wasm32")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    core::arch::wasm32::unreachable()
}

/// What a caller compares with the version that it was written for.
#[wasm_bindgen]
pub fn abi_version() -> u32 {
    Abi::Version as u32
}

/// Takes `bytes` of memory, aligned for vectors and cache lines; 0 where there is no room.
/// `contents` is of [`Contents`]: a number, since wasm-bindgen would import what refuses others.
#[wasm_bindgen]
pub fn allocate(bytes: usize, contents: u32) -> usize {
    let is_arbitrary = contents == Contents::Arbitrary as u32;
    heap::allocate(bytes, if is_arbitrary { Contents::Arbitrary } else { Contents::Zero })
}

/// Gives back what [`allocate`] returned for the same number of bytes.
#[wasm_bindgen]
pub fn release(address: usize, bytes: usize) {
    heap::release(address, bytes);
}

/// Runs the operation that the record at this address describes.
#[wasm_bindgen]
pub fn run(record: usize) -> Status {
    call(Memory::of_module(), record, &mut STATE.borrow_mut()).err().unwrap_or(Status::Ok)
}

/// Memory of a call that the next one uses again.
struct State {
    layout: Layout,
    /// The same, with channels that are normalized together as one, or some of its rows; or of the
    /// tensors by which a gradient is gated.
    sets: Layout,
    workspace: Workspace,
}

static STATE: PerInstance<State> = PerInstance::new(State::NEW);

impl State {
    const NEW: Self =
        Self { layout: Layout::NOTHING, sets: Layout::NOTHING, workspace: Workspace::new() };
}

/// All is read before anything is written: what is written may be the record itself.
fn call(memory: Memory, record: usize, state: &mut State) -> Result<(), Status> {
    let State { layout, sets, workspace } = state;
    let record = Record::read(memory, record, [layout, sets])?;
    match record.operation {
        Operation::Forward
        | Operation::ActivatedForward
        | Operation::ResidualForward
        | Operation::Statistics
        | Operation::Backward
        | Operation::ActivatedBackward
        | Operation::Update => batch::call(record, layout, sets, workspace),
        Operation::GroupForward | Operation::GroupBackward => {
            group::call(record, layout, sets, workspace)
        }
        Operation::LayerForward
        | Operation::LayerBackward
        | Operation::RmsForward
        | Operation::RmsBackward
        | Operation::UnitForward
        | Operation::UnitBackward => layer::call(record, layout, sets, workspace),
    }
}
