//! Mean and spread of many values, block by block.
//!
//! ```text
//! block      p  = f32(Σx / n)                   a pivot near the mean
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
//! digits; Σd takes back what the pivot's own rounding would add, so that a
//! constant channel has its exact mean and M2 = 0. Squares of f32 leave its range
//! from deviations of 10¹⁹ up and of 10⁻¹⁹ down: such a block is done again in f64.
//!
//! Sources: Chan, Golub & LeVeque, "Algorithms for computing the sample variance"
//! (1983), eq. 1.7 (correction) and 2.1 (merging).

use crate::Cells;
use crate::lanes::F32x4;
use crate::layout::{Block, Form, PerOperand, TILE};
use crate::sweep::{Merge, Operand, Scratch, fold, merge_each, tile, tile_of, values};

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

/// Merges the [`Moments`] of a block into those of its columns.
pub fn merge_block(block: &Block, x: Operand, scratch: &mut [Scratch], moments: &mut [Moments]) {
    let count = block.count() as f64;
    let inverse = 1.0 / count;
    set_pivots(block, x, scratch);
    let pad = [values(&scratch[0].pivot)[0]];
    let pivots = |_, scratch: &Scratch| [scratch.pivot];
    fold(block, [x], pad, scratch, pivots, deviations);
    let out_of_range = moments.chunks(TILE).zip(&*scratch).any(|(moments, scratch)| {
        let [_, squares] = scratch.totals(block.form);
        !squares[..moments.len()].iter().all(|&one| in_range(one, count))
    });
    if out_of_range {
        fold(block, [x], pad, scratch, pivots, deviations_and_distance);
    }
    for (tile, moments) in moments.chunks_mut(TILE).enumerate() {
        let [sum, squares, apart] = scratch[tile].totals(block.form);
        let pivot = values(&scratch[tile].pivot);
        merge_each(moments, count, |lane| {
            // Constant channels are common (dead units) and exact as they are.
            if in_range(squares[lane], count) || apart[lane] == 0.0 {
                Moments::of_deviations(count, inverse, pivot[lane], [sum[lane], squares[lane]])
            } else {
                Moments::in_f64(block, tile * TILE + lane, x)
            }
        });
    }
}

/// Sets each column's pivot to the mean of its values, rounded.
fn set_pivots(block: &Block, x: Operand, scratch: &mut [Scratch]) {
    fold(block, [x], [0.0], scratch, |_, _| [], total);
    let inverse = 1.0 / block.count() as f64;
    for scratch in &mut scratch[..block.tile_count()] {
        let [sum] = scratch.totals(block.form);
        scratch.pivot = match block.form {
            Form::Runs => tile(|_| (sum[0] * inverse) as f32),
            Form::Columns => tile(|column| (sum[column] * inverse) as f32),
        };
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
    fn in_f64(block: &Block, column: usize, lane: usize, pairs: &Pairs) -> Self {
        let Pairs { x, dy, center, scale } = pairs;
        let [center, scale] = [center, scale].map(|row| row[column + lane].get());
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

/// What [`CoMoments`] are taken of: x as `(x − center)·scale` of its column, and dy.
#[derive(Clone, Copy, Debug)]
pub struct Pairs<'a> {
    /// What the forward pass normalized.
    pub x: Operand<'a>,
    /// The gradient with respect to its result.
    pub dy: Operand<'a>,
    /// One per column: the mean, rounded.
    pub center: Cells<'a>,
    /// One per column: 1/σ, rounded.
    pub scale: Cells<'a>,
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

impl Pairs<'_> {
    /// Merges the [`CoMoments`] of a block into those of its columns, from `column` on.
    pub fn merge_block(
        &self,
        column: usize,
        block: &Block,
        scratch: &mut [Scratch],
        moments: &mut [CoMoments],
    ) {
        let count = block.count() as f64;
        let inverse = 1.0 / count;
        set_pivots(block, self.dy, scratch);
        let pad = [self.center[column].get(), values(&scratch[0].pivot)[0]];
        let constants = |tile: usize, scratch: &Scratch| {
            let first = column + tile * TILE;
            let own = |row: Cells| tile_of(row, first, block.form);
            [own(self.center), own(self.scale), scratch.pivot]
        };
        fold(block, [self.x, self.dy], pad, scratch, constants, co_deviations);
        for (tile, moments) in moments.chunks_mut(TILE).enumerate() {
            let sums: [_; 3] = scratch[tile].totals(block.form);
            let pivot = values(&scratch[tile].pivot);
            merge_each(moments, count, |lane| {
                if sums[2][lane].is_finite() {
                    let sums = sums.map(|sum| sum[lane]);
                    CoMoments::of_deviations(count, inverse, pivot[lane], sums)
                } else {
                    CoMoments::in_f64(block, column, tile * TILE + lane, self)
                }
            });
        }
    }
}
