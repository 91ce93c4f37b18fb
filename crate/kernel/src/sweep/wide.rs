//! Sums in f64, for channels whose squares or products leave f32's range.

use core::array::from_fn;

use super::{Pass, Weights};
use crate::layout::{Form, Order};

/// Sums up e = dy − q and (x − c)·e of one channel, each times its weight if there are `weights`,
/// without vectors and so slowly; x and dy may be the same operand.
#[cold]
pub fn fold_wide(
    pass: &Pass,
    channel: usize,
    operands: [usize; 2],
    centers: [f64; 2],
    weights: Option<&Weights>,
) -> [f64; 2] {
    let layout = pass.layout;
    let mut sums = [0.0; 2];
    // Forwards they come in the order of the weights.
    let mut index = 0;
    let band = match layout.form {
        Form::Runs => channel..channel + 1,
        Form::Columns => 0..layout.channels,
    };
    layout.walk(&band, layout.all_lines(), Order::Forwards, &mut |piece| {
        // A channel's columns come again and again, some side by side.
        let (first, side_by_side, period) = match layout.form {
            Form::Runs => (0, piece.width, piece.width),
            Form::Columns => layout.columns_of(channel),
        };
        let rows = (0..piece.planes).flat_map(|plane| (0..piece.rows).map(move |row| (plane, row)));
        for (plane, row) in rows {
            for first in (first..piece.width).step_by(period) {
                for column in first..first + side_by_side {
                    let [d, e] = from_fn(|i| {
                        let k = operands[i];
                        let row = plane * piece.plane_stride[k] + row * piece.stride[k];
                        let place = piece.start[k] + row + column;
                        f64::from(pass.tensors[k][place].get()) - centers[i]
                    });
                    let weight = weights.map_or(1.0, |all| f64::from(all.each[index].get()));
                    index += 1;
                    if weight > 0.0 {
                        sums[0] += weight * e;
                        sums[1] += weight * d * e;
                    }
                }
            }
        }
    });
    sums
}
