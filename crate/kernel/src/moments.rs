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

use core::array::from_fn;

use crate::Cells;
use crate::lanes::F32x4;
use crate::layout::{Block, PerOperand, TILE};
use crate::sweep::{Merge, Operand, Tile, fold, tile_of};

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

    fn of_deviations(count: f64, pivot: f32, [sum, squares]: [f64; 2]) -> Self {
        Self {
            count,
            mean: f64::from(pivot) + sum / count,
            m2: (squares - sum * sum / count).max(0.0),
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
    fn merge(&mut self, other: &Self) {
        let count = self.count + other.count;
        if count == 0.0 {
            return;
        }
        let delta = other.mean - self.mean;
        let share = other.count / count;
        self.m2 += other.m2 + delta * delta * self.count * share;
        self.mean += delta * share;
        self.count = count;
    }
}

#[inline(always)]
fn deviations([sum, squares]: [F32x4; 2], [x]: [F32x4; 1], [pivot]: [F32x4; 1]) -> [F32x4; 2] {
    let d = x - pivot;
    [sum + d, squares + d * d]
}

#[inline(always)]
fn distance([sum]: [F32x4; 1], [x]: [F32x4; 1], [pivot]: [F32x4; 1]) -> [F32x4; 1] {
    [sum + (x - pivot).abs()]
}

#[inline(always)]
fn total([sum]: [F32x4; 1], [x]: [F32x4; 1], []: [F32x4; 0]) -> [F32x4; 1] {
    [sum + x]
}

/// Whether a sum of squares can have lost nothing to the ends of f32's range.
fn in_range(squares: f64, count: f64) -> bool {
    squares.is_finite() && squares >= TINY * count
}

/// [`Moments`] of each of the block's accumulators.
pub fn of_block(block: &Block, x: Operand) -> [Moments; TILE] {
    let count = block.count() as f64;
    let [sum] = fold(block, [x], [0.0], &[], total);
    let pivot = pivot_of(block, sum);
    let sums = fold(block, [x], [pivot[0]], &[pivot], deviations);
    let mut moments = [Moments::default(); TILE];
    let mut all_in_range = true;
    for lane in 0..block.lanes() {
        moments[lane] = Moments::of_deviations(count, pivot[lane], sums.map(|sum| sum[lane]));
        all_in_range &= in_range(sums[1][lane], count);
    }
    if !all_in_range {
        let [apart] = fold(block, [x], [pivot[0]], &[pivot], distance);
        for lane in 0..block.lanes() {
            // Constant channels are common (dead units) and exact as they are.
            if !in_range(sums[1][lane], count) && apart[lane] != 0.0 {
                moments[lane] = Moments::in_f64(block, lane, x);
            }
        }
    }
    moments
}

/// The means of a block's accumulators, rounded; in every column where they share one.
fn pivot_of(block: &Block, sum: [f64; TILE]) -> Tile {
    let lanes = block.lanes();
    from_fn(|column| (sum[column.min(lanes - 1)] / block.count() as f64) as f32)
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
    fn of_deviations(count: f64, pivot: f32, [sum_x, sum_dy, products]: [f64; 3]) -> Self {
        Self {
            count,
            mean_x: sum_x / count,
            mean_dy: f64::from(pivot) + sum_dy / count,
            co: products - sum_x * sum_dy / count,
        }
    }

    /// Both passes in f64, one pair at a time.
    #[cold]
    fn in_f64(block: &Block, lane: usize, pairs: &Pairs, center: f32, scale: f32) -> Self {
        let Pairs { x, dy, .. } = pairs;
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
    fn merge(&mut self, other: &Self) {
        let count = self.count + other.count;
        if count == 0.0 {
            return;
        }
        let delta_x = other.mean_x - self.mean_x;
        let delta_dy = other.mean_dy - self.mean_dy;
        let share = other.count / count;
        self.co += other.co + delta_x * delta_dy * self.count * share;
        self.mean_x += delta_x * share;
        self.mean_dy += delta_dy * share;
        self.count = count;
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
    /// [`CoMoments`] of each of the block's accumulators; `column` is the first's.
    pub fn of_block(&self, column: usize, block: &Block) -> [CoMoments; TILE] {
        let count = block.count() as f64;
        let [sum] = fold(block, [self.dy], [0.0], &[], total);
        let pivot = pivot_of(block, sum);
        let center = tile_of(self.center, column, block);
        let scale = tile_of(self.scale, column, block);
        let pad = [center[0], pivot[0]];
        let constants = &[center, scale, pivot];
        let sums = fold(block, [self.x, self.dy], pad, constants, co_deviations);
        from_fn(|lane| {
            if lane >= block.lanes() {
                CoMoments::default()
            } else if sums[2][lane].is_finite() {
                CoMoments::of_deviations(count, pivot[lane], sums.map(|sum| sum[lane]))
            } else {
                CoMoments::in_f64(block, lane, self, center[lane], scale[lane])
            }
        })
    }
}
