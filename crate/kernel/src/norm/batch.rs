//! Batch normalization (Ioffe & Szegedy, 2015, arXiv:1502.03167).
//!
//! ```text
//! μ, σ²   mean and biased variance of each channel's n elements
//! s  = 1/√(σ² + ε)          x̂ = (x − μ)·s
//! y  = γ·x̂ + β
//!
//! dβ = Σ dy                  dγ = Σ dy·x̂
//! dx = γ·s·(dy − dβ/n − x̂·dγ/n)      through batch statistics
//! dx = γ·s·dy                         through running statistics (constants)
//!
//! running ← running + w·(batch − running)      w: weight of the new batch
//! ```

use core::cell::Cell;

use crate::Cells;
use crate::affine;
use crate::layout::Layout;
use crate::moments::{Statistics, co_moment, gather, gather_pairs, moments};
use crate::sweep::{Pass, apply};
use crate::workspace::Workspace;

/// Scale γ (1 where absent) and offset β (0 where absent) of each channel.
#[derive(Clone, Copy, Debug)]
pub struct Parameters<'a> {
    /// Scale, PyTorch's `weight`.
    pub gamma: Option<Cells<'a>>,
    /// Offset, PyTorch's `bias`.
    pub beta: Option<Cells<'a>>,
    /// Added to the variance; not negative.
    pub eps: f64,
}

/// Where the parameters' gradients are added up.
#[derive(Clone, Copy, Debug)]
pub struct ParameterGradients<'a> {
    /// `+= dγ`.
    pub gamma: Option<Cells<'a>>,
    /// `+= dβ`.
    pub beta: Option<Cells<'a>>,
}

/// What a forward pass saves of each channel: all but x that its gradients need.
#[derive(Clone, Copy, Debug)]
pub struct Saved<'a> {
    /// Mean. Where there was no element to take it from, it and the variance are no number.
    pub mean: &'a [Cell<f64>],
    /// Variance; the batch's own is the biased one.
    pub variance: &'a [Cell<f64>],
    /// Scale γ, 1 where absent.
    pub gamma: &'a [Cell<f64>],
}

/// Normalizes: by `given` means and variances, or by those of x itself, which it takes.
///
/// The layout's operands are x and y.
pub fn forward(
    layout: &Layout,
    [x, y]: [Cells; 2],
    parameters: &Parameters,
    given: Option<[Cells; 2]>,
    saved: Option<&Saved>,
    workspace: &mut Workspace,
) {
    let pass = Pass { layout, tensors: [x, y, &[]], group: 0..0, workspace };
    take_and_normalize(pass, Some(parameters), given, saved);
}

/// Saves mean and biased variance of each channel of x, the layout's only operand.
pub fn statistics(layout: &Layout, x: Cells, saved: &Saved, workspace: &mut Workspace) {
    let pass = Pass { layout, tensors: [x, &[], &[]], group: 0..0, workspace };
    take_and_normalize(pass, None, None, Some(saved));
}

#[inline(never)]
fn take_and_normalize(
    mut pass: Pass,
    parameters: Option<&Parameters>,
    given: Option<[Cells; 2]>,
    saved: Option<&Saved>,
) {
    let given_of = |channel: usize| {
        given.map(|statistics| statistics.map(|values| f64::from(values[channel].get())))
    };
    if let Some(saved) = saved {
        // Of all channels, and first: an empty batch has no group.
        let gamma = parameters.and_then(|parameters| parameters.gamma);
        for channel in 0..pass.layout.channels {
            saved.set_statistics(channel, given_of(channel).unwrap_or([0.0; 2]));
            saved.gamma[channel].set(value_of(gamma, channel, 1.0));
        }
    }
    let own = given.is_none();
    // By given statistics there is nothing in the cache to come back to.
    let size = if own { pass.layout.group(1) } else { pass.layout.channels };
    let eps = parameters.map_or(0.0, |parameters| parameters.eps);
    while next_group(&mut pass, size) {
        if own {
            gather(&mut pass);
        }
        for channel in pass.group.clone() {
            let statistics = given_of(channel).unwrap_or_else(|| {
                let moments = moments(&pass, channel, eps);
                if let Some(saved) = saved {
                    saved.set_statistics(channel, moments);
                }
                moments
            });
            if let Some(parameters) = parameters {
                let [mean, variance] = statistics;
                let inverse_std = affine::inverse_std(variance + eps, own);
                let gamma = value_of(parameters.gamma, channel, 1.0);
                let beta = value_of(parameters.beta, channel, 0.0);
                let constants = affine::forward(mean, inverse_std, gamma, beta);
                pass.workspace.set_constants(channel, constants);
            }
        }
        if parameters.is_some() {
            apply_forward(&mut pass, [0, 1], own);
        }
    }
}

