//! Shape and strides to the pieces that a norm walks: pure index arithmetic.
//!
//! Operands of one shape, each with strides of its own, are seen in one of two
//! forms, after dimensions of size one are dropped and neighbours that lie end
//! to end in *every* operand are joined:
//!
//! - [`Form::Runs`]: contiguous stretches that belong to one channel each
//!   (channels-first, `[N, C, H, W]`);
//! - [`Form::Columns`]: rows in which every column belongs to a fixed channel
//!   (channels-last, `[N, C]`, and channels-first with a tiny inner extent).
//!
//! Both are walked *line* by line: rows of columns, all channels of an image, or parts of
//! long runs. *Blocks* are ranges of lines with sums of their own, which are added in the order
//! of the blocks. What is cut where depends on shape, strides and [`Limits`] alone, so that
//! results are the same to the bit whoever does the work.

mod bands;
mod blocks;
mod dims;
mod walk;

use core::array::from_fn;
use core::ops::Range;

use crate::Cells;
pub use bands::{Band, Bands};
pub use blocks::{Blocks, Lines};
use dims::Dims;
pub use walk::{Order, Piece};

/// Tensors that one operation walks together at most: x, dy, dx.
pub const MAX_OPERANDS: usize = 3;

/// One number for each operand: strides, or where something begins.
pub type PerOperand = [usize; MAX_OPERANDS];

/// Columns side by side that have their constants and sums in one place.
pub const TILE: usize = 16;

/// Inner extents shorter than this are walked as columns: as runs they would be
/// all tail.
const MIN_RUN: usize = TILE;

/// Rows are joined to wider ones up to this many columns.
const MAX_JOINED_WIDTH: usize = 1024;

/// With fewer joined rows than these, setting up their constants costs more than it saves.
const JOINED_ROWS: usize = 16;

/// Where a walk is cut, in elements. Tests lower them, so that small tensors are cut, too.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Of an operand's band: what was gathered is still in the cache when it is mapped.
    pub band: usize,
    /// Of an image in a band, at least: shorter stretches of memory are not prefetched.
    pub slice: usize,
    /// Of a block, at least: less work is not worth its sums.
    pub block: usize,
    /// Walked forwards before turning back, when walking backwards: about a megabyte, long
    /// enough for prefetching. Longer runs are parted.
    pub piece: usize,
    /// Of all operands of columns that lie in the nearer caches after a call before it.
    pub near: usize,
    /// Of an operand of columns that lies in no cache.
    pub far: usize,
}

impl Limits {
    /// What was measured to be best: `scripts/bench/NOTES.md`.
    pub const DEFAULT: Self = Self {
        band: 1 << 20,
        slice: 1 << 16,
        block: 1 << 16,
        piece: 1 << 18,
        near: 1 << 19,
        far: 3 << 20,
    };
}

/// Why shape and strides were refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LayoutError {
    /// The channel axis, the number of operands or of an operand's strides is wrong.
    Rank,
    /// More elements than the address space holds.
    TooLarge,
    /// An element lies outside of its operand's memory.
    OutOfBounds,
}

/// Where an operand's elements lie.
#[derive(Clone, Copy, Debug)]
pub struct Operand<'a> {
    /// Elements from one index to the next, per dimension.
    pub strides: &'a [u32],
    /// Elements from the first one to behind the last that may be touched.
    pub extent: usize,
}

impl Operand<'_> {
    fn holds(&self, sizes: &[u32]) -> bool {
        // In f64, which does not overflow, and is exact up to more than any length.
        let further = |(&size, &stride): (&u32, &u32)| f64::from(size - 1) * f64::from(stride);
        sizes.iter().zip(self.strides).map(further).sum::<f64>() < self.extent as f64
    }
}

/// The ways in which a channel's elements lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Every stretch of memory belongs to one channel.
    Runs,
    /// Every stretch of memory crosses the channels.
    Columns,
}

/// What a norm's statistics are of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// Elements of all samples.
    Batch,
    /// Elements of one sample: the first axis counts them, unless it counts the channels.
    Sample,
    /// One element of each channel: a row. All are walked at once ([`Layout::rows`]).
    Row,
}

/// What to walk for one shape and its operands: all of it, or one sample after the other.
#[derive(Clone, Debug)]
pub struct Layout {
    /// Number of channels.
    pub channels: usize,
    /// Elements of each channel, in a sample.
    pub count: usize,
    /// Samples that are walked for themselves; 1 where the batch is walked at once.
    pub samples: usize,
    sample_strides: PerOperand,
    /// How they lie.
    pub form: Form,
    /// Where it is cut.
    pub limits: Limits,
    /// Elements of a run, or columns of one channel side by side.
    run: usize,
    pub(crate) channel_strides: PerOperand,
    /// What parts a channel's runs, or the rows of columns.
    outer: Dims,
    /// Rows of columns that are walked as one.
    joined: usize,
    /// The innermost of what is walked line by line: lines, and from one to the next.
    lines: usize,
    line_stride: PerOperand,
    /// How often they come: for each tuple of all other dimensions.
    tuples: usize,
}

