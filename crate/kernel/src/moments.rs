//! Mean and spread of a channel's values, and of pairs of values.
//!
//! ```text
//! p     pivot                                  near the bulk, from some samples
//! d     = x − p                                in f32 lanes
//! mean  = p + Σd/n                             in f64, as all that follows
//! M2    = Σd² − (Σd)²/n                        Σ(x − mean)²
//!
//! c, q  pivots of x and dy                     c = f32(mean of x)
//! C     = Σ(x − c)(dy − q) − (mean − c)·Σ(dy − q)      Σ(x − mean)(dy − mean dy)
//! ```
//!
//! The pivot makes squares of small numbers only, so that |mean| ≫ σ costs no
//! digits: rounding errors are those of n·(σ² + (mean − p)²). What the samples have
//! promised is checked: where the mean proves further than 2σ from the pivot, the sums
//! are taken again around the mean. The mean itself would be no better pivot: beside
//! one huge value it lies far from the bulk, all of which would add the same rounding
//! error to the huge square. The pivot of a constant channel is that constant: its
//! mean is exact and M2 = 0.
//!
//! Squares of f32 leave its range from deviations of 10¹⁹ up and of 10⁻¹⁹ down, and
//! so do products: such a channel is added up again in f64, one element at a time.
//!
//! Source: Chan, Golub & LeVeque, "Algorithms for computing the sample variance"
//! (1983), eq. 1.7 (shifted data).

use core::array::from_fn;
use core::cell::Cell;
use core::ops::Range;

use crate::lanes::{F32x4, LANES};
use crate::layout::Form;
use crate::sweep::{Pass, fold, fold_in_f64};

/// Below this a mean square may have lost terms to underflow.
const TINY: f64 = 1e-30;

/// From this ε on [`TINY`] more or less is no digit of σ² + ε, even in f64.
const DECISIVE: f64 = 1e-12;

/// 1/σ beside which products with gradients of usual sizes underflow.
const FAR_FROM_1: Range<f64> = 1e15..f64::INFINITY;

/// Values of a channel that its pivot is taken from.
const SAMPLES: usize = 8;

/// Whose mean and variance they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Statistics {
    /// The batch's own, the variance biased.
    Own,
    /// Given ones, which are constants.
    Given,
}

#[inline(always)]
fn deviations([sum, squares]: [F32x4; 2], [x]: [F32x4; 1], [pivot]: [F32x4; 1]) -> [F32x4; 2] {
    let d = x - pivot;
    [sum + d, squares + d * d]
}

/// Sums up the group's channels of x, operand 0, for [`moments`].
pub fn gather(pass: &mut Pass) {
    let count = pass.layout.count as f64;
    pivots(pass, 0);
    take(pass);
    let whole = pass.group.clone();
    // The channels that can be walked by themselves.
    let size = if pass.layout.form == Form::Runs { 1 } else { whole.len() };
    for first in whole.clone().step_by(size) {
        pass.group = first..first + size;
        let mut again = false;
        for channel in pass.group.clone() {
            let [sum, squares] = pass.workspace.sums(channel);
            // n·(mean − p)² > 4·M2
            if 5.0 * sum * sum > 4.0 * count * squares && in_range(squares, count) {
                let [pivot, ..] = pass.workspace.constants(channel);
                let mean = (f64::from(pivot) + sum / count) as f32;
                pass.workspace.set_constants(channel, [mean, 0.0, 0.0, 0.0, 0.0]);
                again = true;
            }
        }
        if again {
            take(pass);
        }
    }
    pass.group = whole;
}

/// Mean and biased variance of a channel that was gathered. Where `eps` decides, as in a dead
/// channel, a variance below [`TINY`] is not looked into: that would take ten times as long
/// as all the rest.
pub fn moments(pass: &Pass, channel: usize, eps: f64) -> [f64; 2] {
    let count = pass.layout.count as f64;
    let mut pivot = f64::from(pass.workspace.constants(channel)[0]);
    let [mut sum, mut squares] = pass.workspace.sums(channel);
    // Beside such a pivot d² of no other float32 than the pivot itself is 0.
    let constant = squares == 0.0 && pivot.abs() > 1e-15;
    let dead = squares < TINY * count && eps >= DECISIVE;
    if !in_range(squares, count) && !constant && !dead {
        pivot = finite(pivot);
        [sum, squares] = fold_in_f64(pass, channel, [0, 0], [pivot; 2]);
    }
    let rest = sum / count;
    let variance = squares / count - rest * rest;
    // Not `max`: what isn't a number has to stay so.
    [pivot + rest, if variance < 0.0 { 0.0 } else { variance }]
}

