//! Mean and variance of a channel's values; around 0, their mean square or its sum.
//!
//! ```text
//! p     pivot
//! d     = x − p                                in f32 lanes
//! mean  = p + Σd/n                             in f64, as all that follows
//! M2    = Σd² − (Σd)²/n                        Σ(x − mean)²
//! ```
//!
//! With weights, Σwd, Σwd² and W = Σw stand for Σd, Σd² and n. What is weighted 0 adds nothing,
//! even where it is no number, and is no sample of a pivot.
//!
//! Rounding errors are those of n·(σ² + (mean − p)²). What the pivot's samples have promised
//! is checked: where the mean proves further than 2σ from it, the sums are taken again around
//! the mean. The pivot of a constant channel is that constant: its mean is exact and M2 = 0.
//!
//! Squares of f32 leave its range from deviations of 10¹⁹ up and of 10⁻¹⁹ down: such a
//! channel is added up again in f64.
//!
//! Source: Chan, Golub & LeVeque, "Algorithms for computing the sample variance"
//! (1983), eq. 1.7 (shifted data).

use crate::lanes::F32x4;
use crate::layout::{Band, Form};
use crate::pivot::{finite, pivots};
use crate::statistics::Statistics;
use crate::sweep::{Pass, fold, fold_wide};

/// Below this a mean square may have lost terms to underflow.
const TINY: f64 = 1e-30;

/// From this ε on [`TINY`] more or less is no digit of σ² + ε, even in f64.
const DECISIVE: f64 = 1e-12;

#[inline(always)]
fn deviations([sum, squares]: [F32x4; 2], [x]: [F32x4; 1], [pivot]: [F32x4; 1]) -> [F32x4; 2] {
    let d = x - pivot;
    [sum + d, squares + d * d]
}

#[inline(always)]
fn weighted_deviations(
    [sum, squares]: [F32x4; 2],
    [x, weight]: [F32x4; 2],
    [pivot, _]: [F32x4; 2],
) -> [F32x4; 2] {
    let d = (x - pivot).where_positive(weight);
    let e = weight * d;
    [sum + e, squares + e * d]
}

/// Sums up a band's channels of x, operand 0, for [`moments`].
pub fn gather(pass: &mut Pass, band: &Band, statistics: Statistics) {
    if !statistics.centered {
        pass.workspace.fill_constants(band, 0.0);
        return sum_up(pass, band);
    }
    // Behind the last elements the constants are those that add nothing.
    if pass.weights.is_some() {
        pass.workspace.fill_constants(band, 0.0);
    }
    pivots(pass, band, 0);
    sum_up(pass, band);
    // Columns can't be walked by themselves.
    let mut next = band.start;
    while next < band.end {
        let end = if pass.layout.form == Form::Runs { next + 1 } else { band.end };
        let channels = next..end;
        if move_pivots(pass, &channels) {
            sum_up(pass, &channels);
        }
        next = end;
    }
}

/// Moves pivots that prove far from the mean to it; whether there were any.
fn move_pivots(pass: &mut Pass, channels: &Band) -> bool {
    let (count, total) = (pass.layout.count as f64, pass.total());
    let mut any = false;
    for channel in channels.clone() {
        let [sum, squares] = pass.workspace.sums(channel);
        // n·(mean − p)² > 4·M2
        if 5.0 * sum * sum > 4.0 * total * squares && in_range(squares, count) {
            let [pivot, ..] = pass.workspace.constants(channel);
            let mean = (f64::from(pivot) + sum / total) as f32;
            pass.workspace.set_constants(channel, [mean, 0.0, 0.0, 0.0, 0.0]);
            any = true;
        }
    }
    any
}

#[inline(never)]
fn sum_up(pass: &mut Pass, band: &Band) {
    match pass.weights {
        None => fold(pass, band, [0], deviations),
        Some(_) => fold(pass, band, [0], weighted_deviations),
    }
}

/// Mean and biased variance of a channel that was gathered. Where `eps` decides, as in a dead
/// channel, a variance below [`TINY`] is not looked into: that would take ten times as long
/// as all else.
pub fn moments(pass: &Pass, channel: usize, eps: f64, statistics: Statistics) -> [f64; 2] {
    let (count, total) = (pass.layout.count as f64, pass.total());
    let mut pivot = f64::from(pass.workspace.constants(channel)[0]);
    let [mut sum, mut squares] = pass.workspace.sums(channel);
    // Beside such a pivot d² of no other float32 than the pivot itself is 0, but a weight can make
    // it so.
    let constant = squares == 0.0 && pivot.abs() > 1e-15 && pass.weights.is_none();
    let decisive = if statistics.summed { eps * eps >= TINY * count } else { eps >= DECISIVE };
    let dead = squares < TINY * total && decisive;
    if !in_range(squares, count) && !constant && !dead {
        pivot = finite(pivot);
        [sum, squares] = fold_wide(pass, channel, [0, 0], [pivot; 2], pass.weights);
    }
    if statistics.summed {
        return [pivot, squares];
    }
    let shift = if statistics.centered { sum / total } else { 0.0 };
    let variance = squares / total - shift * shift;
    // Not `max`: what isn't a number has to stay so.
    [pivot + shift, if variance < 0.0 { 0.0 } else { variance }]
}

/// Whether a sum of squares can have lost nothing to the ends of f32's range.
fn in_range(squares: f64, count: f64) -> bool {
    squares.is_finite() && squares >= TINY * count
}
