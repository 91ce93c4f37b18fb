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
use core::ops::Range;

use crate::Cells;
use crate::affine;
use crate::layout::Layout;
use crate::moments::{Around, CoMoments, Moments, gather, gather_pairs};
use crate::sweep::{ChannelConstants, apply, operands, set_constants};
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

/// Mean and biased variance of each channel of a batch.
#[derive(Clone, Copy, Debug)]
pub struct BatchStatistics<'a> {
    /// Means.
    pub mean: &'a [Cell<f64>],
    /// Biased variances.
    pub variance: &'a [Cell<f64>],
}

/// Mean and variance of each channel, gathered over many batches.
#[derive(Clone, Copy, Debug)]
pub struct RunningStatistics<'a> {
    /// Means.
    pub mean: Cells<'a>,
    /// Variances.
    pub variance: Cells<'a>,
}

/// Where the parameters' gradients are added up.
#[derive(Clone, Copy, Debug)]
pub struct ParameterGradients<'a> {
    /// `+= dγ`.
    pub gamma: Option<Cells<'a>>,
    /// `+= dβ`.
    pub beta: Option<Cells<'a>>,
}

/// Normalizes by the statistics of x itself and writes them to `batch`.
///
/// The layout's operands are x and y.
pub fn training(
    layout: &Layout,
    tensors: [Cells; 2],
    parameters: Parameters,
    batch: BatchStatistics,
    workspace: &mut Workspace,
) {
    let [x, y] = operands(tensors);
    for group in groups(layout, 1) {
        gather(layout, group.clone(), x, workspace, &mut |channel, moments| {
            batch.set(channel, moments);
            let (mean, inverse_std) = batch.of(channel, parameters.eps);
            parameters.forward(channel, mean, inverse_std)
        });
        let constants = &workspace.constants;
        apply::<4, _, _>(layout, group, true, [x], y, constants, affine::forward_map);
    }
}

/// Writes the statistics of x, the layout's only operand, to `batch`.
pub fn statistics(layout: &Layout, x: Cells, batch: BatchStatistics, workspace: &mut Workspace) {
    let [x] = operands([x]);
    for group in groups(layout, 1) {
        gather(layout, group, x, workspace, &mut |channel, moments| {
            batch.set(channel, moments);
            ChannelConstants::default()
        });
    }
}

/// Normalizes by given statistics.
///
/// The layout's operands are x and y.
pub fn inference(
    layout: &Layout,
    tensors: [Cells; 2],
    parameters: Parameters,
    running: RunningStatistics,
    workspace: &mut Workspace,
) {
    let [x, y] = operands(tensors);
    let constants = &mut workspace.constants[..];
    for channel in 0..layout.channels {
        let (mean, inverse_std) = running.of(channel, parameters.eps);
        let map = parameters.forward(channel, mean, inverse_std);
        set_constants(layout, channel, &map, constants);
    }
    apply::<4, _, _>(layout, 0..layout.channels, false, [x], y, constants, affine::forward_map);
}

/// The gradients of [`training`]; β is not read.
///
/// The layout's operands are x, dy and dx.
pub fn backward(
    layout: &Layout,
    tensors: [Cells; 3],
    parameters: Parameters,
    batch: BatchStatistics,
    gradients: ParameterGradients,
    workspace: &mut Workspace,
) {
    let [x, dy, dx] = operands(tensors);
    let statistics = |channel| batch.of(channel, parameters.eps);
    let count = layout.count as f64;
    for group in groups(layout, 2) {
        let mut finish = |channel, pairs: CoMoments| {
            let (mean, inverse_std) = statistics(channel);
            // Σdy·x̂ = s·Σ(x − μ)·dy, and there the mean of dy makes no difference.
            accumulate(gradients.gamma, channel, pairs.co * inverse_std);
            accumulate(gradients.beta, channel, pairs.sum_dy);
            let gamma = value_of(parameters.gamma, channel, 1.0);
            let covariance = pairs.co * inverse_std / count;
            affine::backward(mean, inverse_std, gamma, pairs.sum_dy / count, covariance)
        };
        let own = Around::OwnMean(&statistics);
        gather_pairs(layout, group.clone(), [x, dy], own, workspace, &mut finish);
        let constants = &workspace.constants;
        apply::<2, _, _>(layout, group, true, [x, dy], dx, constants, affine::backward_map);
    }
}

