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
//!
//! Where elements have weights w, and W = Σw, the same in all channels:
//!
//! ```text
//! μ  = Σwx/W                 σ² = Σw(x − μ)²/W
//! dx = γ·s·(dy − w/W·(dβ + x̂·dγ))      sums over all elements, where Σ(x − μ) is not 0
//! ```

use crate::Cells;
use crate::activation::{Activation, Gate};
use crate::affine;
use crate::co_moments::{self, co_moment};
use crate::layout::{Band, Form, Layout, MAX_OPERANDS, Order};
use crate::norm::forward::Forward;
pub use crate::norm::forward::Given;
use crate::parameters::{ParameterGradients, Parameters, accumulate};
use crate::statistics::{Saved, Statistics};
use crate::sweep::{Pass, Weights};
use crate::workspace::Workspace;

/// Normalizes: by `given` means and variances, or by those of x itself, which it takes, in which
/// its elements have `weights`. With these there has to be room for [`Weights::room`].
///
/// The layout's operands are x and y, or where the activation says so x, a residual and y.
pub fn forward(
    layout: &Layout,
    (tensors, activation): (&[Cells; MAX_OPERANDS], Option<Activation>),
    parameters: &Parameters,
    given: Option<Given>,
    weights: Option<&Weights>,
    saved: Option<&Saved>,
    workspace: &mut Workspace,
) {
    let own = Statistics::BATCH;
    let forward = Forward { parameters: Some(parameters), given, own, activation, weights, saved };
    forward.run([layout, layout], 1, *tensors, workspace);
}

/// Saves mean and biased variance of each channel of x, the layout's only operand.
pub fn statistics(
    layout: &Layout,
    x: Cells,
    weights: Option<&Weights>,
    saved: &Saved,
    workspace: &mut Workspace,
) {
    let own = Statistics::BATCH;
    let (activation, saved) = (None, Some(saved));
    let forward = Forward { parameters: None, given: None, own, activation, weights, saved };
    forward.run([layout, layout], 1, [x, &[], &[]], workspace);
}

/// The gradients of [`forward`], by what it `saved` of these `statistics`, and its ε.
///
/// The layout's operands are x, dy and dx. With a gate dy is what it writes, band by band; dx
/// may be the same.
pub fn backward(
    layout: &Layout,
    (tensors, gate): (&[Cells; MAX_OPERANDS], Option<&Gate>),
    saved: &Saved,
    (statistics, weights): (Statistics, Option<&Weights>),
    eps: f64,
    gradients: &ParameterGradients,
    workspace: &mut Workspace,
) {
    let sums = !statistics.constant || gradients.any();
    let backward = Backward { saved, statistics, eps, gradients, sums };
    let inputs = if sums || gate.is_some() { 2 } else { 0 };
    let gated = match gate {
        Some(gate) if !statistics.constant && weights.is_none() => gate.by_block(layout),
        _ => None,
    };
    let gate = gate.filter(|_| gated.is_none());
    let parted = match gate {
        // Columns can't be parted, and what was gated must not be gated again.
        Some(gate) if gate.layout.form == Form::Columns => gate.layout,
        _ => layout,
    };
    for band in parted.bands(inputs) {
        if let Some(gate) = gate {
            gate.apply(&band, workspace);
        }
        let pass = &mut Pass { layout, tensors: *tensors, weights, gated, workspace };
        if sums {
            co_moments::gather(pass, &band, saved.mean, statistics);
        }
        for channel in band.clone() {
            backward.settle(pass, channel);
        }
        backward.apply(pass, &band);
    }
}

/// A backward pass.
struct Backward<'a> {
    saved: &'a Saved<'a>,
    statistics: Statistics,
    eps: f64,
    gradients: &'a ParameterGradients<'a>,
    /// Whether any sum is needed, and so gathered.
    sums: bool,
}

impl Backward<'_> {
    /// The gradients of a channel's parameters, and the constants of its map.
    #[inline(always)]
    fn settle(&self, pass: &mut Pass, channel: usize) {
        let Self { saved, statistics, .. } = *self;
        let (mean, mut gamma) = (saved.mean[channel].get(), saved.gamma(channel));
        let variance = saved.variance[channel].get();
        let inverse_std = statistics.inverse_std(variance, self.eps);
        let [sum_dy, co] =
            if self.sums { co_moment(pass, channel, mean, inverse_std) } else { [0.0; 2] };
        // Σdy·x̂ = s·Σ(x − μ)·dy, and there the mean of dy makes no difference.
        let mut of_gamma = co * inverse_std;
        if let Some(renorm) = saved.renorm {
            let [r, d] = renorm.correction(channel);
            (gamma, of_gamma) = (gamma * r, of_gamma * r + sum_dy * d);
        }
        accumulate(self.gradients.gamma, channel, of_gamma);
        accumulate(self.gradients.beta, channel, sum_dy);
        let constants = if statistics.constant {
            [0.0, (gamma * inverse_std) as f32, 0.0, 0.0, 0.0]
        } else {
            let count = statistics.divisor(variance, self.eps, pass.total());
            let covariance = co * inverse_std / count;
            let mean_dy = if statistics.centered { sum_dy / count } else { 0.0 };
            affine::backward(mean, inverse_std, gamma, mean_dy, covariance)
        };
        pass.workspace.set_constants(channel, constants);
    }

    fn apply(&self, pass: &mut Pass, band: &Band) {
        if self.statistics.constant {
            affine::apply_forward(pass, band, [1, 2], Order::Backwards);
        } else if pass.weights.is_some() {
            affine::apply_backward_weighted(pass, band);
        } else {
            affine::apply_backward(pass, band);
        }
    }
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