impl Default for Layout {
    fn default() -> Self {
        Self::NOTHING
    }
}

impl Layout {
    /// No elements.
    pub const NOTHING: Self = Self {
        channels: 0,
        count: 0,
        samples: 0,
        sample_strides: [0; MAX_OPERANDS],
        form: Form::Runs,
        limits: Limits::DEFAULT,
        run: 1,
        channel_strides: [0; MAX_OPERANDS],
        outer: Dims::NONE,
        joined: 1,
        lines: 0,
        line_stride: [0; MAX_OPERANDS],
        tuples: 0,
    };

    /// Plans the walk over `sizes` with channels along `axis`, for up to
    /// [`MAX_OPERANDS`] operands.
    pub fn new(sizes: &[u32], axis: usize, operands: &[Operand]) -> Result<Self, LayoutError> {
        let mut layout = Self::default();
        let first = operands.first().ok_or(LayoutError::Rank)?;
        let mut all = [*first; MAX_OPERANDS];
        all.get_mut(..operands.len()).ok_or(LayoutError::Rank)?.copy_from_slice(operands);
        layout.plan(sizes, axis, &all, Over::Batch)?;
        Ok(layout)
    }

    /// As [`Layout::new`], in place: a call on a few elements must not pay for moving
    /// this about. Operands that are not there are as the first, and so never matter.
    /// Where it fails, what was planned before is lost.
    pub fn plan(
        &mut self,
        sizes: &[u32],
        axis: usize,
        operands: &[Operand; MAX_OPERANDS],
        over: Over,
    ) -> Result<(), LayoutError> {
        let ranks_agree = operands.iter().all(|operand| operand.strides.len() == sizes.len());
        if axis >= sizes.len() || !ranks_agree {
            return Err(LayoutError::Rank);
        }
        // Not a number is 0·∞: nothing, whatever the others are.
        let total = sizes.iter().map(|&size| f64::from(size)).product::<f64>();
        let total = if total.is_nan() { 0.0 } else { total };
        if total > (isize::MAX as usize / size_of::<f32>()) as f64 {
            return Err(LayoutError::TooLarge);
        }
        // How many of the first dimensions part the walk.
        let apart = usize::from(over == Over::Sample && axis > 0);
        self.channels = sizes[axis] as usize;
        self.count = 0;
        self.samples = if apart > 0 { sizes[0] as usize } else { 1 };
        self.form = Form::Runs;
        self.run = 1;
        self.outer.len = 0;
        self.joined = 1;
        self.tuples = 0;
        if total == 0.0 {
            return Ok(());
        }
        if !operands.iter().all(|operand| operand.holds(sizes)) {
            return Err(LayoutError::OutOfBounds);
        }
        let strides = |dim: usize| from_fn(|k| operands[k].strides[dim] as usize);
        self.count = total as usize / (self.samples * self.channels);
        self.sample_strides = if apart > 0 { strides(0) } else { [0; MAX_OPERANDS] };
        self.channel_strides = strides(axis);
        self.find_form(sizes, axis, apart, strides);
        self.find_lines();
        Ok(())
    }

    /// The walk of `of` with so many channels `together` as one: a set of elements that share
    /// statistics, in the same places.
    pub fn group(&mut self, of: &Self, together: usize) {
        self.clone_from(of);
        if together == 0 {
            return;
        }
        self.channels /= together;
        self.count *= together;
        self.channel_strides = self.channel_strides.map(|stride| stride * together);
        if of.form == Form::Columns || of.channel_strides == [of.run; MAX_OPERANDS] {
            self.run *= together;
        } else {
            self.outer.push_outermost(together, of.channel_strides);
        }
        self.find_lines();
    }

    /// Whether the channels are side by side in every operand, so that there are [`Layout::rows`].
    pub fn has_rows(&self) -> bool {
        self.is_empty() || self.channels <= 1 || self.channel_strides == [1; MAX_OPERANDS]
    }

