//! Group normalization (Wu & He, 2018, arXiv:1803.08494); with as many groups as channels it is
//! instance normalization (Ulyanov, Vedaldi & Lempitsky, 2016, arXiv:1607.08022).
//!
//! ```text
//! μ, σ²   mean and biased variance of a group of one sample: a *set* of m elements
//! s  = 1/√(σ² + ε)          x̂ = (x − μ)·s
//! y  = γ·x̂ + β              γ, β: of the channel
//!
//! D  = Σ dy                  C = Σ (x − μ)·dy        of a channel of one sample
//! dβ = Σ D                   dγ = Σ s·C              over the samples
//! dx = s·(γ·dy − ΣγD/m − (x − μ)·s²·ΣγC/m)           sums over the group's channels
//! ```
//!
//! A channel that is a group by itself goes back as in batch norm, whose map takes the mean of dy
//! off before anything else.

use core::cell::Cell;
use core::ops::Range;

use crate::Cells;
use crate::affine;
use crate::co_moments::{self, co_moment};
use crate::layout::{Band, Layout};
use crate::norm::forward::Forward;
use crate::parameters::{ParameterGradients, Parameters};
use crate::pivot::pivots;
use crate::statistics::{Saved, Statistics};
use crate::sweep::Pass;
use crate::workspace::Workspace;

/// Normalizes each group of each sample.
///
/// The layout's operands are x and y, sample by sample.
pub fn forward(
    layout: &Layout,
    [x, y]: [Cells; 2],
    groups: usize,
    parameters: &Parameters,
    saved: Option<&Saved>,
    (sets, workspace): (&mut Layout, &mut Workspace),
) {
    let together = layout.channels / groups;
    sets.group(layout, together);
    let own = Statistics::BATCH;
    let parameters = Some(parameters);
    let (given, activation, weights) = (None, None, None);
    let forward = Forward { parameters, given, own, activation, weights, saved };
    forward.run([sets, layout], together, [x, y, &[]], workspace);
}

/// The gradients of [`forward`], by what it `saved`, and its ε.
///
/// The layout's operands are x, dy and dx, sample by sample. There has to be room for gradients.
pub fn backward(
    layout: &Layout,
    tensors: [Cells; 3],
    groups: usize,
    saved: &Saved,
    eps: f64,
    gradients: &ParameterGradients,
    (sets, workspace): (&mut Layout, &mut Workspace),
) {
    let together = layout.channels / groups;
    sets.group(layout, together);
    for sample in layout.each_sample() {
        let tensors = layout.sample(tensors, sample);
        let pass = &mut Pass { layout, tensors, weights: None, gated: None, workspace };
        let backward = Backward { together, first: sample * groups, saved, eps };
        for band in sets.bands(2) {
            let channels = band.start * together..band.end * together;
            backward.gather(pass, &band);
            co_moments::sum_up(pass, &channels);
            backward.settle(pass, &band);
            if together == 1 {
                affine::apply_backward(pass, &channels);
            } else {
                affine::apply_backward_in_group(pass, &channels);
            }
        }
    }
    gradients.add(layout, workspace);
}

/// A backward pass over one sample.
struct Backward<'a> {
    /// Channels of a group.
    together: usize,
    /// Sets of the samples before.
    first: usize,
    saved: &'a Saved<'a>,
    eps: f64,
}

impl Backward<'_> {
    fn channels(&self, set: usize) -> Range<usize> {
        set * self.together..(set + 1) * self.together
    }

    /// What each channel of x and dy is summed up around. Of dy it is 0, unless the channel is a
    /// group: Σ(x − mean) = 0 holds of a group, but of none of its channels.
    fn gather(&self, pass: &mut Pass, band: &Band) {
        if self.together == 1 {
            pivots(pass, band, 1);
        }
        for set in band.clone() {
            let center = self.saved.mean[self.first + set].get() as f32;
            for channel in self.channels(set) {
                let [pivot, ..] = pass.workspace.constants(channel);
                let pivot = if self.together == 1 { pivot } else { 0.0 };
                pass.workspace.set_constants(channel, [center, pivot, 0.0, 0.0, 0.0]);
            }
        }
    }

    /// Gradients of a band's parameters, and the constants of its map.
    fn settle(&self, pass: &mut Pass, band: &Band) {
        let Self { saved, together, eps, .. } = *self;
        let count = (pass.layout.count * together) as f64;
        for set in band.clone() {
            let of_set = |values: &[Cell<f64>]| values[self.first + set].get();
            let mean = of_set(saved.mean);
            let inverse_std = Statistics::BATCH.inverse_std(of_set(saved.variance), eps);
            let mut means = [0.0; 2];
            let mut sums = [0.0; 2];
            for channel in self.channels(set) {
                let [sum_dy, co] = co_moment(pass, channel, mean, inverse_std);
                sums = [sum_dy, co * inverse_std];
                pass.workspace.add_gradients(channel, [sums[1], sum_dy]);
                let share = saved.gamma[channel].get() / count;
                means = [means[0] + share * sum_dy, means[1] + share * co];
            }
            for channel in self.channels(set) {
                let gamma = saved.gamma[channel].get();
                let constants = if together == 1 {
                    affine::backward(mean, inverse_std, gamma, sums[0] / count, sums[1] / count)
                } else {
                    affine::backward_in_group(mean, inverse_std, gamma, means)
                };
                pass.workspace.set_constants(channel, constants);
            }
        }
    }
}
