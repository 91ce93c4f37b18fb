//! The co-moment of two tensors' values in a channel: what a gradient needs of x and dy.
//!
//! ```text
//! c, q  pivots of x and dy                     c = f32(mean of x)
//! C     = Σ(x − c)(dy − q) − (mean − c)·Σ(dy − q)      Σ(x − mean)(dy − mean dy)
//! ```
//!
//! Products leave f32's range from deviations of 10¹⁹ up and of 10⁻¹⁹ down: such a channel
//! is added up again in f64.

use core::cell::Cell;
use core::ops::Range;

use crate::lanes::F32x4;
use crate::layout::Band;
use crate::pivot::{finite, pivots};
use crate::statistics::Statistics;
use crate::sweep::{Pass, fold, fold_wide};

/// 1/σ beside which products with gradients of usual sizes underflow.
const FAR_FROM_1: Range<f64> = 1e15..f64::INFINITY;

#[inline(always)]
fn co_deviations(
    [sum, products]: [F32x4; 2],
    [x, dy]: [F32x4; 2],
    [center, pivot]: [F32x4; 2],
) -> [F32x4; 2] {
    let e = dy - pivot;
    [sum + e, products + (x - center) * e]
}

/// Sums up pairs of a band's channels of x and dy, operands 0 and 1, for [`co_moment`].
pub fn gather(pass: &mut Pass, band: &Band, means: &[Cell<f64>], statistics: Statistics) {
    // dy may be taken around a pivot where Σ(x − mean) = 0.
    let pivoted = statistics.of_batch && statistics.centered && pass.weights.is_none();
    if pivoted {
        pivots(pass, band, 1);
    }
    for channel in band.clone() {
        let [pivot, ..] = pass.workspace.constants(channel);
        let pivot = if pivoted { pivot } else { 0.0 };
        let center = means[channel].get() as f32;
        pass.workspace.set_constants(channel, [center, pivot, 0.0, 0.0, 0.0]);
    }
    sum_up(pass, band);
}

/// Sums up pairs of a band's channels, whose centres of x and dy are their first constants.
#[inline(never)]
pub fn sum_up(pass: &mut Pass, band: &Band) {
    fold(pass, band, [0, 1], co_deviations);
}

/// Σdy and the co-moment Σ(x − mean)·(dy − mean dy) of a channel that was gathered; of a
/// mean that is not x's own, Σ(x − mean)·dy.
pub fn co_moment(pass: &Pass, channel: usize, mean: f64, inverse_std: f64) -> [f64; 2] {
    let [center, pivot, ..] = pass.workspace.constants(channel);
    let (center, mut pivot) = (f64::from(center), f64::from(pivot));
    let [mut sum, mut products] = pass.workspace.sums(channel);
    if !(sum.is_finite() && products.is_finite()) || FAR_FROM_1.contains(&inverse_std) {
        pivot = finite(pivot);
        [sum, products] = fold_wide(pass, channel, [0, 1], [center, pivot], None);
    }
    let off = mean - center;
    // Not where both are zero: 0·∞ is no correction.
    let correction = if off == 0.0 { 0.0 } else { off * sum };
    [sum + pass.layout.count as f64 * pivot, products - correction]
}
