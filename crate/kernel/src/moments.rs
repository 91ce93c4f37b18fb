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
//! so do products: such sums are taken again of deviations that were scaled by powers
//! of two, which rounds nothing.
//!
//! Source: Chan, Golub & LeVeque, "Algorithms for computing the sample variance"
//! (1983), eq. 1.7 (shifted data).

use core::array::from_fn;
use core::ops::Range;

use crate::lanes::{F32x4, LANES};
use crate::layout::{Form, Layout, TILE};
use crate::sweep::{Constants, Operand, Sums, fold, set_constants, sums_of};

/// Below this a mean square may have lost terms to underflow.
const TINY: f64 = 1e-30;

/// Takes deviations whose squares underflow to where they don't, and the others down.
const UP: f32 = (1u128 << 100) as f32;
const DOWN: f32 = 1.0 / (1u128 << 70) as f32;

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

/// Scaled by `down`, which takes x itself into range, or by `up`, which can't.
#[inline(always)]
fn scaled_deviations(
    [sum, squares]: [F32x4; 2],
    [x]: [F32x4; 1],
    [pivot, down, up]: [F32x4; 3],
) -> [F32x4; 2] {
    let d = (x * down - pivot * down) * up;
    [sum + d, squares + d * d]
}

/// Takes the moments of each channel of `group`, and sets its constants to what `finish`
/// makes of them.
pub fn gather<const P: usize>(
    layout: &Layout,
    group: Range<usize>,
    x: Operand,
    constants: &mut [Constants],
    sums: &mut [Sums],
    mut finish: impl FnMut(usize, Moments) -> [f32; P],
) {
    let count = layout.count as f64;
    pivots(layout, group.clone(), x, |channel, pivot| {
        set_constants(layout, channel, [pivot, 1.0, 1.0], constants);
    });
    fold::<4, _, _>(layout, group.clone(), [x], constants, sums, deviations);
    for part in parts(layout, group.clone()) {
        let mut again = false;
        for channel in part.clone() {
            let [sum, squares] = sums_of(layout, channel, sums);
            let [pivot]: [f32; 1] = constants_of(layout, channel, constants);
            // n·(mean − p)² ≤ 4·M2
            let near = 5.0 * sum * sum <= 4.0 * count * squares;
            let scales = if !squares.is_finite() {
                [DOWN, 1.0]
            } else if squares < TINY * count {
                [1.0, UP]
            } else if !near {
                [1.0, 1.0]
            } else {
                continue;
            };
            let mean = (f64::from(pivot) + sum / count) as f32;
            let pivot: f32 = if mean.is_finite() { mean } else { pivot };
            set_constants(layout, channel, [pivot, scales[0], scales[1]], constants);
            again = true;
        }
        if again {
            fold::<4, _, _>(layout, part, [x], constants, sums, scaled_deviations);
        }
    }
    for channel in group {
        let [sum, squares] = sums_of(layout, channel, sums);
        let [pivot, down, up]: [f32; 3] = constants_of(layout, channel, constants);
        let unscale = 1.0 / (f64::from(down) * f64::from(up));
        let mean = sum / count;
        let spread = squares / count - mean * mean;
        // Not `max`: what isn't a number has to stay so.
        let spread = if spread < 0.0 { 0.0 } else { spread };
        let moments = Moments {
            mean: f64::from(pivot) + mean * unscale,
            variance: spread * unscale * unscale,
        };
        set_constants(layout, channel, finish(channel, moments), constants);
    }
}

/// Sum of dy and co-moment of x and dy of a channel.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CoMoments {
    /// Σdy.
    pub sum_dy: f64,
    /// Σ(x − mean)·(dy − mean dy), or Σ(x − mean)·dy for a mean that isn't x's own.
    pub co: f64,
}

/// What pairs are taken around.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Around {
    /// x's own mean: dy may be taken around a pivot, since Σ(x − mean) = 0.
    OwnMean,
    /// Any other value.
    Constant,
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

#[inline(always)]
fn scaled_co_deviations(
    [sum, products]: [F32x4; 2],
    [x, dy]: [F32x4; 2],
    [center, pivot, scale, scale_dy]: [F32x4; 4],
) -> [F32x4; 2] {
    // Scaled first: the difference could leave the range.
    let e = dy * scale_dy - pivot * scale_dy;
    [sum + e, products + (x - center) * scale * e]
}

