//! Mean and spread of many values, block by block.
//!
//! ```text
//! block      p  = f32(Σx / n)                   a pivot near the mean,
//!                 within three of the values    which an outlier can't pull away
//!            d  = x − p                         in f32 lanes
//!            mean = p + Σd/n                    in f64, as all that follows
//!            M2   = Σd² − (Σd)²/n               the corrected two-pass algorithm
//! merge      δ    = mean_b − mean_a
//!            mean = mean_a + δ·n_b/n
//!            M2   = M2_a + M2_b + δ²·n_a·n_b/n
//! ```
//!
//! and for the gradient the same of pairs (x̂, dy), with the co-moment
//! `C = Σ(x̂ − mean x̂)(dy − mean dy)` in place of M2.
//!
//! The pivot makes squares of small numbers only, so that |mean| ≫ σ costs no
//! digits; any near the bulk of the values will do, since Σd takes its distance from
//! the mean back. The mean of a block with one huge value lies far from the bulk,
//! and all of it would add the same rounding error to the huge square. The pivot of
//! a constant channel is that constant: its mean is exact and M2 = 0. Squares of f32
//! leave its range from deviations of 10¹⁹ up and of 10⁻¹⁹ down: such a block is done
//! again in f64.
//!
//! Sources: Chan, Golub & LeVeque, "Algorithms for computing the sample variance"
//! (1983), eq. 1.7 (correction) and 2.1 (merging).

use crate::lanes::F32x4;
use crate::layout::{Block, Form, PerOperand, TILE};
use crate::sweep::{Constants, Merge, Operand, Sums, constants_of, fold, merge_each};

/// Below this a sum of squares may have lost terms to underflow.
const TINY: f64 = 1e-30;

/// Number, mean and sum of squared deviations of a set of values.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Moments {
    /// Number of values.
    pub count: f64,
    /// Σx / n.
    pub mean: f64,
    /// Σ(x − mean)².
    pub m2: f64,
}

impl Moments {
    /// Biased variance, `M2 / n`.
    pub fn variance(&self) -> f64 {
        self.m2 / self.count
    }

    /// From Σd and Σd². `count·Σd² − (Σd)²` is exactly 0 for constant values.
    fn of_deviations(count: f64, inverse: f64, pivot: f32, [sum, squares]: [f64; 2]) -> Self {
        Self {
            count,
            mean: f64::from(pivot) + sum * inverse,
            m2: ((count * squares - sum * sum) * inverse).max(0.0),
        }
    }

    /// Both passes in f64, one element at a time.
    #[cold]
    fn in_f64(block: &Block, lane: usize, x: Operand) -> Self {
        let count = block.count() as f64;
        let value = |place: PerOperand| f64::from(x.cells[place[x.index]].get());
        let mut sum = 0.0;
        block.each(lane, &mut |place| sum += value(place));
        let mean = sum / count;
        let mut m2 = 0.0;
        block.each(lane, &mut |place| m2 += (value(place) - mean) * (value(place) - mean));
        Self { count, mean, m2 }
    }
}

impl Merge for Moments {
    fn count(&self) -> f64 {
        self.count
    }

    #[inline(always)]
    fn merge_share(&mut self, other: &Self, share: f64) {
        let delta = other.mean - self.mean;
        self.m2 += other.m2 + delta * delta * self.count * share;
        self.mean += delta * share;
        self.count += other.count;
    }
}

#[inline(always)]
fn deviations([sum, squares]: [F32x4; 2], [x]: [F32x4; 1], [pivot]: [F32x4; 1]) -> [F32x4; 2] {
    let d = x - pivot;
    [sum + d, squares + d * d]
}

/// And Σ|d|, which is 0 only where all values are the pivot.
#[inline(always)]
fn deviations_and_distance(
    [sum, squares, apart]: [F32x4; 3],
    [x]: [F32x4; 1],
    [pivot]: [F32x4; 1],
) -> [F32x4; 3] {
    let d = x - pivot;
    [sum + d, squares + d * d, apart + d.abs()]
}

