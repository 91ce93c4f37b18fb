//! The statistics that normalize: four facts about them, and what of them is kept.

use core::cell::Cell;

use crate::lanes::sqrt;
use crate::renorm::Renorm;

/// Where mean and variance come from, and what they are to the gradient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Statistics {
    /// Whether they were taken from x itself, the variance biased; else they were given.
    pub of_batch: bool,
    /// Whether the gradient sees constants in them, and not functions of x.
    pub constant: bool,
    /// Whether there is a mean; else that is 0, and the variance the mean square.
    pub centered: bool,
    /// Whether the sum of squares stands for the variance, and counts as ε² where it is less; else
    /// ε is added.
    pub summed: bool,
}

impl Statistics {
    /// The batch's own.
    pub const BATCH: Self = Self { of_batch: true, constant: false, centered: true, summed: false };
    /// The batch's own mean squares.
    pub const SQUARES: Self = Self { centered: false, ..Self::BATCH };
    /// The batch's own sums of squares.
    pub const SUMS_OF_SQUARES: Self = Self { summed: true, ..Self::SQUARES };
    /// Given ones.
    pub const GIVEN: Self = Self { of_batch: false, constant: true, centered: true, summed: false };

    /// `1/√(variance + ε)`. Where that of the batch is zero every `x − mean` is zero too, and 0
    /// stands for their quotient.
    pub fn inverse_std(self, variance: f64, eps: f64) -> f64 {
        let variance = match self.summed {
            true if is_least(variance, eps) => eps * eps,
            true => variance,
            false => variance + eps,
        };
        if self.of_batch && variance == 0.0 { 0.0 } else { 1.0 / sqrt(variance) }
    }

    /// What a set's sums are divided by in its gradient: the `count` of its elements; of a sum of
    /// squares 1, and infinity where that is less than ε² and so changes nothing.
    pub fn divisor(self, variance: f64, eps: f64, count: f64) -> f64 {
        match self.summed {
            true if is_least(variance, eps) => f64::INFINITY,
            true => 1.0,
            false => count,
        }
    }
}

/// Whether ε² counts for a sum of squares.
fn is_least(squares: f64, eps: f64) -> bool {
    squares < eps * eps
}

/// What a forward pass saves: all but x that its gradients need.
#[derive(Clone, Copy, Debug)]
pub struct Saved<'a> {
    /// Mean of each set of elements that share statistics: of a channel, or a group of a sample.
    pub mean: &'a [Cell<f64>],
    /// Variance, likewise; x's own is the biased one.
    pub variance: &'a [Cell<f64>],
    /// Scale γ of each channel, 1 where absent. Of a backward pass without γ there are none.
    pub gamma: &'a [Cell<f64>],
    /// What corrects a batch's own statistics, if anything.
    pub renorm: Option<Renorm<'a>>,
}

impl<'a> Saved<'a> {
    /// Of statistics that nothing corrects.
    pub fn new([mean, variance, gamma]: [&'a [Cell<f64>]; 3]) -> Self {
        Self { mean, variance, gamma, renorm: None }
    }

    /// γ of a channel.
    #[inline(always)]
    pub fn gamma(&self, channel: usize) -> f64 {
        self.gamma.get(channel).map_or(1.0, Cell::get)
    }

    /// Sets mean and variance of a set.
    #[inline(always)]
    pub fn set_statistics(&self, set: usize, [mean, variance]: [f64; 2]) {
        self.mean[set].set(mean);
        self.variance[set].set(variance);
    }
}