/// Takes the co-moments of each channel of `group`, and sets its constants to what
/// `finish` makes of them. `statistics` gives the mean and 1/σ.
#[allow(clippy::too_many_arguments, reason = "what a pass over two operands needs")]
pub fn gather_pairs<const P: usize>(
    layout: &Layout,
    group: Range<usize>,
    [x, dy]: [Operand; 2],
    around: Around,
    statistics: impl Fn(usize) -> (f64, f64),
    constants: &mut [Constants],
    sums: &mut [Sums],
    mut finish: impl FnMut(usize, CoMoments) -> [f32; P],
) {
    pivots(layout, group.clone(), dy, |channel, pivot| {
        let (mean, inverse_std) = statistics(channel);
        let pivot = if around == Around::OwnMean { pivot } else { 0.0 };
        let values = [mean as f32, pivot, scale_to_one(inverse_std), 1.0];
        set_constants(layout, channel, values, constants);
    });
    for part in parts(layout, group.clone()) {
        let scale = |channel| constants_of::<4>(layout, channel, constants)[2];
        let mut scaled = part.clone().any(|channel| scale(channel) != 1.0);
        if !scaled {
            fold::<2, _, _>(layout, part.clone(), [x, dy], constants, sums, co_deviations);
            for channel in part.clone() {
                if !sums_of(layout, channel, sums).iter().all(|sum| sum.is_finite()) {
                    let [center, pivot, scale, _]: [f32; 4] =
                        constants_of(layout, channel, constants);
                    set_constants(layout, channel, [center, pivot, scale, DOWN], constants);
                    scaled = true;
                }
            }
        }
        if scaled {
            fold::<4, _, _>(layout, part, [x, dy], constants, sums, scaled_co_deviations);
        }
    }
    let count = layout.count as f64;
    for channel in group {
        let [sum, products] = sums_of(layout, channel, sums);
        let [center, pivot, scale, scale_dy]: [f32; 4] = constants_of(layout, channel, constants);
        let sum = sum / f64::from(scale_dy);
        let products = products / (f64::from(scale) * f64::from(scale_dy));
        let rest = statistics(channel).0 - f64::from(center);
        // Not where both are zero: 0·∞ is no correction.
        let correction = if rest == 0.0 { 0.0 } else { rest * sum };
        let sum_dy = sum + count * f64::from(pivot);
        let co_moments = CoMoments { sum_dy, co: products - correction };
        set_constants(layout, channel, finish(channel, co_moments), constants);
    }
}

/// A power of two near 1/σ where products of deviations could leave f32's range, else 1.
fn scale_to_one(inverse_std: f64) -> f32 {
    const USUAL: core::ops::Range<f64> = 1e-15..1e15;
    let rounded = inverse_std as f32;
    if rounded.is_normal() && !USUAL.contains(&inverse_std) {
        f32::from_bits(rounded.to_bits() & f32::INFINITY.to_bits())
    } else {
        1.0
    }
}

/// The ranges of channels that can be walked by themselves.
fn parts(layout: &Layout, group: Range<usize>) -> impl Iterator<Item = Range<usize>> {
    let size = if layout.form == Form::Runs { 1 } else { group.len().max(1) };
    group.clone().step_by(size).map(move |first| first..first + size)
}

/// The first constants of a channel.
fn constants_of<const P: usize>(
    layout: &Layout,
    channel: usize,
    constants: &[Constants],
) -> [f32; P] {
    let column = layout.first_column(channel);
    from_fn(|p| constants[column / TILE][p][column % TILE])
}

/// Calls `visit` with a pivot for each channel of `group`: the mean of some samples but
/// the smallest and the largest; of a constant channel that constant.
fn pivots(
    layout: &Layout,
    group: Range<usize>,
    operand: Operand,
    mut visit: impl FnMut(usize, f32),
) {
    let place = |i: usize| {
        // Golden ratio steps: spread over all, and at the edge of no image or row.
        let share = u64::from((i as u32).wrapping_mul(0x9E37_79B9).wrapping_add(1 << 31));
        layout.place(operand.index, (layout.count as u64 * share >> 32) as usize)
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
        let pivots = (origin + trimmed).to_array();
        let origins = origin.to_array();
        for (lane, channel) in (first..group.end.min(first + LANES)).enumerate() {
            let pivot = pivots[lane];
            visit(channel, if pivot.is_finite() { pivot } else { origins[lane] });
        }
    }
}