#[inline(always)]
fn total([sum]: [F32x4; 1], [x]: [F32x4; 1], []: [F32x4; 0]) -> [F32x4; 1] {
    [sum + x]
}

/// Whether a sum of squares can have lost nothing to the ends of f32's range.
fn in_range(squares: f64, count: f64) -> bool {
    squares.is_finite() && squares >= TINY * count
}

/// Merges the [`Moments`] of a block into those of its columns, from `column` on.
/// Overwrites the first constant of each.
pub fn merge_block(
    column: usize,
    block: &Block,
    x: Operand,
    constants: &mut [Constants],
    sums: &mut [Sums],
    moments: &mut [Moments],
) {
    let form = block.form;
    let count = block.count() as f64;
    let inverse = 1.0 / count;
    let pad = |constants: &[Constants]| [constants_of(constants, form, column, 0)[0][0]];
    set_pivots::<0>(column, block, x, constants, sums);
    fold(column, block, [x], pad(constants), constants, sums, deviations);
    if move_far_pivots(column, block, constants, sums) {
        fold(column, block, [x], pad(constants), constants, sums, deviations);
    }
    let in_range = |sums: &Sums, lane| in_range(sums.total(1, lane, form), count);
    let all_in_range = (0..moments.len()).all(|lane| in_range(&sums[lane / TILE], lane % TILE));
    if !all_in_range {
        fold(column, block, [x], pad(constants), constants, sums, deviations_and_distance);
    }
    for (tile, moments) in moments.chunks_mut(TILE).enumerate() {
        let sums = &sums[tile];
        let pivot = &constants_of(constants, form, column, tile)[0];
        merge_each(moments, count, |lane| {
            // Constant channels are common (dead units) and exact as they are.
            if all_in_range || in_range(sums, lane) || sums.total(2, lane, form) == 0.0 {
                let sums = [sums.total(0, lane, form), sums.total(1, lane, form)];
                Moments::of_deviations(count, inverse, pivot[lane], sums)
            } else {
                Moments::in_f64(block, tile * TILE + lane, x)
            }
        });
    }
}

/// Moves each pivot to the mean where one is further than 2σ from it: the samples
/// that kept it within the bulk were no part of it. Says whether it did.
fn move_far_pivots(
    column: usize,
    block: &Block,
    constants: &mut [Constants],
    sums: &[Sums],
) -> bool {
    let count = block.count() as f64;
    let total = |kind, lane: usize| sums[lane / TILE].total(kind, lane % TILE, block.form);
    // (Σd/n)² > 4σ², with nσ² = Σd² − (Σd)²/n.
    let far = |lane| 5.0 * total(0, lane) * total(0, lane) > 4.0 * count * total(1, lane);
    if !(0..block.lanes()).any(far) {
        return false;
    }
    for lane in 0..block.lanes() {
        let pivot = match block.form {
            Form::Runs => &mut constants[column][0][..],
            Form::Columns => &mut constants[lane / TILE][0][lane % TILE..][..1],
        };
        let mean = (f64::from(pivot[0]) + total(0, lane) / count) as f32;
        if mean.is_finite() {
            pivot.fill(mean);
        }
    }
    true
}

/// Sets constant `AT` of each column to its pivot.
fn set_pivots<const AT: usize>(
    column: usize,
    block: &Block,
    x: Operand,
    constants: &mut [Constants],
    sums: &mut [Sums],
) {
    fold(column, block, [x], [0.0], constants, sums, total);
    let count = block.count();
    let inverse = 1.0 / count as f64;
    let pivot = |lane: usize, sums: &Sums| {
        let mean = (sums.total(0, lane % TILE, block.form) * inverse) as f32;
        let sample = |quarter| {
            let place = block.place(quarter * count / 4, lane);
            x.cells[place[x.index]].get()
        };
        let [a, b, c] = [sample(1), sample(2), sample(3)];
        mean.max(a.min(b).min(c)).min(a.max(b).max(c))
    };
    match block.form {
        Form::Runs => constants[column][AT] = [pivot(0, &sums[0]); TILE],
        Form::Columns => {
            for lane in 0..block.lanes() {
                constants[lane / TILE][AT][lane % TILE] = pivot(lane, &sums[lane / TILE]);
            }
        }
    }
}

