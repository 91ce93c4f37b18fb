//! Shape and strides to the blocks that a norm walks: pure index arithmetic.
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
//! What is cut where depends on shape and strides alone, so results are the same
//! to the bit whoever does the work.

use core::array::from_fn;
use core::ops::Range;

/// Tensors that one operation walks together at most: x, dy, dx.
pub const MAX_OPERANDS: usize = 3;

/// One number for each operand: strides, or where something begins.
pub type PerOperand = [usize; MAX_OPERANDS];

/// Elements side by side that are walked at once: a cache line, and enough
/// independent accumulators to hide the latency of an addition.
pub const TILE: usize = 16;

/// Elements of a run folded in `f32` before they are merged in `f64`: two
/// operands of it fit a 32 KB L1 cache between the two passes of a block.
const BLOCK: usize = 2048;

/// Rows of columns folded in `f32` before they are merged in `f64`: fewer where
/// they are wide, so that a block stays in the L2 cache between its two passes.
const BLOCK_ROWS: usize = 256;
const WIDE_BLOCK: usize = 1 << 16;
const MIN_BLOCK_ROWS: usize = 32;

/// Rows of a tile that are walked before the next tile of the same rows: memory
/// is read about in order, and what a tile needs in registers serves many rows.
pub(crate) const GROUP_ROWS: usize = 16;

/// Inner extents shorter than this are walked as columns: as runs they would be
/// all tail.
const MIN_RUN: usize = TILE;

/// Rows are folded into wider ones up to this many columns.
const MAX_FOLDED_WIDTH: usize = 1024;

/// Bytes of one operand in a group of channels: what is gathered is still in the
/// cache when it is mapped.
const GROUP_BYTES: usize = 1 << 21;

/// Elements that are walked forwards before turning back, when walking backwards:
/// about a megabyte.
const PIECE: usize = 1 << 18;

/// Dimensions that can be left once those of size one are dropped: fewer than
/// 2³⁰ elements fit a tensor of wasm32.
const MAX_DIMS: usize = usize::BITS as usize - 2;

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

/// Where an operand's elements lie, in elements from its first one.
#[derive(Clone, Copy, Debug)]
pub struct Extent<'a> {
    /// Distance from one index to the next, per dimension.
    pub strides: &'a [u32],
    /// Memory that may be touched.
    pub len: usize,
}

