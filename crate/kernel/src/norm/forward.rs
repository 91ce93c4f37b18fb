//! The forward pass of the norms whose γ and β are a channel's: of batch and group norm.

use core::ops::Range;

use crate::Cells;
use crate::activation::Activation;
use crate::affine;
use crate::crew::{Work, share_out};
use crate::layout::{Band, Layout, MAX_OPERANDS, Order};
use crate::moments::{self, moments};
use crate::parameters::{Parameters, value_of};
use crate::statistics::{Saved, Statistics};
use crate::sweep::{Pass, Weights};
use crate::workspace::Workspace;

/// Where means and variances come from that aren't x's own.
#[derive(Clone, Copy, Debug)]
pub enum Given<'a> {
    /// f32, one of each a set.
    Vectors([Cells<'a>; 2]),
    /// They stand where they are saved: in f64.
    Saved,
}

/// What a pass over so many operands is to a crew: a stretch of samples a part, each alone.
pub(super) fn by_samples(layout: &Layout, operands: usize) -> Work {
    let number = layout.samples;
    let parts = (2 * number * layout.len() / layout.limits.block.max(1)).min(number);
    Work {
        number,
        // Of few samples the walks are shared, if they are long.
        parts: if number < FEW { 1 } else { parts.min(Layout::MOST_BLOCKS) },
        elements: operands * number * layout.len(),
        along: 0,
        packed: 0,
        gradients: 0,
        sums: 0,
    }
}

/// Fewer samples can't be handed out evenly.
const FEW: usize = 4;

/// A forward pass, which without parameters ends before it would normalize.
pub(super) struct Forward<'a> {
    pub parameters: Option<&'a Parameters<'a>>,
    /// Mean and variance of each set, if not x's own.
    pub given: Option<Given<'a>>,
    /// What x's own are.
    pub own: Statistics,
    /// What follows the map, if anything.
    pub activation: Option<Activation>,
    /// How much elements count in x's own, if not alike.
    pub weights: Option<&'a Weights<'a>>,
    pub saved: Option<&'a Saved<'a>>,
}

impl Forward<'_> {
    /// Over sets of channels, in each sample: `sets` is the walk in which they are channels, and
    /// `layout` that in which the channels are, `together` of which are a set. The tensors are x
    /// and y; with a residual x, that and y.
    #[inline(never)]
    pub fn run(
        &self,
        [sets, layout]: [&Layout; 2],
        together: usize,
        tensors: [Cells; MAX_OPERANDS],
        workspace: &mut Workspace,
    ) {
        self.save_what_is_known();
        let (own, order) = match self.given {
            None => (true, Order::Backwards),
            Some(_) => (false, Order::Forwards),
        };
        let (work, each) = (by_samples(layout, 2), layout.each_sample());
        let is_shared =
            share_out(&work, layout, workspace, &|(_, own_workspace), _, samples, _| {
                self.over(samples, [sets, layout], together, (tensors, own, order), own_workspace);
            });
        if !is_shared {
            self.over(each, [sets, layout], together, (tensors, own, order), workspace);
        }
    }

    /// Over some samples.
    #[inline(always)]
    fn over(
        &self,
        samples: Range<usize>,
        [sets, layout]: [&Layout; 2],
        together: usize,
        (tensors, own, order): ([Cells; MAX_OPERANDS], bool, Order),
        workspace: &mut Workspace,
    ) {
        for sample in samples {
            let tensors = if sample == 0 { tensors } else { layout.sample(tensors, sample) };
            let pass = &mut Pass { weights: self.weights, ..Pass::new(sets, tensors, workspace) };
            for band in sets.bands(usize::from(own)) {
                pass.layout = sets;
                if own {
                    moments::gather(pass, &band, self.own);
                }
                self.settle(pass, &band, sample * sets.channels, together);
                if self.parameters.is_some() {
                    pass.layout = layout;
                    let band = band.start * together..band.end * together;
                    match self.activation {
                        Some(activation) => activation.apply(pass, &band, order),
                        None => affine::apply_forward(pass, &band, [0, 1], order),
                    }
                }
            }
        }
    }

    /// Of all sets and channels, and first: nothing is settled where there are no elements.
    #[inline(never)]
    pub fn save_what_is_known(&self) {
        let Some(saved) = self.saved else { return };
        for set in 0..saved.mean.len() {
            saved.set_statistics(set, self.given_of(set).unwrap_or([0.0; 2]));
        }
        let gamma = self.parameters.and_then(|parameters| parameters.gamma);
        for (channel, cell) in saved.gamma.iter().enumerate() {
            cell.set(value_of(gamma, channel, 1.0));
        }
    }

    fn given_of(&self, set: usize) -> Option<[f64; 2]> {
        match self.given? {
            Given::Vectors(given) => Some(given.map(|values| f64::from(values[set].get()))),
            Given::Saved => {
                self.saved.map(|saved| [saved.mean[set].get(), saved.variance[set].get()])
            }
        }
    }

    /// Statistics of a band's sets, of which `first` are in the samples before, and of these the
    /// constants of the map, for each of the `together` channels of a set.
    #[inline(never)]
    pub fn settle(&self, pass: &mut Pass, band: &Band, first: usize, together: usize) {
        let eps = self.parameters.map_or(0.0, |parameters| parameters.eps);
        // From the last one: no channel's place is that of a set which comes later.
        for set in band.clone().rev() {
            let (statistics, [mean, variance]) = match self.given_of(set) {
                Some(given) => (Statistics::GIVEN, given),
                None => {
                    let moments = moments(pass, set, eps, self.own);
                    if let Some(saved) = self.saved {
                        saved.set_statistics(first + set, moments);
                    }
                    (self.own, moments)
                }
            };
            let Some(parameters) = self.parameters else { continue };
            let inverse_std = statistics.inverse_std(variance, eps);
            for channel in set * together..(set + 1) * together {
                let mut gamma = value_of(parameters.gamma, channel, 1.0);
                let mut beta = value_of(parameters.beta, channel, 0.0);
                if let Some(renorm) = self.saved.and_then(|saved| saved.renorm) {
                    let [r, d] = renorm.correct(channel, [mean, variance], eps);
                    (gamma, beta) = (gamma * r, beta + gamma * d);
                }
                let mut constants = affine::forward(mean, inverse_std, gamma, beta);
                if let Some(activation) = self.activation {
                    constants = activation.constants(constants);
                }
                pass.workspace.set_constants(channel, constants);
            }
        }
    }
}
