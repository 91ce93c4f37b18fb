//! The blocks that a layout is walked in.

use core::ops::Range;

use super::{Form, Layout, MAX_OPERANDS, PerOperand, TILE, along};

/// Elements of a run folded in `f32` before they are merged in `f64`: two
/// operands of it fit a 32 KB L1 cache between the two passes of a block.
const BLOCK: usize = 2048;

/// Rows of columns folded in `f32` before they are merged in `f64`: fewer where
/// they are wide, so that a block stays in the L2 cache between its two passes.
pub(super) const BLOCK_ROWS: usize = 256;
const WIDE_BLOCK: usize = 1 << 16;
const MIN_BLOCK_ROWS: usize = 32;

/// Rows of a tile that are walked before the next tile of the same rows: memory
/// is read about in order, and what a tile needs in registers serves many rows.
const GROUP_ROWS: usize = 16;

/// Elements that are walked forwards before turning back, when walking backwards:
/// about a megabyte.
const PIECE: usize = 1 << 18;

/// `rows` stretches of `width` elements, evenly apart.
#[derive(Clone, Copy, Debug)]
pub struct Block {
    /// How it lies: in a block of runs all elements belong to one channel, in
    /// one of columns each column has its own.
    pub form: Form,
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
    /// is the first of the block's columns, a run's channel. Backwards, stretches of
    /// memory that are long enough for prefetching come from the last to the first.
    pub fn walk(&self, group: Range<usize>, backwards: bool, visit: &mut dyn FnMut(usize, &Block)) {
        if self.count == 0 {
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
                let (most, width) = match self.form {
                    Form::Runs => ((BLOCK / self.run).max(1), self.run * group.len()),
                    Form::Columns => {
                        let width = self.channels * self.run * fold;
                        ((WIDE_BLOCK / width).clamp(MIN_BLOCK_ROWS, BLOCK_ROWS), width)
                    }
                };
                let piece = most * (PIECE / (most * width).max(1)).max(1);
                let pieces = rows.div_ceil(piece);
                for index in 0..pieces {
                    let first = turn(index, pieces) * piece;
                    let mut above = first;
                    while above < rows.min(first + piece) {
                        let start = along(start, stride, above);
                        let rows = most.min(rows - above);
                        let block = Block { form: self.form, start, stride, rows, width };
                        match self.form {
                            Form::Runs => self.walk_runs(group.clone(), block, visit),
                            Form::Columns => visit(0, &block),
                        }
                        above += rows;
                    }
                }
            }
        }
    }

    /// Parts the runs of each channel into about equal pieces, all but the last of
    /// whole tiles.
    fn walk_runs(&self, group: Range<usize>, block: Block, visit: &mut dyn FnMut(usize, &Block)) {
        let most = self.run.div_ceil(self.run.div_ceil(BLOCK)).next_multiple_of(TILE);
        for channel in group {
            let start = along(block.start, self.channel_strides, channel);
            let mut first = 0;
            while first < self.run {
                let width = most.min(self.run - first);
                let start = start.map(|start| start + first);
                visit(channel, &Block { start, width, ..block });
                first += width;
            }
        }
    }
}

impl Block {
    /// Accumulators that it needs: one, or one for each of its columns.
    pub fn lanes(&self) -> usize {
        if self.form == Form::Runs { 1 } else { self.width }
    }

    /// Elements for each of these.
    pub fn count(&self) -> usize {
        if self.form == Form::Runs { self.rows * self.width } else { self.rows }
    }

    /// Calls `visit(tile, rows)` with rows of at most a tile's width, which make up
    /// the block; `tile` is that of the columns that they belong to, 0 in runs.
    #[inline(always)]
    pub(crate) fn tiles(&self, mut visit: impl FnMut(usize, &Block)) {
        match self.form {
            Form::Runs => {
                let (tiles, rest) = (self.width / TILE, self.width % TILE);
                for row in 0..self.rows {
                    let start = along(self.start, self.stride, row);
                    if tiles > 0 {
                        let stride = [TILE; MAX_OPERANDS];
                        visit(0, &Block { start, stride, rows: tiles, width: TILE, ..*self });
                    }
                    if rest > 0 {
                        let start = start.map(|start| start + tiles * TILE);
                        visit(0, &Block { start, rows: 1, width: rest, ..*self });
                    }
                }
            }
            Form::Columns => {
                let mut row = 0;
                while row < self.rows {
                    let rows = GROUP_ROWS.min(self.rows - row);
                    let mut start = along(self.start, self.stride, row);
                    for tile in 0..self.tile_count() {
                        let width = TILE.min(self.width - tile * TILE);
                        visit(tile, &Block { start, rows, width, ..*self });
                        start = start.map(|start| start + TILE);
                    }
                    row += rows;
                }
            }
        }
    }

    /// Tiles of accumulators that it needs.
    pub(crate) fn tile_count(&self) -> usize {
        self.lanes().div_ceil(TILE)
    }

    /// Where element `index` of an accumulator lies.
    pub(crate) fn place(&self, index: usize, lane: usize) -> PerOperand {
        let (row, column) = match self.form {
            Form::Runs => (index / self.width, index % self.width),
            Form::Columns => (index, lane),
        };
        along(self.start, self.stride, row).map(|start| start + column)
    }

    /// Calls `visit` with where every element of an accumulator lies.
    #[cold]
    pub(crate) fn each(&self, lane: usize, visit: &mut dyn FnMut(PerOperand)) {
        let columns = if self.form == Form::Runs { 0..self.width } else { lane..lane + 1 };
        for row in 0..self.rows {
            let start = along(self.start, self.stride, row);
            for column in columns.clone() {
                visit(start.map(|start| start + column));
            }
        }
    }
}
