//! The WebAssembly exports: thin shells over `batchnorm-kernel`.
//!
//! Nothing crosses but numbers: addresses, lengths, options and a [`Status`].
//! No slices (wasm-bindgen copies them), no strings, no thrown errors, no Rust
//! structs (a second owner): the module imports nothing at all.
//!
//! A *record* describes a call of [`batch_norm`], in numbers of four bytes (`u32`) but
//! for the first three (`f64`):
//!
//! ```text
//!  0  ε, weight of the batch in running statistics, correction of its variance there
//!  6  operation, axis, rank
//!  9  γ, β, mean, variance        addresses of one value a channel; 0 means absent
//! 13  gradients of γ and β, or running mean and variance to move
//! 15  1 where mean and variance are a batch's own, in `f64`
//! 16  sizes[rank], then for each tensor: address, length, strides[rank]
//! ```
//!
//! with lengths and strides in elements, the length from the first element to
//! the last that may be touched.
#![cfg_attr(target_arch = "wasm32", no_std)]

mod memory;

use batchnorm_kernel::moments::Statistics;
use batchnorm_kernel::norm::batch::{self, ParameterGradients, Parameters};
use memory::{Record, STATE, State};
use wasm_bindgen::prelude::wasm_bindgen;

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
}

/// Takes `bytes` of memory, aligned for vectors and cache lines; 0 where there is no room.
#[wasm_bindgen]
pub fn allocate(bytes: usize, zeroed: bool) -> usize {
    memory::allocate(bytes, zeroed)
}

/// Gives back what [`allocate`] returned for the same number of bytes.
#[wasm_bindgen]
pub fn release(address: usize, bytes: usize) {
    memory::release(address, bytes);
}

/// [`batch::forward`] of x and y; moves running statistics, if it took own ones.
const FORWARD: usize = 0;
/// [`batch::statistics`] of x, otherwise likewise.
const STATISTICS: usize = 1;
/// [`batch::backward`] of x, dy and dx.
const BACKWARD: usize = 2;
/// [`batch::update_running`] alone, by own statistics of x.
const UPDATE: usize = 3;

/// Runs the operation that the record at this address describes.
#[wasm_bindgen]
pub fn batch_norm(record: usize) -> Status {
    call(record).err().unwrap_or(Status::Ok)
}

fn call(record: usize) -> Result<(), Status> {
    let State { layout, workspace } = &mut *STATE.borrow_mut();
    let record = Record::read(record, layout)?;
    workspace.reserve(layout).map_err(|_| Status::OutOfMemory)?;
    let Record { tensors: [x, y, _], statistics, .. } = record;
    let [gamma, beta, first, second] = record.vectors;
    let [eps, weight, correction] = record.numbers;
    let parameters = Parameters { gamma, beta, eps };
    match (record.operation, statistics) {
        (FORWARD, _) => batch::forward(layout, [x, y], &parameters, &statistics, workspace),
        (STATISTICS, Statistics::Own(own)) => batch::statistics(layout, x, own, workspace),
        (BACKWARD, _) => {
            let gradients = ParameterGradients { gamma: first, beta: second };
            let tensors = record.tensors;
            batch::backward(layout, tensors, &parameters, &statistics, &gradients, workspace);
            return Ok(());
        }
        (UPDATE, _) => {}
        _ => return Err(Status::BadRecord),
    }
    if let (Statistics::Own(own), Some(mean), Some(variance)) = (statistics, first, second) {
        batch::update_running([mean, variance], own, weight, correction);
    }
    Ok(())
}