    /// The walk of some rows of `of`, which cross its channels, each as a channel: of those from
    /// `first` on, `most` of them or as many as lie evenly apart. Returns where they begin.
    pub fn rows(&mut self, of: &Self, first: usize, most: usize) -> PerOperand {
        let (evenly, stride, _) = of.outer.split();
        // Rows of one element can lie end to end.
        let (evenly, stride) =
            if of.run > 1 { (of.run, [1; MAX_OPERANDS]) } else { (evenly, stride) };
        self.channels = most.min(evenly - first % evenly);
        self.count = of.channels;
        self.samples = 1;
        self.form = Form::Runs;
        self.limits = of.limits;
        self.run = of.channels;
        self.channel_strides = stride;
        self.outer.len = 0;
        self.joined = 1;
        self.find_lines();
        let (row, rest) = (first / of.run, first % of.run);
        of.outer.at_row(row).map(|place| place + rest)
    }

    fn find_form(
        &mut self,
        sizes: &[u32],
        axis: usize,
        apart: usize,
        strides: impl Fn(usize) -> PerOperand,
    ) {
        let dims = &mut self.outer;
        let mut before_channels = 0;
        for (dim, &size) in sizes.iter().enumerate().skip(apart) {
            if dim == axis {
                // With one channel nothing parts what is before it from what is behind.
                before_channels = if self.channels > 1 { dims.len } else { 0 };
            } else if size != 1 {
                dims.push(size as usize, strides(dim), before_channels);
            }
        }
        // The innermost dimension is the run, where no operand has gaps in it.
        if dims.len > before_channels {
            self.run = dims.pop_contiguous().unwrap_or(1);
        }
        let across = self.channels > 1
            && dims.len == before_channels
            && self.channel_strides == [self.run; MAX_OPERANDS];
        if across && self.run < MIN_RUN {
            self.form = Form::Columns;
            // Rows that lie end to end are joined until a row is whole tiles, so
            // that a few channels (RGB) fill the vectors as well as many do.
            let width = self.channels * self.run;
            let joined = TILE >> width.trailing_zeros().min(TILE.trailing_zeros());
            let end_to_end = dims.len == 1 && dims.split().1 == [width; MAX_OPERANDS];
            let rows = self.count / self.run;
            if end_to_end && width * joined <= MAX_JOINED_WIDTH && rows >= joined * JOINED_ROWS {
                self.joined = joined;
            }
        }
    }

    /// Whether all operands lie as the first one does.
    pub fn lies_alike(&self) -> bool {
        let alike = |strides: &PerOperand| *strides == [strides[0]; MAX_OPERANDS];
        alike(&self.channel_strides) && self.outer.all(alike)
    }

    /// Columns of one channel side by side.
    pub fn side_by_side(&self) -> usize {
        if self.form == Form::Runs { 1 } else { self.run }
    }

    /// Columns that need sums and constants of their own: one per channel for runs, one
    /// per column of a row for columns.
    pub fn columns(&self) -> usize {
        self.channels * self.side_by_side() * self.joined
    }

    /// The samples, one after the other; none where there are no elements.
    pub fn each_sample(&self) -> Range<usize> {
        0..if self.is_empty() { 0 } else { self.samples }
    }

    /// The operands from a sample on.
    #[inline(never)]
    pub fn sample<'a>(
        &self,
        tensors: [Cells<'a>; MAX_OPERANDS],
        sample: usize,
    ) -> [Cells<'a>; MAX_OPERANDS] {
        from_fn(|k| tensors[k].get(sample * self.sample_strides[k]..).unwrap_or(&[]))
    }

    /// Elements of an operand, in a sample.
    pub fn len(&self) -> usize {
        self.channels * self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The columns of a band.
    pub fn columns_in(&self, band: &Band) -> Range<usize> {
        if self.form == Form::Runs { band.clone() } else { 0..self.columns() }
    }

    /// The first of a channel's columns, how many are side by side, and after how many of
    /// all they come again.
    pub fn columns_of(&self, channel: usize) -> (usize, usize, usize) {
        let side_by_side = self.side_by_side();
        (channel * side_by_side, side_by_side, self.channels * side_by_side)
    }

    /// The fewest channels whose columns are whole tiles, where channels don't come again in a row;
    /// else 0.
    #[cfg(any(feature = "threads", not(target_family = "wasm")))]
    pub(crate) fn channels_between_tiles(&self) -> usize {
        let shared = self.run.trailing_zeros().min(TILE.trailing_zeros());
        if self.joined == 1 { TILE >> shared } else { 0 }
    }

    /// Where element `index` of channel 0 lies in `operand`, counted from 0 to `count`.
    pub fn place(&self, operand: usize, index: usize) -> usize {
        self.outer.at_row(index / self.run)[operand] + index % self.run
    }

    /// From one channel to the next in `operand`.
    pub fn channel_stride(&self, operand: usize) -> usize {
        self.channel_strides[operand]
    }
}

/// `steps` strides from `start`.
#[inline(always)]
pub(crate) fn along(start: PerOperand, stride: PerOperand, steps: usize) -> PerOperand {
    from_fn(|k| start[k] + stride[k] * steps)
}
