//! The blocks that a layout is walked in.

use core::ops::Range;

use super::{Form, Layout, PerOperand, along};

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
        // The folded rows, and those that were too few to fold.
        let folded = rows - rows % self.fold;
        let panels = [(0..folded, self.fold), (folded..rows, 1)];
        for tuple in 0..tuples {
            let start = self.outer.at(turn(tuple, tuples));
            for panel in 0..panels.len() {
                let (range, fold) = &panels[turn(panel, panels.len())];
                let start = along(start, stride, range.start);
                let stride = stride.map(|stride| stride * fold);
                let rows = range.len() / fold;
                let width = self.run * group.len() * fold;
                let piece = (PIECE / width).max(1);
                let pieces = rows.div_ceil(piece);
                for index in 0..pieces {
                    let first = turn(index, pieces) * piece;
                    let start = along(start, stride, first);
                    let block = Block { start, stride, rows: piece.min(rows - first), width };
                    match self.form {
                        Form::Runs => self.walk_runs(group.clone(), block, &turn, visit),
                        Form::Columns => visit(0, &block),
                    }
                }
            }
        }
    }

    /// Parts rows that cross the channels `group` into the channels' runs.
    fn walk_runs(
        &self,
        group: Range<usize>,
        piece: Block,
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
                    let start = start.map(|start| start + first);
                    visit(channel, &Block { start, rows, width, ..piece });
                }
            }
        }
    }
}
