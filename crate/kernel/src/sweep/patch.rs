//! The memory that a leaf may touch: the one place where cells become pointers.

use core::array::from_fn;
use core::marker::PhantomData;

use super::STRIP;
use crate::Cells;
use crate::lanes::{F32x4, LANES};
use crate::layout::{MAX_OPERANDS, PerOperand, Piece, TILE};

/// Weights beside a plane of a piece.
///
/// # Invariant
///
/// That of a [`Patch`], of the width of a row, or where the step is 0 of a tile's. [`Beside::new`]
/// checks that for all planes.
#[derive(Clone, Copy)]
pub(super) struct Beside<'a> {
    at: *mut f32,
    borrowed: PhantomData<Cells<'a>>,
    /// From one row to the next, and from one plane to the next.
    strides: [usize; 2],
    /// From one column to the next: 0 where these have the same, which then is there as often as
    /// a tile has columns.
    step: usize,
}

impl<'a> Beside<'a> {
    /// No weights.
    pub const NONE: Self =
        Self { at: core::ptr::null_mut(), borrowed: PhantomData, strides: [0; 2], step: 0 };

    #[inline(always)]
    pub fn new(weights: Cells<'a>, piece: &Piece, strides: [usize; 2], step: usize) -> Self {
        let width = if step == 0 { TILE } else { piece.width };
        let last = (piece.planes - 1) * strides[1] + (piece.rows - 1) * strides[0];
        let at = weights[..last + width].as_ptr().cast::<f32>().cast_mut();
        Self { at, borrowed: PhantomData, strides, step }
    }

    /// Where those of a row begin.
    #[inline(always)]
    fn row(&self, row: usize) -> *mut f32 {
        self.at.wrapping_add(row * self.strides[0])
    }
}

/// A plane of a piece in some operands, or a part of it.
///
/// # Invariant
///
/// For each operand k that it was made of and each row r below `rows`, the `width` elements
/// from `at[k] + r·stride[k]` on are cells that are borrowed as long as the patch lives: they
/// may be read and written, whatever else reads and writes them. [`Patch::of_planes`] checks
/// that, and [`Beside::new`] of weights; all else only narrows it.
#[derive(Clone, Copy)]
pub(super) struct Patch<'a> {
    at: [*mut f32; MAX_OPERANDS],
    borrowed: PhantomData<Cells<'a>>,
    /// The column of the first row, or of the first element of each row.
    pub column: usize,
    /// Elements of each channel before those of the first plane.
    pub before: usize,
    rows: usize,
    stride: PerOperand,
    width: usize,
    weights: Beside<'a>,
}

