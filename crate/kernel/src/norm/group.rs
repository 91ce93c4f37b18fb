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

use alloc::collections::TryReserveError;
use core::cell::Cell;
use core::ops::Range;

use crate::Cells;
use crate::affine;
use crate::co_moments::{self, co_moment};
use crate::crew::{Work, share_out};
use crate::lanes::LANES;
use crate::layout::{Band, Layout, MAX_OPERANDS};
use crate::norm::forward::{Forward, by_samples};
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
    let sets = &*sets;
    let one = |sample: usize, workspace: &mut Workspace| {
        let backward = Backward { together, first: sample * groups, saved, eps };
        backward.run([sets, layout], layout.sample(tensors, sample), workspace);
    };
    let work = work_of(layout);
    let of_sample = work.sums / work.number.max(1);
    let is_shared = share_out(&work, layout, workspace, &|(_, own), sums, samples, _| {
        for sample in samples {
            own.clear_gradients();
            one(sample, own);
            own.leave_gradients(&sums[sample * of_sample..]);
        }
    });
    for sample in layout.each_sample() {
        if is_shared {
            workspace.take_gradients(sample * of_sample);
        } else {
            one(sample, workspace);
        }
    }
    gradients.add(layout, workspace);
}

/// Makes room for a pass with gradients of γ and β.
pub fn reserve(layout: &Layout, workspace: &mut Workspace) -> Result<(), TryReserveError> {
    workspace.reserve(layout)?;
    workspace.crew.reserve_for(&work_of(layout), layout);
    workspace.reserve_gradients(layout.channels)
}

/// What the backward pass is to a crew: each sample leaves gradients, which are added up in their
/// order.
fn work_of(layout: &Layout) -> Work {
    let work = by_samples(layout, 3);
    let sums = layout.samples * 2 * layout.channels.next_multiple_of(LANES);
    // Of few elements a channel they would be as many as these.
    let parts = if layout.count < LEAST { 1 } else { work.parts };
    Work { parts, gradients: layout.channels, sums, ..work }
}

/// Elements of a channel in a sample.
const LEAST: usize = 16;

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
    /// Over that sample.
    fn run(
        &self,
        [sets, layout]: [&Layout; 2],
        tensors: [Cells; MAX_OPERANDS],
        workspace: &mut Workspace,
    ) {
        let pass = &mut Pass::new(layout, tensors, workspace);
        for band in sets.bands(2) {
            let channels = band.start * self.together..band.end * self.together;
            self.gather(pass, &band);
            co_moments::sum_up(pass, &channels);
            self.settle(pass, &band);
            if self.together == 1 {
                affine::apply_backward(pass, &channels);
            } else {
                affine::apply_backward_in_group(pass, &channels);
            }
        }
    }

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
