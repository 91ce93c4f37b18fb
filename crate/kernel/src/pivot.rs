//! Where sums of a channel are taken around: a value near its bulk, from a few samples.
//!
//! ```text
//! p     the mean of eight samples but the smallest and the largest
//! ```
//!
//! The pivot makes squares of small numbers only, so that |mean| ≫ σ costs no digits. The
//! mean itself would be no better pivot: beside one huge value it lies far from the bulk, all
//! of which would add the same rounding error to the huge square. Samples can mislead:
//! [`crate::moments`] checks what they have promised.

use core::array::from_fn;

use crate::Cells;
use crate::lanes::{F32x4, LANES};
use crate::layout::Band;
use crate::sweep::Pass;

/// Values of a channel that its pivot is taken from.
const SAMPLES: usize = 8;

/// Sets the first constant of each of a band's channels to a pivot: the mean of some
/// samples but the smallest and the largest; of a constant channel that constant.
///
/// It is rounded to a 64th of the samples' range or finer: of a value that comes often
/// (0 behind a ReLU) the squared deviation then has few digits, and adding it many times
/// over does not round each time in the same direction.
#[inline(never)]
pub fn pivots(pass: &mut Pass, band: &Band, operand: usize) {
    let Pass { layout, tensors, weights, gated, ref mut workspace } = *pass;
    let [cells, y, _] = gated.unwrap_or([tensors[operand], &[], &[]]);
    let place = |i: usize| {
        // Golden ratio steps: spread over all, and at the edge of no image or row.
        let share = u64::from((i as u32).wrapping_mul(0x9E37_79B9).wrapping_add(1 << 31));
        let index = ((layout.count as u64 * share) >> 32) as usize;
        layout.place(operand, weights.map_or(index, |weights| weights.counted(index)))
    };
    let places: [usize; SAMPLES] = from_fn(place);
    let stride = layout.channel_stride(operand);
    for first in band.clone().step_by(LANES) {
        let four = |cells: Cells, place: usize| {
            if stride == 1 && first + LANES <= band.end {
                let four = &cells[place + first..][..LANES];
                // SAFETY: there are four.
                unsafe { F32x4::load(four.as_ptr().cast()) }
            } else {
                gathered(&cells[place + first * stride..], stride, band.end - first)
            }
        };
        let zero = F32x4::splat(0.0);
        let (mut origin, mut sum, mut least, mut most) = (zero, zero, zero, zero);
        for (i, &place) in places.iter().enumerate() {
            let mut sample = four(cells, place);
            if gated.is_some() {
                sample = sample.only_above_zero(four(y, place));
            }
            if i == 0 {
                origin = sample;
                continue;
            }
            let distance = sample - origin;
            sum = sum + distance;
            least = least.min(distance);
            most = most.max(distance);
        }
        let trimmed = (sum - least - most) * F32x4::splat(1.0 / (SAMPLES - 2) as f32);
        let coarse = (most - least) * F32x4::splat((1 << 17) as f32);
        workspace.set_first_constants(first, origin + trimmed + coarse - coarse);
    }
}

/// Samples of four channels, a stride apart; of fewer, the last one is repeated.
#[inline(never)]
fn gathered(cells: Cells, stride: usize, len: usize) -> F32x4 {
    F32x4::from_array(from_fn(|lane| cells[lane.min(len - 1) * stride].get()))
}

/// A pivot that sums in f64 can be taken around: that of samples at the end of f32's range
/// may have left it.
pub fn finite(pivot: f64) -> f64 {
    if pivot.is_finite() { pivot } else { 0.0 }
}