impl<'a> Patch<'a> {
    /// Calls `visit` with each plane of a piece in some `operands`.
    #[inline(always)]
    pub fn of_planes(
        tensors: &[Cells<'a>; MAX_OPERANDS],
        operands: &[usize],
        piece: &Piece,
        weights: Beside<'a>,
        mut visit: impl FnMut(&Self),
    ) {
        let Piece { column, planes, rows, width, before, .. } = *piece;
        let mut at = [core::ptr::null_mut(); MAX_OPERANDS];
        let mut stride = [0; MAX_OPERANDS];
        let mut plane_stride = [0; MAX_OPERANDS];
        for (k, &operand) in operands.iter().enumerate() {
            stride[k] = piece.stride[operand];
            plane_stride[k] = piece.plane_stride[operand];
            let last = (planes - 1) * plane_stride[k] + (rows - 1) * stride[k];
            let cells = &tensors[operand][piece.start[operand]..][..last + width];
            at[k] = cells.as_ptr().cast::<f32>().cast_mut();
        }
        let mut patch =
            Self { at, borrowed: PhantomData, column, before, rows, stride, width, weights };
        for _ in 0..planes {
            visit(&patch);
            for (at, stride) in patch.at.iter_mut().zip(plane_stride) {
                *at = at.wrapping_add(stride);
            }
            patch.weights.at = patch.weights.at.wrapping_add(weights.strides[1]);
        }
    }

    /// What is left of a row behind its whole strips, as runs of one element.
    #[inline(always)]
    pub fn left_of(&self, row: usize) -> Self {
        Self {
            at: from_fn(|k| self.start(k, row).wrapping_add(self.whole())),
            borrowed: PhantomData,
            column: self.column + self.whole(),
            before: 0,
            rows: self.tail(),
            stride: [1; MAX_OPERANDS],
            width: 1,
            weights: Beside {
                at: self.weights.row(row).wrapping_add(self.whole() * self.weights.step),
                strides: [1, 0],
                ..self.weights
            },
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

    /// Elements of a row that are in whole strips.
    #[inline(always)]
    pub fn whole(&self) -> usize {
        self.width - self.tail()
    }

    /// Elements of a row behind its last strip.
    #[inline(always)]
    pub fn tail(&self) -> usize {
        self.width % STRIP
    }

    /// From one row to the next in an operand.
    #[inline(always)]
    pub fn stride(&self, operand: usize) -> usize {
        self.stride[operand]
    }

    /// Where a row begins in the first T operands, and if there are more inputs in the weights.
    #[inline(always)]
    pub fn row<const T: usize, const I: usize>(&self, row: usize) -> [*mut f32; I] {
        const { assert!(I <= T + 1) };
        from_fn(|i| if i < T { self.start(i, row) } else { self.weights.row(row) })
    }

    /// Goes on to the next row. (Not by value: two addresses would be packed into a number.)
    #[inline(always)]
    pub fn go_down<const T: usize, const I: usize>(&self, at: &mut [*mut f32; I]) {
        for (i, at) in at.iter_mut().enumerate() {
            *at = at.wrapping_add(if i < T { self.stride(i) } else { self.weights.strides[0] });
        }
    }

    /// Goes on by so many columns.
    #[inline(always)]
    pub fn go_on<const T: usize, const I: usize>(&self, at: &mut [*mut f32; I], columns: usize) {
        for (i, at) in at.iter_mut().enumerate() {
            *at = at.wrapping_add(if i < T { columns } else { columns * self.weights.step });
        }
    }

    /// Where a row begins in the first operands, and the same place in vectors `along` each run.
    #[inline(always)]
    pub fn row_along<const T: usize, const S: usize, const I: usize>(
        &self,
        row: usize,
        along: Along<S>,
    ) -> [*mut f32; I] {
        const { assert!(T + S == I) };
        let beside = self.beside(along);
        from_fn(|i| if i < T { self.start(i, row) } else { beside[i - T] })
    }

    /// Where vectors `along` each run are beside the first element of each row.
    #[inline(always)]
    pub fn beside<const S: usize>(&self, along: Along<S>) -> [*mut f32; S] {
        along.at.map(|at| at.wrapping_add(self.before))
    }

    /// Where a row begins in an operand.
    #[inline(always)]
    pub fn start(&self, operand: usize, row: usize) -> *mut f32 {
        self.at[operand].wrapping_add(row * self.stride[operand])
    }
}

/// Vectors with an element for each of a run, which are walked beside every run.
///
/// # Invariant
///
/// They have as many elements as a run, that may be read as long as this lives, whatever else
/// reads and writes them. [`Along::new`] checks that.
#[derive(Clone, Copy)]
pub(super) struct Along<'a, const S: usize> {
    at: [*mut f32; S],
    borrowed: PhantomData<Cells<'a>>,
}

impl<'a, const S: usize> Along<'a, S> {
    /// The first `len` elements of each.
    pub fn new(vectors: [Cells<'a>; S], len: usize) -> Self {
        let at = vectors.map(|cells| cells[..len].as_ptr().cast::<f32>().cast_mut());
        Self { at, borrowed: PhantomData }
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

/// The first `len` elements of every input, from one to three, and 0 behind them.
///
/// # Safety
/// These elements must be readable.
#[inline(always)]
pub(super) unsafe fn load_part<const I: usize>(at: [*mut f32; I], len: usize) -> [F32x4; I] {
    // SAFETY: the caller's.
    from_fn(|i| unsafe { F32x4::load_part(at[i], len) })
}

/// The first values of four columns.
#[inline(always)]
pub(super) fn vectors<const P: usize>(values: &[[f32; TILE]], lane: usize) -> [F32x4; P] {
    from_fn(|p| {
        let four = &values[p][lane..][..LANES];
        // SAFETY: there are pair.
        unsafe { F32x4::load(four.as_ptr()) }
    })
}
