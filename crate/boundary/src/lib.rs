//! The WebAssembly exports: thin shells over `batchnorm-kernel`.
//!
//! Nothing crosses but numbers: addresses, lengths, options and a [`Status`].
//! No slices (wasm-bindgen copies them), no strings, no thrown errors, no Rust
//! structs (a second owner): the module imports nothing at all.
//!
//! A *call record* describes the tensors of a call, as `u32`s:
//!
//! ```text
//! rank, axis, sizes[rank], then for each tensor: address, length, strides[rank]
//! ```
//!
//! with lengths and strides in elements, the length from the first element to
//! the last that may be touched. Addresses of arrays with one value a channel
//! stand alone; 0 means absent.
#![cfg_attr(target_arch = "wasm32", no_std)]

mod memory;

use batchnorm_kernel::norm::batch::{
    self, BatchStatistics, ParameterGradients, Parameters, RunningStatistics,
};
use memory::{STATE, State, per_channel, per_channel_if_any, tensors};
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

/// [`batch::training`] of the tensors (x, y); writes `mean` and `variance` (f64).
#[wasm_bindgen]
pub fn batch_norm_training(
    record: usize,
    gamma: usize,
    beta: usize,
    eps: f64,
    mean: usize,
    variance: usize,
) -> Status {
    call(|| {
        let State { layout, workspace } = &mut *STATE.borrow_mut();
        let tensors = tensors::<2>(record, layout)?;
        let n = layout.channels;
        let parameters = parameters(gamma, beta, eps, n)?;
        let batch =
            BatchStatistics { mean: per_channel(mean, n)?, variance: per_channel(variance, n)? };
        workspace.reserve(layout).map_err(|_| Status::OutOfMemory)?;
        batch::training(layout, tensors, parameters, batch, workspace);
        Ok(())
    })
}

/// [`batch::statistics`] of the tensor x; writes `mean` and `variance` (f64).
#[wasm_bindgen]
pub fn batch_norm_statistics(record: usize, mean: usize, variance: usize) -> Status {
    call(|| {
        let State { layout, workspace } = &mut *STATE.borrow_mut();
        let [x] = tensors(record, layout)?;
        let n = layout.channels;
        let batch =
            BatchStatistics { mean: per_channel(mean, n)?, variance: per_channel(variance, n)? };
        workspace.reserve(layout).map_err(|_| Status::OutOfMemory)?;
        batch::statistics(layout, x, batch, workspace);
        Ok(())
    })
}

/// [`batch::inference`] of the tensors (x, y).
#[wasm_bindgen]
pub fn batch_norm_inference(
    record: usize,
    gamma: usize,
    beta: usize,
    eps: f64,
    mean: usize,
    variance: usize,
) -> Status {
    call(|| {
        let State { layout, workspace } = &mut *STATE.borrow_mut();
        let tensors = tensors::<2>(record, layout)?;
        let n = layout.channels;
        let parameters = parameters(gamma, beta, eps, n)?;
        let running = running(mean, variance, n)?;
        workspace.reserve(layout).map_err(|_| Status::OutOfMemory)?;
        batch::inference(layout, tensors, parameters, running, workspace);
        Ok(())
    })
}

/// [`batch::backward`] of the tensors (x, dy, dx); adds to the gradients.
#[wasm_bindgen]
pub fn batch_norm_backward(
    record: usize,
    gamma: usize,
    eps: f64,
    mean: usize,
    variance: usize,
    gamma_gradient: usize,
    beta_gradient: usize,
) -> Status {
    call(|| {
        let State { layout, workspace } = &mut *STATE.borrow_mut();
        let tensors = tensors::<3>(record, layout)?;
        let n = layout.channels;
        let parameters = parameters(gamma, 0, eps, n)?;
        let batch =
            BatchStatistics { mean: per_channel(mean, n)?, variance: per_channel(variance, n)? };
        let gradients = gradients(gamma_gradient, beta_gradient, n)?;
        workspace.reserve(layout).map_err(|_| Status::OutOfMemory)?;
        batch::backward(layout, tensors, parameters, batch, gradients, workspace);
        Ok(())
    })
}

/// [`batch::backward_frozen`] of the tensors (x, dy, dx); adds to the gradients.
#[wasm_bindgen]
pub fn batch_norm_backward_frozen(
    record: usize,
    gamma: usize,
    eps: f64,
    mean: usize,
    variance: usize,
    gamma_gradient: usize,
    beta_gradient: usize,
) -> Status {
    call(|| {
        let State { layout, workspace } = &mut *STATE.borrow_mut();
        let tensors = tensors::<3>(record, layout)?;
        let n = layout.channels;
        let parameters = parameters(gamma, 0, eps, n)?;
        let running = running(mean, variance, n)?;
        let gradients = gradients(gamma_gradient, beta_gradient, n)?;
        workspace.reserve(layout).map_err(|_| Status::OutOfMemory)?;
        batch::backward_frozen(layout, tensors, parameters, running, gradients, workspace);
        Ok(())
    })
}

/// [`batch::update_running`] over `channels` channels.
#[wasm_bindgen]
pub fn batch_norm_update_running(
    channels: usize,
    running_mean: usize,
    running_variance: usize,
    mean: usize,
    variance: usize,
    weight: f64,
    correction: f64,
) -> Status {
    call(|| {
        let running = running(running_mean, running_variance, channels)?;
        let batch = BatchStatistics {
            mean: per_channel(mean, channels)?,
            variance: per_channel(variance, channels)?,
        };
        batch::update_running(running, batch, weight, correction);
        Ok(())
    })
}

fn call(body: impl FnOnce() -> Result<(), Status>) -> Status {
    body().err().unwrap_or(Status::Ok)
}

fn parameters(
    gamma: usize,
    beta: usize,
    eps: f64,
    channels: usize,
) -> Result<Parameters<'static>, Status> {
    Ok(Parameters {
        gamma: per_channel_if_any(gamma, channels)?,
        beta: per_channel_if_any(beta, channels)?,
        eps,
    })
}

fn running(
    mean: usize,
    variance: usize,
    channels: usize,
) -> Result<RunningStatistics<'static>, Status> {
    Ok(RunningStatistics {
        mean: per_channel(mean, channels)?,
        variance: per_channel(variance, channels)?,
    })
}

fn gradients(
    gamma: usize,
    beta: usize,
    channels: usize,
) -> Result<ParameterGradients<'static>, Status> {
    Ok(ParameterGradients {
        gamma: per_channel_if_any(gamma, channels)?,
        beta: per_channel_if_any(beta, channels)?,
    })
}
