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
mod heap;
mod memory;
mod per_instance;
mod record;
#[cfg(test)]
mod tests;

use abi::{Abi, Contents, Operation, Status, Word};
use batchnorm_kernel::Workspace;
use batchnorm_kernel::layout::Layout;
use batchnorm_kernel::norm::batch;
use batchnorm_kernel::parameters::{ParameterGradients, Parameters};
use batchnorm_kernel::statistics::Statistics;
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
    workspace: Workspace,
}

static STATE: PerInstance<State> = PerInstance::new(State::NEW);

impl State {
    const NEW: Self = Self { layout: Layout::NOTHING, workspace: Workspace::new() };
}

/// All is read before anything is written: what is written may be the record itself.
fn call(memory: Memory, record: usize, state: &mut State) -> Result<(), Status> {
    let State { layout, workspace } = state;
    let record = Record::read(memory, record, layout)?;
    let [eps, momentum, correction] = record.numbers;
    let [x, y, _] = record.tensors;
    let accumulators = record.pair(Word::FirstAccumulator)?;
    let saved = record.saved()?;
    let constant = record.word(Word::Constant) != 0;
    // Asked for once a vector of all channels was found in memory: no made-up shape makes it large.
    let reserve =
        |workspace: &mut Workspace| workspace.reserve(layout).map_err(|_| Status::OutOfMemory);
    if record.operation == Operation::Forward {
        let [gamma, beta] = record.pair(Word::Weight)?;
        let given = match record.pair(Word::Mean)? {
            [Some(mean), Some(variance)] => Some([mean, variance]),
            [None, None] if saved.is_some() => None,
            _ => return Err(Status::BadRecord),
        };
        if given.is_some_and(|[_, variance]| variance.iter().any(|value| value.get() < 0.0)) {
            return Err(Status::NegativeVariance);
        }
        reserve(workspace)?;
        let parameters = Parameters { gamma, beta, eps };
        batch::forward(layout, [x, y], &parameters, given, saved.as_ref(), workspace);
        if given.is_some() {
            return Ok(());
        }
    }
    let saved = saved.ok_or(Status::BadRecord)?;
    match record.operation {
        Operation::Statistics => {
            reserve(workspace)?;
            batch::statistics(layout, x, &saved, workspace);
        }
        Operation::Backward => {
            reserve(workspace)?;
            let statistics = if constant { Statistics::GIVEN } else { Statistics::BATCH };
            let [gamma, beta] = accumulators;
            let gradients = ParameterGradients { gamma, beta };
            let tensors = record.tensors;
            batch::backward(layout, tensors, &saved, statistics, eps, &gradients, workspace);
        }
        Operation::Forward | Operation::Update => {
            if let ([Some(mean), Some(variance)], false) = (accumulators, layout.is_empty()) {
                batch::update_running([mean, variance], &saved, momentum, correction);
            }
        }
    }
    Ok(())
}
