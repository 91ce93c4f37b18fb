//! Lines, and the blocks that they are cut into.

use core::ops::Range;

use super::{Form, Layout, MAX_OPERANDS};

/// Lines that are walked together.
pub type Lines = Range<usize>;

/// More blocks than these have more sums than they are worth.
const MOST: usize = 16;

/// Elements of a column in a block, at least: adding its sums to all others is work, too.
const TALL: usize = 256;

/// The blocks of a layout, one after the other.
#[derive(Clone, Debug)]
pub struct Blocks {
    next: usize,
    end: usize,
    /// Lines of a block.
    size: usize,
}

impl Layout {
    /// More blocks there never are.
    pub(crate) const MOST_BLOCKS: usize = MOST;

    pub(super) fn find_lines(&mut self) {
        let (rows, stride, tuples) = self.outer.split();
        (self.lines, self.line_stride, self.tuples) = match self.form {
            Form::Columns if self.joined > 1 => {
                (rows / self.joined, stride.map(|stride| stride * self.joined), tuples)
            }
            Form::Columns => (rows, stride, tuples),
            Form::Runs if self.run <= self.limits.piece => (rows, stride, tuples),
            Form::Runs => {
                let parts = self.run.div_ceil(self.limits.piece);
                (parts, [self.limits.piece; MAX_OPERANDS], rows * tuples)
            }
        };
    }

    /// All lines.
    pub fn all_lines(&self) -> Lines {
        0..self.lines * self.tuples
    }

    /// The blocks: a matter of the shape, whatever band is walked, and whoever walks it.
    pub fn blocks(&self) -> Blocks {
        let Range { end, .. } = self.all_lines();
        let mut size = end;
        if self.len() >= 2 * self.limits.block {
            let tall = self.count / (self.side_by_side() * self.joined) / TALL;
            size = end.div_ceil((self.len() / self.limits.block).min(tall).clamp(1, MOST));
        }
        Blocks { next: 0, end, size }
    }
}

impl Iterator for Blocks {
    type Item = Lines;

    fn next(&mut self) -> Option<Lines> {
        let first = self.next;
        self.next = self.end.min(first + self.size);
        (first < self.end).then_some(first..self.next)
    }
}
