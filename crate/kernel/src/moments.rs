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
use core::ops::Range;

use crate::lanes::{F32x4, LANES};
use crate::layout::{Form, Layout};
use crate::sweep::{
    ChannelConstants, Operand, constants_of, fold, fold_in_f64, set_constants, sums_of,
};
use crate::workspace::Workspace;

/// Below this a mean square may have lost terms to underflow.
const TINY: f64 = 1e-30;

/// 1/σ beside which products with gradients of usual sizes underflow.
const FAR_FROM_1: Range<f64> = 1e15..f64::INFINITY;

/// Values of a channel that its pivot is taken from.
const SAMPLES: usize = 8;

/// Mean and biased variance of a channel.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Moments {
    /// Σx / n.
    pub mean: f64,
    /// Σ(x − mean)² / n.
    pub variance: f64,
}

#[inline(always)]
fn deviations([sum, squares]: [F32x4; 2], [x]: [F32x4; 1], [pivot]: [F32x4; 1]) -> [F32x4; 2] {
    let d = x - pivot;
    [sum + d, squares + d * d]
}

/// Takes the moments of each channel of `group`, and sets its constants to what `finish`
/// makes of them.
pub fn gather(
    layout: &Layout,
    group: Range<usize>,
    x: Operand,
    workspace: &mut Workspace,
    finish: &mut dyn FnMut(usize, Moments) -> ChannelConstants,
) {
    let Workspace { constants, sums } = workspace;
    let count = layout.count as f64;
    pivots(layout, group.clone(), x, &mut |channel, pivot| {
        set_constants(layout, channel, &[pivot, 0.0, 0.0, 0.0, 0.0], constants);
    });
    fold::<4, _, _>(layout, group.clone(), [x], constants, sums, deviations);
    for part in parts(layout, group.clone()) {
        let mut again = false;
        for channel in part.clone() {
            let [sum, squares] = sums_of(layout, channel, sums);
            // n·(mean − p)² > 4·M2
            if 5.0 * sum * sum > 4.0 * count * squares && in_range(squares, count) {
                let [pivot, ..] = constants_of(layout, channel, constants);
                let mean = (f64::from(pivot) + sum / count) as f32;
                set_constants(layout, channel, &[mean, 0.0, 0.0, 0.0, 0.0], constants);
                again = true;
            }
        }
        if again {
            fold::<4, _, _>(layout, part, [x], constants, sums, deviations);
        }
    }
    for channel in group {
        let [pivot, ..] = constants_of(layout, channel, constants);
        let [mut sum, mut squares] = sums_of(layout, channel, sums);
        // Beside such a pivot d² of no other float32 than the pivot itself is 0.
        let constant = squares == 0.0 && pivot.abs() > 1e-15;
        if !in_range(squares, count) && !constant {
            [sum, squares] = fold_in_f64(layout, channel, [x], |[x]| {
                let d = x - f64::from(pivot);
                [d, d * d]
            });
        }
        let mean = sum / count;
        let variance = squares / count - mean * mean;
        // Not `max`: what isn't a number has to stay so.
        let variance = if variance < 0.0 { 0.0 } else { variance };
        let moments = Moments { mean: f64::from(pivot) + mean, variance };
        set_constants(layout, channel, &finish(channel, moments), constants);
    }
}

/// Whether a sum of squares can have lost nothing to the ends of f32's range.
fn in_range(squares: f64, count: f64) -> bool {
    squares.is_finite() && squares >= TINY * count
}

/// Sum of dy and co-moment of x and dy of a channel.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CoMoments {
    /// Σdy.
    pub sum_dy: f64,
    /// Σ(x − mean)·(dy − mean dy), or Σ(x − mean)·dy for a mean that isn't x's own.
    pub co: f64,
}

/// Mean and 1/σ of a channel.
pub type Statistics<'a> = &'a dyn Fn(usize) -> (f64, f64);