/// The gradients of [`forward`], by what it `saved` of these `statistics`, and its ε.
///
/// The layout's operands are x, dy and dx.
pub fn backward(
    layout: &Layout,
    tensors: [Cells; 3],
    saved: &Saved,
    statistics: Statistics,
    eps: f64,
    gradients: &ParameterGradients,
    workspace: &mut Workspace,
) {
    let count = layout.count as f64;
    let own = statistics == Statistics::Own;
    let sums = own || gradients.gamma.is_some() || gradients.beta.is_some();
    let pass = &mut Pass { layout, tensors, group: 0..0, workspace };
    while next_group(pass, layout.group(2)) {
        if sums {
            gather_pairs(pass, saved.mean, statistics);
        }
        for channel in pass.group.clone() {
            let (mean, gamma) = (saved.mean[channel].get(), saved.gamma[channel].get());
            let inverse_std = affine::inverse_std(saved.variance[channel].get() + eps, own);
            let [sum_dy, co] =
                if sums { co_moment(pass, channel, mean, inverse_std) } else { [0.0; 2] };
            // Σdy·x̂ = s·Σ(x − μ)·dy, and there the mean of dy makes no difference.
            accumulate(gradients.gamma, channel, co * inverse_std);
            accumulate(gradients.beta, channel, sum_dy);
            let constants = if own {
                let covariance = co * inverse_std / count;
                affine::backward(mean, inverse_std, gamma, sum_dy / count, covariance)
            } else {
                [0.0, (gamma * inverse_std) as f32, 0.0, 0.0, 0.0]
            };
            pass.workspace.set_constants(channel, constants);
        }
        if own {
            apply(pass, &[0, 1, 2], true, affine::backward_map);
        } else {
            apply_forward(pass, [1, 2], true);
        }
    }
}

/// Goes on to the next `size` channels, if there are any more; an empty batch has none.
fn next_group(pass: &mut Pass, size: usize) -> bool {
    let end = if pass.layout.is_empty() { 0 } else { pass.layout.channels };
    pass.group = pass.group.end..end.min(pass.group.end + size);
    !pass.group.is_empty()
}

#[inline(never)]
fn apply_forward(pass: &mut Pass, operands: [usize; 2], backwards: bool) {
    apply(pass, &operands, backwards, affine::forward_map);
}

/// Moves running means and variances towards saved ones: `weight` of the new ones, their
/// variance times `correction` (n/(n−1) for the unbiased one).
pub fn update_running(running: [Cells; 2], saved: &Saved, weight: f64, correction: f64) {
    let saved = [saved.mean, saved.variance];
    for ((running, saved), factor) in running.into_iter().zip(saved).zip([1.0, correction]) {
        for (running, saved) in running.iter().zip(saved) {
            let old = f64::from(running.get());
            let new = saved.get() * factor;
            running.set((old * (1.0 - weight) + new * weight) as f32);
        }
    }
}

impl Saved<'_> {
    #[inline(always)]
    fn set_statistics(&self, channel: usize, [mean, variance]: [f64; 2]) {
        self.mean[channel].set(mean);
        self.variance[channel].set(variance);
    }
}

fn value_of(parameter: Option<Cells>, channel: usize, absent: f64) -> f64 {
    parameter.map_or(absent, |cells| f64::from(cells[channel].get()))
}

fn accumulate(gradient: Option<Cells>, channel: usize, value: f64) {
    if let Some(gradient) = gradient {
        let cell = &gradient[channel];
        cell.set((f64::from(cell.get()) + value) as f32);
    }
}
