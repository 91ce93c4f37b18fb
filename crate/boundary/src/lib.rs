//! The WebAssembly exports: thin shells over `batchnorm-kernel`.
//!
//! Nothing crosses but numbers: addresses, lengths, options and a [`Status`].
//! No slices (wasm-bindgen copies them), no strings, no thrown errors, no Rust
//! structs (a second owner): the module imports nothing at all.
//!
//! A *record* describes a call of [`batch_norm`], in numbers of four bytes (`u32`) but
//! for the first three (`f64`). Its caller writes it whole, with 0 for what is absent:
//!
//! ```text
//!  0  ε, weight of the batch in running statistics, correction of its variance there
//!  6  operation, axis, rank (up to 64)
//!  9  γ, β                  addresses of f32, one a channel
//! 11  mean, variance        given statistics: likewise; both 0: the batch's own
//! 13  first, second         to be written, f32, one a channel: gradients of γ and β, which
//!                           are added to, or running mean and variance to move
//! 15  saved                 address of 3·C f64: means, then variances, then γ (1 where
//!                           absent) of a forward pass
//! 16  constant              1 where these statistics were given: gradients see constants
//! 17  sizes[rank], then for each of three tensors: address, length, strides[rank]
//! ```
//!
//! with lengths and strides in elements, the length from the first element to behind the
//! last that may be touched.
//!
//! | operation | tensors | does |
//! |---|---|---|
//! | 0 forward | x, y | normalizes by given statistics, or by own ones, and then moves first and second, if both are there; saves, which own statistics require |
//! | 1 statistics | x | saves own statistics |
//! | 2 backward | x, dy, dx | adds dγ to first and dβ to second, by what was saved; 9 to 12 are not read |
//! | 3 update | x | moves first and second by what was saved |
//!
//! Own statistics of no elements are saved as 0, and move nothing.
//!
//! What a trap left half done is never used again: the next call traps as well.
#![cfg_attr(target_arch = "wasm32", no_std)]

mod heap;
mod memory;
mod record;
#[cfg(test)]
mod tests;

use batchnorm_kernel::Workspace;
use batchnorm_kernel::layout::Layout;
use batchnorm_kernel::moments::Statistics;
use batchnorm_kernel::norm::batch::{self, ParameterGradients, Parameters};
use memory::{Memory, PerInstance};
use record::{Operation, Record};
use wasm_bindgen::prelude::wasm_bindgen;

/// Nobody can read a message here, and its text would be a third of the module.
/// The trap reaches JavaScript as a `WebAssembly.RuntimeError`.
#[cfg(target_arch = "wasm32")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    core::arch::wasm32::unreachable()
}

/// How a call ended. Anything but `Ok` means that nothing was written.
#[wasm_bindgen]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Status {
    /// Done.
    Ok = 0,
    /// No room for the workspace.
    OutOfMemory = 1,
    /// The call record contradicts itself: the caller's mistake.
    BadRecord = 2,
    /// An address or a length lies outside of the memory: the caller's mistake.
    BadAddress = 3,
    /// A given variance is below zero.
    NegativeVariance = 4,
}

/// To be raised with every change of the record, the exports or [`Status`].
const ABI_VERSION: u32 = 1;

/// What a caller compares with the version that it was written for.
#[wasm_bindgen]
pub fn abi_version() -> u32 {
    ABI_VERSION
}

/// Takes `bytes` of memory, aligned for vectors and cache lines; 0 where there is no room.
#[wasm_bindgen]
pub fn allocate(bytes: usize, zeroed: bool) -> usize {
    heap::allocate(bytes, zeroed)
}

/// Gives back what [`allocate`] returned for the same number of bytes.
#[wasm_bindgen]
pub fn release(address: usize, bytes: usize) {
    heap::release(address, bytes);
}

/// Runs the operation that the record at this address describes.
#[wasm_bindgen]
pub fn batch_norm(record: usize) -> Status {
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
    let [eps, weight, correction] = record.numbers;
    let [x, y, _] = record.tensors;
    let outputs = record.pair(13)?;
    let saved = record.saved()?;
    let constant = record.word(16) != 0;
    // Vectors of all channels lie in memory: so much can be asked for.
    let reserve =
        |workspace: &mut Workspace| workspace.reserve(layout).map_err(|_| Status::OutOfMemory);
    if record.operation == Operation::Forward {
        let [gamma, beta] = record.pair(9)?;
        let given = match record.pair(11)? {
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
            let statistics = if constant { Statistics::Given } else { Statistics::Own };
            let [gamma, beta] = outputs;
            let gradients = ParameterGradients { gamma, beta };
            let tensors = record.tensors;
            batch::backward(layout, tensors, &saved, statistics, eps, &gradients, workspace);
        }
        Operation::Forward | Operation::Update => {
            if let ([Some(mean), Some(variance)], false) = (outputs, layout.is_empty()) {
                batch::update_running([mean, variance], &saved, weight, correction);
            }
        }
    }
    Ok(())
}
