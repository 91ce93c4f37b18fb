//! The blocks that a layout is walked in.

use core::ops::Range;

use super::{Form, Layout, MAX_OPERANDS, PerOperand, along};

/// Elements that are walked forwards before turning back, when walking backwards:
/// about a megabyte, long enough for prefetching.
const PIECE: usize = 1 << 18;

/// Short runs of a channel are visited together until they have this many elements.
const SHORT: usize = 512;

/// `rows` stretches of `width` elements, evenly apart: of one channel in
/// [`Form::Runs`], of as many columns in [`Form::Columns`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// Where the first stretch begins in every operand.
    pub start: PerOperand,
    /// From one stretch to the next.
    pub stride: PerOperand,
    /// Number of stretches.
    pub rows: usize,
    /// Elements of a stretch.
    pub width: usize,
}

impl Layout {
    /// Calls `visit(column, block)` with the blocks of the channels `group`; `column`
    /// is the first of the block's columns, a run's channel. Backwards, pieces of
    /// memory come from the last to the first.
    pub fn walk(&self, group: Range<usize>, backwards: bool, visit: &mut dyn FnMut(usize, &Block)) {
        if self.is_empty() || group.is_empty() {
            return;
        }
        let turn = |index: usize, len: usize| if backwards { len - 1 - index } else { index };
        // All dimensions but the last one are tuples; along that one lie the rows.
        let (rows, stride, tuples) = self.outer.split();
        let width = self.run * group.len();
        // Folded rows in pieces, and those that were too few to fold.
        let folded = rows / self.fold;
        let piece = (PIECE / (width * self.fold)).max(1);
        let whole = folded.div_ceil(piece);
        let pieces = whole + usize::from(folded * self.fold < rows);
        for index in 0..tuples * pieces {
            let index = turn(index, tuples * pieces);
            let (tuple, index) = (index / pieces, index % pieces);
            let first = folded.min(index * piece);
            let start = along(self.outer.at(tuple), stride, first * self.fold);
            let block = if index < whole {
                let stride = along([0; MAX_OPERANDS], stride, self.fold);
                let rows = piece.min(folded - first);
                Block { start, stride, rows, width: width * self.fold }
            } else {
                Block { start, stride, rows: rows - first * self.fold, width }
            };
            match self.form {
                Form::Columns => visit(0, &block),
                Form::Runs => self.walk_runs(group.clone(), &block, &turn, visit),
            }
        }
    }

    /// Parts rows that cross the channels `group` into the channels' runs.
    fn walk_runs(
        &self,
        group: Range<usize>,
        piece: &Block,
        turn: &dyn Fn(usize, usize) -> usize,
        visit: &mut dyn FnMut(usize, &Block),
    ) {
        let together = (SHORT / self.run).max(1);
        let parts = self.run.div_ceil(PIECE);
        for row in (0..piece.rows).step_by(together) {
            let start = along(piece.start, piece.stride, row);
            let rows = together.min(piece.rows - row);
            for channel in group.clone() {
                let start = along(start, self.channel_strides, channel);
                for index in 0..parts {
                    let first = turn(index, parts) * PIECE;
                    let width = PIECE.min(self.run - first);
                    let start = along(start, [1; MAX_OPERANDS], first);
                    visit(channel, &Block { start, rows, width, ..*piece });
                }
            }
        }
    }
}