impl Extent<'_> {
    fn holds(&self, sizes: &[u32]) -> bool {
        let mut last = 0usize;
        for (&size, &stride) in sizes.iter().zip(self.strides) {
            let further = (size as usize - 1).checked_mul(stride as usize);
            match further.and_then(|further| last.checked_add(further)) {
                Some(sum) => last = sum,
                None => return false,
            }
        }
        last < self.len
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

/// What to walk for one shape and its operands.
#[derive(Clone, Debug)]
pub struct Layout {
    /// Number of channels.
    pub channels: usize,
    /// Elements of each channel.
    pub count: usize,
    /// How they lie.
    pub form: Form,
    /// Elements of a run, or columns of one channel side by side.
    run: usize,
    channel_strides: PerOperand,
    /// What parts a channel's runs, or the rows of columns.
    outer: Dims,
    /// Rows of columns that are walked as one.
    fold: usize,
}

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
    /// Plans the walk over `sizes` with channels along `axis`, for up to
    /// [`MAX_OPERANDS`] operands.
    pub fn new(sizes: &[u32], axis: usize, operands: &[Extent]) -> Result<Self, LayoutError> {
        let ranks_agree = operands.iter().all(|o| o.strides.len() == sizes.len());
        if axis >= sizes.len() || !ranks_agree || !(1..=MAX_OPERANDS).contains(&operands.len()) {
            return Err(LayoutError::Rank);
        }
        let mut total = usize::from(!sizes.contains(&0));
        for &size in sizes {
            total = total.checked_mul(size as usize).ok_or(LayoutError::TooLarge)?;
        }
        if total > isize::MAX as usize / size_of::<f32>() {
            return Err(LayoutError::TooLarge);
        }
        let channels = sizes[axis] as usize;
        let mut layout = Self {
            channels,
            count: 0,
            form: Form::Runs,
            run: 1,
            channel_strides: [0; MAX_OPERANDS],
            outer: Dims { dims: [(0, [0; MAX_OPERANDS]); MAX_DIMS], len: 0 },
            fold: 1,
        };
        if total == 0 {
            return Ok(layout);
        }
        if !operands.iter().all(|operand| operand.holds(sizes)) {
            return Err(LayoutError::OutOfBounds);
        }
        // Operands that are not there follow the first, and so never matter.
        let operand = |k: usize| operands.get(k).unwrap_or(&operands[0]);
        let strides = |dim: usize| from_fn(|k| operand(k).strides[dim] as usize);
        layout.count = total / channels;
        layout.channel_strides = strides(axis);
        layout.find_form(sizes, axis, strides);
        Ok(layout)
    }

    fn find_form(&mut self, sizes: &[u32], axis: usize, strides: impl Fn(usize) -> PerOperand) {
        let dims = &mut self.outer;
        let mut before_channels = 0;
        for (dim, &size) in sizes.iter().enumerate() {
            if dim == axis {
                // With one channel nothing parts what is before it from what is behind.
                before_channels = if self.channels > 1 { dims.len } else { 0 };
            } else if size != 1 {
                dims.push(size as usize, strides(dim), before_channels);
            }
        }
        // The innermost dimension is the run, where no operand has gaps in it.
        if dims.len > before_channels && dims.dims[dims.len - 1].1 == [1; MAX_OPERANDS] {
            dims.len -= 1;
            self.run = dims.dims[dims.len].0;
        }
        let across = self.channels > 1
            && dims.len == before_channels
            && self.channel_strides == [self.run; MAX_OPERANDS];
        if across && self.run < MIN_RUN {
            self.form = Form::Columns;
            // Rows that lie end to end are folded until a row is whole tiles, so
            // that a few channels (RGB) fill the vectors as well as many do.
            let width = self.channels * self.run;
            let fold = TILE / gcd(width, TILE);
            let end_to_end = dims.len == 1 && dims.dims[0].1 == [width; MAX_OPERANDS];
            let rows = self.count / self.run;
            if end_to_end && width * fold <= MAX_FOLDED_WIDTH && rows >= fold * BLOCK_ROWS {
                self.fold = fold;
            }
        }
    }

    /// Columns of one channel in a row.
    fn columns_a_channel(&self) -> usize {
        if self.form == Form::Runs { 1 } else { self.run }
    }

    /// Columns that need an accumulator and constants of their own: one per
    /// channel for runs, one per column of a row for columns.
    pub fn columns(&self) -> usize {
        self.channels * self.columns_a_channel() * self.fold
    }

    /// Tiles of constants that a map needs: one per channel for runs.
    pub(crate) fn constants(&self) -> usize {
        match self.form {
            Form::Runs => self.channels,
            Form::Columns => self.columns().div_ceil(TILE),
        }
    }

    /// Tiles of accumulators that a block needs at most.
    pub(crate) fn sums(&self) -> usize {
        match self.form {
            Form::Runs => 1,
            Form::Columns => self.columns().div_ceil(TILE),
        }
    }

    /// Calls `visit` with the columns of `channel`; none is below the channel's number.
    pub fn columns_of(&self, channel: usize, mut visit: impl FnMut(usize)) {
        let side_by_side = self.columns_a_channel();
        for row in 0..self.fold {
            let first = (row * self.channels + channel) * side_by_side;
            for column in first..first + side_by_side {
                visit(column);
            }
        }
    }

    /// Number of channels, from each multiple of it on, that are gathered and
    /// mapped before the next ones. Columns can't be parted without reading every
    /// row once for each part.
    pub fn group(&self) -> usize {
        match self.form {
            Form::Runs => (GROUP_BYTES / size_of::<f32>() / self.count.max(1)).max(1),
            Form::Columns => self.channels.max(1),
        }
    }

    /// Calls `visit(column, block)` with the blocks of the channels `group`; `column`
    /// is the first of the block's columns, a run's channel. Backwards, stretches of memory that are
    /// long enough for prefetching come from the last to the first.
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

/// `steps` strides from `start`.
#[inline(always)]
pub(crate) fn along(start: PerOperand, stride: PerOperand, steps: usize) -> PerOperand {
    from_fn(|k| start[k] + stride[k] * steps)
}

/// Dimensions of a shape, outermost first, with every operand's strides.
#[derive(Clone, Debug)]
struct Dims {
    dims: [(usize, PerOperand); MAX_DIMS],
    len: usize,
}

impl Dims {
    /// Adds an inner dimension, joined with the last one where no operand has a
    /// gap, but not with one of the first `apart`.
    fn push(&mut self, size: usize, strides: PerOperand, apart: usize) {
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

    /// Size and strides of the last dimension, and the number of tuples of all others.
    fn split(&self) -> (usize, PerOperand, usize) {
        match self.dims[..self.len].split_last() {
            None => (1, [0; MAX_OPERANDS], 1),
            Some((&(size, strides), others)) => {
                (size, strides, others.iter().map(|(size, _)| size).product())
            }
        }
    }

    /// Where a tuple of all dimensions but the last lies, counted in row-major order.
    fn at(&self, tuple: usize) -> PerOperand {
        let mut rest = tuple;
        let mut place = [0; MAX_OPERANDS];
        for (size, strides) in self.dims[..self.len.max(1) - 1].iter().rev() {
            place = along(place, *strides, rest % size);
            rest /= size;
        }
        place
    }
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}