#[inline(never)]
fn take(pass: &mut Pass) {
    fold(pass, [0], deviations);
}

/// Whether a sum of squares can have lost nothing to the ends of f32's range.
fn in_range(squares: f64, count: f64) -> bool {
    squares.is_finite() && squares >= TINY * count
}

/// A pivot that sums in f64 can be taken around: that of samples at the end of f32's range
/// may have left it.
fn finite(pivot: f64) -> f64 {
    if pivot.is_finite() { pivot } else { 0.0 }
}

#[inline(always)]
fn co_deviations(
    [sum, products]: [F32x4; 2],
    [x, dy]: [F32x4; 2],
    [center, pivot]: [F32x4; 2],
) -> [F32x4; 2] {
    let e = dy - pivot;
    [sum + e, products + (x - center) * e]
}

/// Sums up pairs of the group's channels of x and dy, operands 0 and 1, for [`co_moment`].
pub fn gather_pairs(pass: &mut Pass, means: &[Cell<f64>], statistics: Statistics) {
    pivots(pass, 1);
    for channel in pass.group.clone() {
        let [pivot, ..] = pass.workspace.constants(channel);
        // dy may be taken around a pivot where Σ(x − mean) = 0.
        let pivot = if statistics == Statistics::Own { pivot } else { 0.0 };
        let center = means[channel].get() as f32;
        pass.workspace.set_constants(channel, [center, pivot, 0.0, 0.0, 0.0]);
    }
    fold(pass, [0, 1], co_deviations);
}

/// Σdy and the co-moment Σ(x − mean)·(dy − mean dy) of a channel that was gathered; of a
/// mean that is not x's own, Σ(x − mean)·dy.
pub fn co_moment(pass: &Pass, channel: usize, mean: f64, inverse_std: f64) -> [f64; 2] {
    let [center, pivot, ..] = pass.workspace.constants(channel);
    let (center, mut pivot) = (f64::from(center), f64::from(pivot));
    let [mut sum, mut products] = pass.workspace.sums(channel);
    if !(sum.is_finite() && products.is_finite()) || FAR_FROM_1.contains(&inverse_std) {
        pivot = finite(pivot);
        [sum, products] = fold_in_f64(pass, channel, [0, 1], [center, pivot]);
    }
    let rest = mean - center;
    // Not where both are zero: 0·∞ is no correction.
    let correction = if rest == 0.0 { 0.0 } else { rest * sum };
    [sum + pass.layout.count as f64 * pivot, products - correction]
}

/// Sets the first constant of each of the group's channels to a pivot: the mean of some
/// samples but the smallest and the largest; of a constant channel that constant.
///
/// It is rounded to a 64th of the samples' range or finer: of a value that comes often
/// (0 behind a ReLU) the squared deviation then has few digits, and adding it many times
/// over does not round each time in the same direction.
#[inline(never)]
fn pivots(pass: &mut Pass, operand: usize) {
    let Pass { layout, tensors, ref group, ref mut workspace } = *pass;
    let place = |i: usize| {
        // Golden ratio steps: spread over all, and at the edge of no image or row.
        let share = u64::from((i as u32).wrapping_mul(0x9E37_79B9).wrapping_add(1 << 31));
        layout.place(operand, ((layout.count as u64 * share) >> 32) as usize)
    };
    let places: [usize; SAMPLES] = from_fn(place);
    let stride = layout.channel_stride(operand);
    for first in group.clone().step_by(LANES) {
        // Four channels at once; those past the end repeat the last one.
        let channels: [usize; LANES] = from_fn(|lane| (first + lane).min(group.end - 1));
        let sample = |i: usize| {
            let place = |lane: usize| places[i] + channels[lane] * stride;
            F32x4::from_array(from_fn(|lane| tensors[operand][place(lane)].get()))
        };
        let origin = sample(0);
        let zero = F32x4::splat(0.0);
        let (mut sum, mut least, mut most) = (zero, zero, zero);
        for i in 1..SAMPLES {
            let distance = sample(i) - origin;
            sum = sum + distance;
            least = least.min(distance);
            most = most.max(distance);
        }
        let trimmed = (sum - least - most) * F32x4::splat(1.0 / (SAMPLES - 2) as f32);
        let coarse = (most - least) * F32x4::splat((1 << 17) as f32);
        let pivots = (origin + trimmed + coarse - coarse).to_array();
        for (channel, pivot) in channels.into_iter().zip(pivots) {
            workspace.set_constants(channel, [pivot, 0.0, 0.0, 0.0, 0.0]);
        }
    }
}
