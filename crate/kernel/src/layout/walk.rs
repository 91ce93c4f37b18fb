//! The pieces in which lines are walked.

use core::ops::Range;

use super::{Band, Form, Layout, Lines, MAX_OPERANDS, PerOperand, along};

/// Stretches of memory, evenly apart: `planes` times `rows` of `width` elements.
///
/// In [`Form::Runs`] a plane is an image and a row a channel of it; in [`Form::Columns`] there is
/// one plane, and a row crosses the columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The column of the first row of a plane, or of the first element of a row.
    pub column: usize,
    /// Where the first stretch begins in every operand.
    pub start: PerOperand,
    /// Number of planes.
    pub planes: usize,
    /// From one plane to the next.
    pub plane_stride: PerOperand,
    /// Stretches of a plane.
    pub rows: usize,
    /// From one stretch to the next.
    pub stride: PerOperand,
    /// Elements of a stretch.
    pub width: usize,
    /// Elements of each channel before those here.
    pub before: usize,
}

impl Piece {
    /// To as many rows behind these.
    #[inline(always)]
    pub fn go_on(&mut self, elements: usize) {
        self.start = along(self.start, self.stride, self.rows);
        self.before += elements;
    }
}

/// In which order pieces come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// As they lie in memory.
    Forwards,
    /// From the last to the first: what was just gathered comes first.
    Backwards,
}

/// Parts of a range, in an order: of `size` or what is left, none of which crosses a multiple
/// of `border`.
struct Parts {
    order: Order,
    left: Range<usize>,
    size: usize,
    border: usize,
}

impl Parts {
    /// What is left up to the next border, or from the last one on.
    fn between_borders(&self) -> Range<usize> {
        let Range { start, end } = self.left;
        let (last, next) = ((end - 1) / self.border, start / self.border + 1);
        start.max(last * self.border)..end.min(next * self.border)
    }
}

impl Iterator for Parts {
    type Item = Range<usize>;

    fn next(&mut self) -> Option<Range<usize>> {
        let Range { start, end } = self.left;
        if start >= end {
            return None;
        }
        let whole = if self.border == usize::MAX { start..end } else { self.between_borders() };
        Some(if self.order == Order::Backwards {
            self.left.end = whole.start.max(end.saturating_sub(self.size));
            self.left.end..end
        } else {
            self.left.start = whole.end.min(start + self.size);
            start..self.left.start
        })
    }
}

impl Layout {
    /// Calls `visit` with the pieces of a band's `lines`, which it may part.
    pub fn walk(&self, band: &Band, lines: Lines, order: Order, visit: &mut dyn FnMut(&mut Piece)) {
        // Rows that were too few to join end the last line.
        let mut left_over = if lines.end == self.all_lines().end { self.left_over() } else { None };
        if let (Some(piece), Order::Backwards) = (&mut left_over, order) {
            visit(piece);
        }
        let line = match self.form {
            Form::Columns => self.columns(),
            Form::Runs => band.len() * self.run,
        };
        let size = (self.limits.piece / line.max(1)).max(1);
        let border = if self.tuples == 1 { usize::MAX } else { self.lines };
        for lines in (Parts { order, left: lines, size, border }) {
            if self.form == Form::Columns {
                visit(&mut self.lines_of_columns(&lines));
                continue;
            }
            // Images that are longer than a piece, some channels after the others.
            let size = (self.limits.piece / self.run).max(1);
            for band in (Parts { order, left: band.clone(), size, border: usize::MAX }) {
                visit(&mut self.images(&lines, &band));
            }
        }
        if let (Some(piece), Order::Forwards) = (&mut left_over, order) {
            visit(piece);
        }
    }

    /// Where the first of some lines begins.
    fn start(&self, lines: &Lines) -> PerOperand {
        let (tuple, line) = match self.tuples {
            1 => (0, lines.start),
            _ => (lines.start / self.lines, lines.start % self.lines),
        };
        let parted = self.form == Form::Runs && self.run > self.limits.piece;
        let start = if parted { self.outer.at_row(tuple) } else { self.outer.at(tuple) };
        along(start, self.line_stride, line)
    }

    /// Lines of columns.
    fn lines_of_columns(&self, lines: &Lines) -> Piece {
        Piece {
            column: 0,
            start: self.start(lines),
            planes: 1,
            plane_stride: [0; MAX_OPERANDS],
            rows: lines.len(),
            stride: self.line_stride,
            width: self.columns(),
            before: lines.start * self.run * self.joined,
        }
    }

    /// Lines of runs.
    fn images(&self, lines: &Lines, band: &Band) -> Piece {
        let part = lines.start % self.lines * self.limits.piece;
        let parted = self.run > self.limits.piece;
        Piece {
            column: band.start,
            start: along(self.start(lines), self.channel_strides, band.start),
            planes: lines.len(),
            plane_stride: self.line_stride,
            rows: band.len(),
            stride: self.channel_strides,
            width: if parted { self.limits.piece.min(self.run - part) } else { self.run },
            before: match parted {
                true => lines.start / self.lines * self.run + part,
                false => lines.start * self.run,
            },
        }
    }

    /// The rows that were too few to join.
    fn left_over(&self) -> Option<Piece> {
        // Only rows of one tuple are joined, and all lie end to end.
        let (rows, stride, _) = self.outer.split();
        (self.joined > 1 && rows % self.joined > 0).then(|| Piece {
            column: 0,
            start: along([0; MAX_OPERANDS], self.line_stride, self.lines),
            planes: 1,
            plane_stride: [0; MAX_OPERANDS],
            rows: rows % self.joined,
            stride,
            width: self.channels * self.run,
            before: self.lines * self.joined * self.run,
        })
    }
}
