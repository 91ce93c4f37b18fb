//! Weights of a channel's elements, beside the pieces of all channels.

use core::cell::Cell;

use super::CHUNK;
use super::patch::Beside;
use crate::Cells;
use crate::lanes::{F32x4, LANES};
use crate::layout::{Form, Layout, Piece, TILE};

/// How much the elements of a channel count in its statistics: none less than 0, and the same in
/// all channels.
#[derive(Clone, Copy, Debug)]
pub struct Weights<'a> {
    /// One for each element of a channel, in the order of [`Layout::place`].
    pub each: Cells<'a>,
    /// Their sum.
    pub total: f64,
}

impl<'a> Weights<'a> {
    /// Elements of packed rows that a walk of a layout needs.
    pub fn room(layout: &Layout) -> usize {
        match layout.form {
            Form::Runs => 0,
            // Whole vectors may be stored behind the last.
            Form::Columns => CHUNK.min(layout.count) * layout.columns().max(TILE) + TILE,
        }
    }

    /// The first element from an index on that counts, or again from the start; if none does,
    /// this one.
    pub fn counted(&self, index: usize) -> usize {
        let mut all = (index..self.each.len()).chain(0..index);
        all.find(|&index| self.each[index].get() > 0.0).unwrap_or(index)
    }

    /// The weights beside a piece: of runs as they are, of columns spread out in `packed`.
    pub(super) fn beside(
        &self,
        layout: &Layout,
        piece: &Piece,
        packed: &'a [Cell<f32>],
    ) -> Beside<'a> {
        let each = &self.each[piece.before..];
        if layout.form == Form::Runs {
            return Beside::new(each, piece, [0, piece.width], 1);
        }
        let step = usize::from(layout.columns() > layout.channels);
        let side_by_side = layout.side_by_side();
        let width = if step == 0 { TILE } else { layout.channels * side_by_side };
        spread(&each[..piece.rows * piece.width / layout.channels], side_by_side, width, packed);
        let stride = if step == 0 { TILE } else { piece.width };
        Beside::new(packed, piece, [stride, 0], step)
    }
}

/// Writes the weights of each row, so many of which are `side_by_side`, again and again up to its
/// `width`.
#[inline(never)]
fn spread(weights: Cells, side_by_side: usize, width: usize, to: &[Cell<f32>]) {
    let mut place = 0;
    if side_by_side == 1 {
        // Whole vectors: what is stored behind a row is written again.
        let to = &to[..weights.len() * width + TILE];
        for weight in weights {
            let weight = F32x4::splat(weight.get());
            for column in (0..width).step_by(LANES) {
                let four = to[place + column..].as_ptr().cast::<f32>().cast_mut();
                // SAFETY: there are four cells, behind the last row as well.
                unsafe { weight.store(four) };
            }
            place += width;
        }
        return;
    }
    for weights in weights.chunks_exact(side_by_side) {
        for again in to[place..][..width].chunks_exact(side_by_side) {
            again.iter().zip(weights).for_each(|(to, weight)| to.set(weight.get()));
        }
        place += width;
    }
}
