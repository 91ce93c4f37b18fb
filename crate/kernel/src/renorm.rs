//! Batch renormalization (Ioffe, 2017, arXiv:1702.03275): corrections towards running statistics.
//!
//! ```text
//! r = clip(σ_B/σ, r_min, r_max)      d = clip((μ_B − μ)/σ, −d_max, d_max)
//!                                    μ_B, σ_B = √(σ_B² + ε): of the batch; μ, σ: running ones
//! y = γ·(r·x̂ + d) + β                as if γ were γ·r, and β were β + γ·d
//! ```
//!
//! To the gradient both are constants: dx is that of γ·r, and dγ = Σdy·(r·x̂ + d).

use core::cell::Cell;

use crate::lanes::sqrt;

/// Numbers in front: r_min, r_max and d_max.
const LIMITS: usize = 3;

/// Numbers of each channel: 1/σ and μ, and r and d of the last forward pass.
const OF_CHANNEL: usize = 4;

/// What corrects a batch.
#[derive(Clone, Copy, Debug)]
pub struct Renorm<'a> {
    limits: &'a [Cell<f64>; LIMITS],
    channels: &'a [[Cell<f64>; OF_CHANNEL]],
}

impl<'a> Renorm<'a> {
    /// How many numbers it is made of.
    pub fn len(channels: usize) -> Option<usize> {
        channels.checked_mul(OF_CHANNEL)?.checked_add(LIMITS)
    }

    /// Of so many numbers: the limits, then those of each channel.
    pub fn new(numbers: &'a [Cell<f64>]) -> Option<Self> {
        let (limits, channels) = numbers.split_first_chunk()?;
        Some(Self { limits, channels: channels.as_chunks().0 })
    }

    /// Finds r and d by a channel's own statistics.
    pub fn correct(&self, channel: usize, [mean, variance]: [f64; 2], eps: f64) -> [f64; 2] {
        let [r_min, r_max, d_max] = self.limits.each_ref().map(Cell::get);
        let [scale, center, r, d] = &self.channels[channel];
        r.set(clip(sqrt(variance + eps) * scale.get(), r_min, r_max));
        d.set(clip((mean - center.get()) * scale.get(), -d_max, d_max));
        [r.get(), d.get()]
    }

    /// r and d.
    pub fn correction(&self, channel: usize) -> [f64; 2] {
        let [_, _, r, d] = &self.channels[channel];
        [r.get(), d.get()]
    }
}

/// What isn't a number stays so.
fn clip(value: f64, least: f64, most: f64) -> f64 {
    if value < least {
        least
    } else if value > most {
        most
    } else {
        value
    }
}
