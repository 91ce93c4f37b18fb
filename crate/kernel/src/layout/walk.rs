//! The pieces in which a layout is walked.

use super::{Band, Form, Layout, MAX_OPERANDS, PerOperand, along};

/// `rows` stretches of `width` elements, evenly apart: of one channel in
/// [`Form::Runs`], of as many columns in [`Form::Columns`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Where the first stretch begins in every operand.
    pub start: PerOperand,
    /// From one stretch to the next.
    pub stride: PerOperand,
    /// Number of stretches.
    pub rows: usize,
    /// Elements of a stretch.
    pub width: usize,
}

/// In which order pieces come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// As they lie in memory.
    Forwards,
    /// From the last to the first: what was just gathered comes first.
    Backwards,
}

impl Order {
    /// Which of `len` comes at `index`.
    fn turn(self, index: usize, len: usize) -> usize {
        if self == Self::Backwards { len - 1 - index } else { index }
    }
}

impl Layout {
    /// Calls `visit(column, piece)` with the pieces of a band; `column` is the first of the
    /// piece's columns, a run's channel.
    pub fn walk(&self, band: &Band, order: Order, visit: &mut dyn FnMut(usize, &Piece)) {
        if self.is_empty() || band.is_empty() {
            return;
        }
        // All dimensions but the last one are tuples; along that one lie the rows.
        let (rows, stride, tuples) = self.outer.split();
        let width = self.run * band.len();
        // Folded rows, so many a piece, and those that were too few to fold.
        let folded = rows / self.fold;
        let piece = (self.limits.piece / (width * self.fold)).max(1);
        let whole = folded.div_ceil(piece);
        let pieces = whole + usize::from(folded * self.fold < rows);
        for index in 0..tuples * pieces {
            let index = order.turn(index, tuples * pieces);
            let (tuple, index) = (index / pieces, index % pieces);
            let first = folded.min(index * piece);
            let start = along(self.outer.at(tuple), stride, first * self.fold);
            let piece = if index < whole {
                let stride = along([0; MAX_OPERANDS], stride, self.fold);
                let rows = piece.min(folded - first);
                Piece { start, stride, rows, width: width * self.fold }
            } else {
                Piece { start, stride, rows: rows - first * self.fold, width }
            };
            match self.form {
                Form::Columns => visit(0, &piece),
                Form::Runs => self.walk_runs(band, &piece, order, visit),
            }
        }
    }

    /// Parts rows that cross the channels of a band into the channels' runs.
    fn walk_runs(
        &self,
        band: &Band,
        across: &Piece,
        order: Order,
        visit: &mut dyn FnMut(usize, &Piece),
    ) {
        let together = (self.limits.short / self.run).max(1);
        let parts = self.run.div_ceil(self.limits.piece);
        let mut row = 0;
        while row < across.rows {
            let start = along(across.start, across.stride, row);
            let rows = together.min(across.rows - row);
            row += rows;
            for channel in band.clone() {
                let start = along(start, self.channel_strides, channel);
                for index in 0..parts {
                    let first = order.turn(index, parts) * self.limits.piece;
                    let width = self.limits.piece.min(self.run - first);
                    let start = along(start, [1; MAX_OPERANDS], first);
                    visit(channel, &Piece { start, rows, width, ..*across });
                }
            }
        }
    }
}
