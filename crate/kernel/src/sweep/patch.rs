//! The memory that a leaf may touch: the one place where cells become pointers.

use core::array::from_fn;
use core::ops::Range;

use crate::Cells;
use crate::lanes::{F32x4, LANES};
use crate::layout::{MAX_OPERANDS, PerOperand, Piece, TILE};

/// Ways to walk rows.
#[derive(Clone, Copy)]
pub(super) enum Walk {
    /// Columns, row after row; whole tiles.
    Rows,
    /// Columns, strip after strip; whole strips.
    Strips,
    /// All of one channel, or one column.
    Run,
}

/// A part of a piece in some operands, and how a leaf walks it.
///
/// # Invariant
///
/// For each operand k that it was made of and each row r below `rows`, the `width` elements
/// from `at[k] + r·stride[k]` on are cells that are borrowed as long as the patch lives: they
/// may be read and written, whatever else reads and writes them. [`Patch::new`] checks that;
/// all else only narrows it.
pub(super) struct Patch {
    pub walk: Walk,
    at: [*mut f32; MAX_OPERANDS],
    rows: usize,
    stride: PerOperand,
    width: usize,
    lane: usize,
}

impl Patch {
    /// All of a piece in some `operands` of a pass, whose first column is the tile's `lane`.
    #[inline(always)]
    pub fn new(
        tensors: &[Cells; MAX_OPERANDS],
        operands: &[usize],
        piece: &Piece,
        lane: usize,
    ) -> Self {
        let Piece { rows, width, .. } = *piece;
        let mut at = [core::ptr::null_mut(); MAX_OPERANDS];
        let mut stride = [0; MAX_OPERANDS];
        for (k, &operand) in operands.iter().enumerate() {
            let start = piece.start[operand];
            stride[k] = piece.stride[operand];
            let cells = &tensors[operand][start..start + (rows - 1) * stride[k] + width];
            at[k] = cells.as_ptr().cast::<f32>().cast_mut();
        }
        Self { walk: Walk::Run, at, rows, stride, width, lane }
    }

    /// Some of its rows and columns.
    #[inline(always)]
    pub fn part(&self, walk: Walk, rows: Range<usize>, columns: Range<usize>) -> Self {
        assert!(rows.end <= self.rows && columns.end <= self.width);
        let further = |k: usize| rows.start * self.stride[k] + columns.start;
        Self {
            walk,
            at: from_fn(|k| self.at[k].wrapping_add(further(k))),
            rows: rows.len(),
            stride: self.stride,
            width: columns.len(),
            lane: (self.lane + columns.start) % TILE,
        }
    }

    /// Number of rows.
    #[inline(always)]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Elements of a row.
    #[inline(always)]
    pub fn width(&self) -> usize {
        self.width
    }

    /// The column of the first tile that it begins with.
    #[inline(always)]
    pub fn lane(&self) -> usize {
        self.lane
    }

    /// Where the first row begins in the first operands.
    #[inline(always)]
    pub fn starts<const I: usize>(&self) -> [*mut f32; I] {
        from_fn(|i| self.at[i])
    }

    /// Where the first row begins in an operand.
    #[inline(always)]
    pub fn start(&self, operand: usize) -> *mut f32 {
        self.at[operand]
    }

    /// From one row to the next in an operand.
    #[inline(always)]
    pub fn stride(&self, operand: usize) -> usize {
        self.stride[operand]
    }
}

/// A vector of every input, `offset` elements further.
///
/// # Safety
/// These elements must be readable.
#[inline(always)]
pub(super) unsafe fn load<const I: usize>(at: [*mut f32; I], offset: usize) -> [F32x4; I] {
    // SAFETY: the caller's.
    from_fn(|i| unsafe { F32x4::load(at[i].add(offset)) })
}

/// The first values of four columns.
#[inline(always)]
pub(super) fn vectors<const P: usize>(values: &[[f32; TILE]], column: usize) -> [F32x4; P] {
    from_fn(|p| {
        let four = &values[p][column..][..LANES];
        // SAFETY: there are four.
        unsafe { F32x4::load(four.as_ptr()) }
    })
}