/// Number, means and co-moment of a set of pairs (x̂, dy).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CoMoments {
    /// Number of pairs.
    pub count: f64,
    /// Σx̂ / n.
    pub mean_x: f64,
    /// Σdy / n.
    pub mean_dy: f64,
    /// Σ(x̂ − mean x̂)(dy − mean dy).
    pub co: f64,
}

impl CoMoments {
    fn of_deviations(
        count: f64,
        inverse: f64,
        pivot: f32,
        [sum_x, sum_dy, products]: [f64; 3],
    ) -> Self {
        Self {
            count,
            mean_x: sum_x * inverse,
            mean_dy: f64::from(pivot) + sum_dy * inverse,
            co: products - sum_x * sum_dy * inverse,
        }
    }

    /// Both passes in f64, one pair at a time.
    #[cold]
    fn in_f64(
        block: &Block,
        lane: usize,
        [x, dy]: [Operand; 2],
        [center, scale]: [f32; 2],
    ) -> Self {
        let count = block.count() as f64;
        let pair = |place: PerOperand| {
            let d = f64::from(x.cells[place[x.index]].get()) - f64::from(center);
            (d * f64::from(scale), f64::from(dy.cells[place[dy.index]].get()))
        };
        let (mut mean_x, mut mean_dy) = (0.0, 0.0);
        block.each(lane, &mut |place| {
            mean_x += pair(place).0 / count;
            mean_dy += pair(place).1 / count;
        });
        let mut co = 0.0;
        block.each(lane, &mut |place| {
            co += (pair(place).0 - mean_x) * (pair(place).1 - mean_dy);
        });
        Self { count, mean_x, mean_dy, co }
    }
}

impl Merge for CoMoments {
    fn count(&self) -> f64 {
        self.count
    }

    #[inline(always)]
    fn merge_share(&mut self, other: &Self, share: f64) {
        let delta_x = other.mean_x - self.mean_x;
        let delta_dy = other.mean_dy - self.mean_dy;
        self.co += other.co + delta_x * delta_dy * self.count * share;
        self.mean_x += delta_x * share;
        self.mean_dy += delta_dy * share;
        self.count += other.count;
    }
}

#[inline(always)]
fn co_deviations(
    [sum_x, sum_dy, products]: [F32x4; 3],
    [x, dy]: [F32x4; 2],
    [center, scale, pivot]: [F32x4; 3],
) -> [F32x4; 3] {
    let d = (x - center) * scale;
    let e = dy - pivot;
    [sum_x + d, sum_dy + e, products + d * e]
}

/// Merges the [`CoMoments`] of a block into those of its columns, from `column` on.
/// x̂ is `(x − c₀)·c₁` with the first two constants of its column, the mean and 1/σ
/// as f32. Overwrites the third.
pub fn merge_block_of_pairs(
    column: usize,
    block: &Block,
    [x, dy]: [Operand; 2],
    constants: &mut [Constants],
    sums: &mut [Sums],
    moments: &mut [CoMoments],
) {
    let form = block.form;
    let count = block.count() as f64;
    let inverse = 1.0 / count;
    set_pivots::<2>(column, block, dy, constants, sums);
    let [center, _, pivot, ..] = constants_of(constants, form, column, 0);
    let pad = [center[0], pivot[0]];
    fold(column, block, [x, dy], pad, constants, sums, co_deviations);
    for (tile, moments) in moments.chunks_mut(TILE).enumerate() {
        let sums = &sums[tile];
        let [center, scale, pivot, ..] = constants_of(constants, form, column, tile);
        merge_each(moments, count, |lane| {
            let sums = [0, 1, 2].map(|kind| sums.total(kind, lane, form));
            if sums.iter().all(|sum| sum.is_finite()) {
                CoMoments::of_deviations(count, inverse, pivot[lane], sums)
            } else {
                let lane_constants = [center[lane], scale[lane]];
                CoMoments::in_f64(block, tile * TILE + lane, [x, dy], lane_constants)
            }
        });
    }
}