/// What pairs are taken around.
#[derive(Clone, Copy)]
pub enum Around<'a> {
    /// x's own mean: dy may be taken around a pivot, since Σ(x − mean) = 0.
    OwnMean(Statistics<'a>),
    /// Any other value.
    Other(Statistics<'a>),
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

/// Takes the co-moments of each channel of `group`, and sets its constants to what
/// `finish` makes of them.
pub fn gather_pairs(
    layout: &Layout,
    group: Range<usize>,
    [x, dy]: [Operand; 2],
    around: Around,
    workspace: &mut Workspace,
    finish: &mut dyn FnMut(usize, CoMoments) -> ChannelConstants,
) {
    let Workspace { constants, sums } = workspace;
    let (statistics, own) = match around {
        Around::OwnMean(statistics) => (statistics, true),
        Around::Other(statistics) => (statistics, false),
    };
    pivots(layout, group.clone(), dy, &mut |channel, pivot| {
        let pivot = if own { pivot } else { 0.0 };
        let values = [statistics(channel).0 as f32, pivot, 0.0, 0.0, 0.0];
        set_constants(layout, channel, &values, constants);
    });
    fold::<2, _, _>(layout, group.clone(), [x, dy], constants, sums, co_deviations);
    let count = layout.count as f64;
    for channel in group {
        let (mean, inverse_std) = statistics(channel);
        let [center, pivot, ..] = constants_of(layout, channel, constants).map(f64::from);
        let [mut sum, mut products] = sums_of(layout, channel, sums);
        if !(sum.is_finite() && products.is_finite()) || FAR_FROM_1.contains(&inverse_std) {
            [sum, products] = fold_in_f64(layout, channel, [x, dy], |[x, dy]| {
                [dy - pivot, (x - center) * (dy - pivot)]
            });
        }
        let rest = mean - center;
        // Not where both are zero: 0·∞ is no correction.
        let correction = if rest == 0.0 { 0.0 } else { rest * sum };
        let co_moments = CoMoments { sum_dy: sum + count * pivot, co: products - correction };
        set_constants(layout, channel, &finish(channel, co_moments), constants);
    }
}

/// The ranges of channels that can be walked by themselves.
fn parts(layout: &Layout, group: Range<usize>) -> impl Iterator<Item = Range<usize>> {
    let size = if layout.form == Form::Runs { 1 } else { group.len().max(1) };
    group.clone().step_by(size).map(move |first| first..first + size)
}

/// Calls `visit` with a pivot for each channel of `group`: the mean of some samples but
/// the smallest and the largest; of a constant channel that constant.
///
/// It is rounded to a 64th of the samples' range or finer: of a value that comes often
/// (0 behind a ReLU) the squared deviation then has few digits, and adding it many times
/// over does not round each time in the same direction.
#[inline(never)]
fn pivots(
    layout: &Layout,
    group: Range<usize>,
    operand: Operand,
    visit: &mut dyn FnMut(usize, f32),
) {
    let place = |i: usize| {
        // Golden ratio steps: spread over all, and at the edge of no image or row.
        let share = u64::from((i as u32).wrapping_mul(0x9E37_79B9).wrapping_add(1 << 31));
        layout.place(operand.index, ((layout.count as u64 * share) >> 32) as usize)
    };
    let places: [usize; SAMPLES] = from_fn(place);
    let stride = layout.channel_stride(operand.index);
    for first in group.clone().step_by(LANES) {
        // Four channels at once; those past the end repeat the last one.
        let channels: [usize; LANES] = from_fn(|lane| (first + lane).min(group.end - 1));
        let sample = |i: usize| {
            let value = |channel: usize| operand.cells[places[i] + channel * stride].get();
            F32x4::from_array(channels.map(value))
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
        let origins = origin.to_array();
        for (lane, channel) in (first..group.end.min(first + LANES)).enumerate() {
            let pivot = pivots[lane];
            visit(channel, if pivot.is_finite() { pivot } else { origins[lane] });
        }
    }
}
