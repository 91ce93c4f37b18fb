//! Dimensions of a shape, joined where their elements lie end to end.

use super::{MAX_OPERANDS, PerOperand, along};

/// Dimensions that can be left once those of size one are dropped: fewer than
/// 2³⁰ elements fit a tensor of wasm32.
const MAX_DIMS: usize = usize::BITS as usize - 2;

/// Dimensions of a shape, outermost first, with every operand's strides.
#[derive(Clone, Debug)]
pub(super) struct Dims {
    dims: [(usize, PerOperand); MAX_DIMS],
    pub(super) len: usize,
}

impl Dims {
    /// No dimensions.
    pub(super) const NONE: Self = Self { dims: [(0, [0; MAX_OPERANDS]); MAX_DIMS], len: 0 };

    /// Adds an inner dimension, joined with the last one where no operand has a
    /// gap, but not with one of the first `apart`.
    pub(super) fn push(&mut self, size: usize, strides: PerOperand, apart: usize) {
        if self.len > apart {
            let (outer, outer_strides) = &mut self.dims[self.len - 1];
            if *outer_strides == strides.map(|stride| stride * size) {
                *outer *= size;
                *outer_strides = strides;
                return;
            }
        }
        self.dims[self.len] = (size, strides);
        self.len += 1;
    }

    /// Adds an outer dimension.
    pub(super) fn push_outermost(&mut self, size: usize, strides: PerOperand) {
        self.dims.copy_within(..self.len, 1);
        self.dims[0] = (size, strides);
        self.len += 1;
    }

    /// Takes the last dimension away, if no operand has gaps in it, and gives its size.
    pub(super) fn pop_contiguous(&mut self) -> Option<usize> {
        let (size, strides) = *self.dims[..self.len].last()?;
        (strides == [1; MAX_OPERANDS]).then(|| {
            self.len -= 1;
            size
        })
    }

    /// Whether something holds of all strides.
    pub(super) fn all(&self, holds: impl Fn(&PerOperand) -> bool) -> bool {
        self.dims[..self.len].iter().all(|(_, strides)| holds(strides))
    }

    /// Size and strides of the last dimension, and the number of tuples of all others.
    pub(super) fn split(&self) -> (usize, PerOperand, usize) {
        match self.dims[..self.len].split_last() {
            None => (1, [0; MAX_OPERANDS], 1),
            Some((&(size, strides), others)) => {
                (size, strides, others.iter().map(|(size, _)| size).product())
            }
        }
    }

    /// Where a row lies, counted in row-major order over all dimensions.
    pub(super) fn at_row(&self, row: usize) -> PerOperand {
        let (rows, stride, _) = self.split();
        along(self.at(row / rows), stride, row % rows)
    }

    /// Where a tuple of all dimensions but the last lies, counted in row-major order.
    pub(super) fn at(&self, tuple: usize) -> PerOperand {
        let mut index = tuple;
        let mut place = [0; MAX_OPERANDS];
        for (size, strides) in self.dims[..self.len.max(1) - 1].iter().rev() {
            place = along(place, *strides, index % size);
            index /= size;
        }
        place
    }
}
