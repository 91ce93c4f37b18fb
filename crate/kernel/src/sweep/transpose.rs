//! A matrix to its transpose, four by four.

use core::array::from_fn;

use crate::Cells;
use crate::lanes::{F32x4, LANES};

/// Writes `to[column, row] ← from[row, column]`. Of each tensor the stride from one to the next of
/// its first index is given; along the second one elements lie end to end.
#[inline(never)]
pub fn transpose(
    [rows, columns]: [usize; 2],
    (from, stride): (Cells, usize),
    (to, to_stride): (Cells, usize),
) {
    for row in (0..rows).step_by(LANES) {
        for column in (0..columns).step_by(LANES) {
            if row + LANES <= rows && column + LANES <= columns {
                let lines: [F32x4; LANES] = from_fn(|k| {
                    let four = &from[(row + k) * stride + column..][..LANES];
                    // SAFETY: there are four.
                    unsafe { F32x4::load(four.as_ptr().cast()) }
                });
                for (k, line) in F32x4::transpose(lines).into_iter().enumerate() {
                    let four = &to[(column + k) * to_stride + row..][..LANES];
                    // SAFETY: there are four cells.
                    unsafe { line.store(four.as_ptr().cast::<f32>().cast_mut()) };
                }
                continue;
            }
            for row in row..rows.min(row + LANES) {
                for column in column..columns.min(column + LANES) {
                    to[column * to_stride + row].set(from[row * stride + column].get());
                }
            }
        }
    }
}