/// The gradients of [`inference`], whose statistics are constants; β is not read.
///
/// The layout's operands are x, dy and dx.
pub fn backward_frozen(
    layout: &Layout,
    tensors: [Cells; 3],
    parameters: Parameters,
    running: RunningStatistics,
    gradients: ParameterGradients,
    workspace: &mut Workspace,
) {
    let [x, dy, dx] = operands(tensors);
    let statistics = |channel| running.of(channel, parameters.eps);
    let map = |channel| {
        let scale = value_of(parameters.gamma, channel, 1.0) * statistics(channel).1;
        [0.0, scale as f32, 0.0, 0.0, 0.0]
    };
    for group in groups(layout, 2) {
        if gradients.gamma.is_some() || gradients.beta.is_some() {
            let mut finish = |channel, pairs: CoMoments| {
                accumulate(gradients.gamma, channel, pairs.co * statistics(channel).1);
                accumulate(gradients.beta, channel, pairs.sum_dy);
                map(channel)
            };
            let other = Around::Other(&statistics);
            gather_pairs(layout, group.clone(), [x, dy], other, workspace, &mut finish);
        } else {
            for channel in group.clone() {
                set_constants(layout, channel, &map(channel), &mut workspace.constants);
            }
        }
        let constants = &workspace.constants;
        apply::<4, _, _>(layout, group, true, [dy], dx, constants, affine::forward_map);
    }
}

/// Moves running statistics towards the batch's: `weight` of the new ones,
/// their variance times `correction` (n/(n−1) for the unbiased one).
pub fn update_running(
    running: RunningStatistics,
    batch: BatchStatistics,
    weight: f64,
    correction: f64,
) {
    for (running, batch, factor) in
        [(running.mean, batch.mean, 1.0), (running.variance, batch.variance, correction)]
    {
        for (running, batch) in running.iter().zip(batch) {
            let old = f64::from(running.get());
            let new = batch.get() * factor;
            running.set((old * (1.0 - weight) + new * weight) as f32);
        }
    }
}

impl Parameters<'_> {
    fn forward(&self, channel: usize, mean: f64, inverse_std: f64) -> ChannelConstants {
        let gamma = value_of(self.gamma, channel, 1.0);
        let beta = value_of(self.beta, channel, 0.0);
        affine::forward(mean, inverse_std, gamma, beta)
    }
}

impl BatchStatistics<'_> {
    fn set(&self, channel: usize, moments: Moments) {
        self.mean[channel].set(moments.mean);
        self.variance[channel].set(moments.variance);
    }

    /// Mean and 1/√(variance + eps) of a channel.
    fn of(&self, channel: usize, eps: f64) -> (f64, f64) {
        let variance = self.variance[channel].get();
        (self.mean[channel].get(), affine::inverse_std_of_batch(variance, eps))
    }
}

impl RunningStatistics<'_> {
    /// Mean and 1/√(variance + eps) of a channel.
    fn of(&self, channel: usize, eps: f64) -> (f64, f64) {
        let variance = f64::from(self.variance[channel].get());
        (f64::from(self.mean[channel].get()), affine::inverse_std(variance, eps))
    }
}

/// The channels in groups that are gathered and mapped one after another; of an empty
/// batch none.
fn groups(layout: &Layout, inputs: usize) -> impl Iterator<Item = Range<usize>> {
    let (channels, size) = (layout.channels, layout.group(inputs));
    let channels = if layout.is_empty() { 0 } else { channels };
    (0..channels.div_ceil(size)).map(move |i| i * size..channels.min((i + 1) * size))
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
