//! The only loops over elements.
//!
//! A *fold* adds up two sums for every column, a *map* writes every element. What is
//! added or written is a closure on vectors; the loops are four: fold and map, over
//! runs and over columns. Each takes several vectors at a time, then one, then what is
//! left of one. [`fold`] and [`apply`] drive them over a whole [`Layout`].

use core::array::from_fn;
use core::ops::Range;

use crate::Cells;
use crate::lanes::{F32x4, F64x2, LANES};
use crate::layout::{Block, Form, Layout, TILE};

/// Constants of the largest map, [`crate::affine::backward_map`].
pub const MAX_CONSTANTS: usize = 5;

/// Steps that are added up in f32 before their sums are added in f64: rounding errors
/// grow with the number of additions in a row.
const CHUNK: usize = 16;

/// What lies in a cache after a call before it, in elements of all operands: there the
/// order of reading does not matter much.
const CACHED: usize = 1 << 21;

/// Elements of all inputs' rows together up to which memory is still prefetched when a
/// fold reads sixteen rows of a tile before the next tile of the same rows.
const NARROW: usize = 64;

/// Elements of all operands' rows that a map may walk tile by tile beyond the cache.
const NEAR: usize = 256;

/// Constants of a map or a fold for each of a tile's columns. In a fold the first ones
/// are values of the inputs that add nothing.
pub type Constants = [[f32; TILE]; MAX_CONSTANTS];

/// Constants of a map or a fold for one channel, in the order in which it takes them;
/// what it does not take is 0.
pub type ChannelConstants = [f32; MAX_CONSTANTS];

/// Two sums for each of a tile's columns.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sums {
    /// Of the latest rows, in f32.
    parts: [[f32; TILE]; 2],
    wholes: [[f64; TILE]; 2],
}

impl Sums {
    fn take_parts(&mut self) {
        for lane in (0..TILE).step_by(LANES) {
            self.take(lane, vectors(&self.parts, lane));
        }
        self.parts = [[0.0; TILE]; 2];
    }

    /// Adds to the sums of four columns.
    #[inline(always)]
    fn take(&mut self, lane: usize, parts: [F32x4; 2]) {
        for (sums, part) in self.wholes.iter_mut().zip(parts) {
            let [low, high] = part.widen();
            let four = &mut sums[lane..][..LANES];
            // SAFETY: there are four.
            unsafe {
                (F64x2::load(four.as_ptr()) + low).store(four.as_mut_ptr());
                (F64x2::load(four.as_ptr().add(2)) + high).store(four.as_mut_ptr().add(2));
            }
        }
    }
}

/// A tensor of a layout: its elements, and which of the operands it is.
#[derive(Clone, Copy, Debug)]
pub struct Operand<'a> {
    /// Memory from its first element on.
    pub cells: Cells<'a>,
    /// Its number among the layout's operands.
    pub index: usize,
}

/// A layout's operands, numbered in order.
pub fn operands<const K: usize>(tensors: [Cells; K]) -> [Operand; K] {
    from_fn(|index| Operand { cells: tensors[index], index })
}

/// Sets the constants of all columns of `channel`.
#[inline(never)]
pub fn set_constants(
    layout: &Layout,
    channel: usize,
    values: &ChannelConstants,
    constants: &mut [Constants],
) {
    layout.columns_of(channel, |column| {
        for (tile, value) in constants[column / TILE].iter_mut().zip(values) {
            tile[column % TILE] = *value;
        }
    });
}

/// The constants of `channel`.
#[inline(never)]
pub fn constants_of(layout: &Layout, channel: usize, constants: &[Constants]) -> ChannelConstants {
    let column = layout.first_column(channel);
    from_fn(|p| constants[column / TILE][p][column % TILE])
}

/// Both sums over all columns of `channel`.
#[inline(never)]
pub fn sums_of(layout: &Layout, channel: usize, sums: &[Sums]) -> [f64; 2] {
    let mut both = [0.0; 2];
    layout.columns_of(channel, |column| {
        for (sum, tile) in both.iter_mut().zip(&sums[column / TILE].wholes) {
            *sum += tile[column % TILE];
        }
    });
    both
}

/// What a fold does with a vector of every input: returns the sums with it.
pub trait Step<const I: usize, const P: usize>:
    Fn([F32x4; 2], [F32x4; I], [F32x4; P]) -> [F32x4; 2] + Copy
{
}

impl<F, const I: usize, const P: usize> Step<I, P> for F where
    F: Fn([F32x4; 2], [F32x4; I], [F32x4; P]) -> [F32x4; 2] + Copy
{
}

/// What a map makes of a vector of every input.
pub trait Map<const I: usize, const P: usize>: Fn([F32x4; I], [F32x4; P]) -> F32x4 + Copy {}

impl<F, const I: usize, const P: usize> Map<I, P> for F where
    F: Fn([F32x4; I], [F32x4; P]) -> F32x4 + Copy
{
}

/// Sums up the channels of `group` into `sums`, column by column.
pub fn fold<const V: usize, const I: usize, const P: usize>(
    layout: &Layout,
    group: Range<usize>,
    inputs: [Operand; I],
    constants: &[Constants],
    sums: &mut [Sums],
    step: impl Step<I, P>,
) {
    for column in layout.columns_in(group.clone()) {
        for tile in &mut sums[column / TILE].wholes {
            tile[column % TILE] = 0.0;
        }
    }
    // Where it is read from beyond the cache.
    let by_row = layout.len() * I > CACHED && layout.columns() * I > NARROW;
    layout.walk(group, false, &mut |column, block| {
        let inputs = inputs.map(|input| Rows::of(input, block));
        match layout.form {
            Form::Runs => {
                let (tile, lane) = (column / TILE, column % TILE);
                fold_runs::<V, _, _>(inputs, block, &constants[tile], &mut sums[tile], lane, step);
            }
            Form::Columns => {
                let tiles = column / TILE..(column + block.width).div_ceil(TILE);
                let (constants, sums) = (&constants[tiles.clone()], &mut sums[tiles]);
                fold_columns::<V, _, _>(inputs, block, constants, sums, by_row, step);
            }
        }
    });
}

/// Sums up `terms` of every element of one channel, without vectors and so slowly.
#[cold]
pub fn fold_in_f64<const I: usize>(
    layout: &Layout,
    channel: usize,
    inputs: [Operand; I],
    terms: impl Fn([f64; I]) -> [f64; 2],
) -> [f64; 2] {
    let mut sums = [0.0; 2];
    let group = match layout.form {
        Form::Runs => channel..channel + 1,
        Form::Columns => 0..layout.channels,
    };
    layout.walk(group, false, &mut |_, block| {
        let mut column = |columns: Range<usize>| {
            for row in 0..block.rows {
                for column in columns.clone() {
                    let values = inputs.map(|Operand { cells, index }| {
                        let start = block.start[index] + row * block.stride[index];
                        f64::from(cells[start + column].get())
                    });
                    for (sum, term) in sums.iter_mut().zip(terms(values)) {
                        *sum += term;
                    }
                }
            }
        };
        match layout.form {
            Form::Runs => column(0..block.width),
            Form::Columns => layout.columns_of(channel, |lane| {
                // Rows that were too few to fold have fewer columns.
                if lane < block.width {
                    column(lane..lane + 1);
                }
            }),
        }
    });
    sums
}

/// Writes `map(inputs, constants)` over the channels of `group`; after a fold best
/// backwards, from what is still in the cache.
pub fn apply<const V: usize, const I: usize, const P: usize>(
    layout: &Layout,
    group: Range<usize>,
    backwards: bool,
    inputs: [Operand; I],
    output: Operand,
    constants: &[Constants],
    map: impl Map<I, P>,
) {
    let most = if layout.len() * (I + 1) > CACHED {
        (NEAR / (layout.columns() * (I + 1))).clamp(1, CHUNK)
    } else {
        CHUNK
    };
    layout.walk(group, backwards, &mut |column, block| {
        let inputs = inputs.map(|input| Rows::of(input, block));
        let output = Rows::of(output, block);
        match layout.form {
            Form::Runs => {
                let constants = &constants[column / TILE];
                map_runs::<V, _, _>(inputs, output, block, constants, column % TILE, map);
            }
            Form::Columns => {
                let tiles = column / TILE..(column + block.width).div_ceil(TILE);
                map_columns::<V, _, _>(inputs, output, block, &constants[tiles], most, map);
            }
        }
    });
}

/// An operand's rows of a block, all of which lie in its cells.
#[derive(Clone, Copy)]
struct Rows {
    first: *mut f32,
    /// Elements from one row to the next.
    stride: usize,
}

impl Rows {
    #[inline(never)]
    fn of(operand: Operand, block: &Block) -> Self {
        let (start, stride) = (block.start[operand.index], block.stride[operand.index]);
        let end = start + (block.rows - 1) * stride + block.width;
        let cells = &operand.cells[start..end];
        Self { first: cells.as_ptr().cast::<f32>().cast_mut(), stride }
    }

    /// From element `column` of row `row` on.
    #[inline(always)]
    fn at(&self, row: usize, column: usize) -> *mut f32 {
        self.first.wrapping_add(row * self.stride + column)
    }
}

#[inline(never)]
fn fold_runs<const V: usize, const I: usize, const P: usize>(
    inputs: [Rows; I],
    block: &Block,
    constants: &Constants,
    sums: &mut Sums,
    lane: usize,
    step: impl Step<I, P>,
) {
    let constants: [F32x4; P] = from_fn(|p| F32x4::splat(constants[p][lane]));
    let neutral: [F32x4; I] = from_fn(|i| constants[i]);
    let none = [F32x4::splat(0.0); 2];
    let width = block.width;
    let mut parts = [none; V];
    let mut steps = 0;
    let mut totals = [F64x2::splat(0.0); 2];
    for row in 0..block.rows {
        let start = inputs.map(|input| input.at(row, 0));
        let mut done = 0;
        while done < width {
            let whole = ((width - done) / (V * LANES)).min(CHUNK - steps);
            let end = done + whole * V * LANES;
            while done < end {
                for (v, part) in parts.iter_mut().enumerate() {
                    let at = start.map(|start| start.wrapping_add(done));
                    // SAFETY: all before `end` is in the row.
                    let inputs = unsafe { load_count(at, v * LANES, LANES, neutral) };
                    *part = step(*part, inputs, constants);
                }
                done += V * LANES;
            }
            steps += whole;
            if width - done < V * LANES {
                for part in &mut parts {
                    let count = LANES.min(width - done);
                    if count > 0 {
                        let at = start.map(|start| start.wrapping_add(done));
                        // SAFETY: so many elements of the row are left.
                        let inputs = unsafe { load_count(at, 0, count, neutral) };
                        *part = step(*part, inputs, constants);
                        done += count;
                    }
                }
                steps += 1;
            }
            if steps >= CHUNK || (done == width && row + 1 == block.rows) {
                for (kind, total) in totals.iter_mut().enumerate() {
                    for part in &parts {
                        let [low, high] = part[kind].widen();
                        *total = *total + (low + high);
                    }
                }
                parts = [none; V];
                steps = 0;
            }
        }
    }
    for (sums, total) in sums.wholes.iter_mut().zip(totals) {
        sums[lane] += total.sum();
    }
}

#[inline(never)]
fn fold_columns<const V: usize, const I: usize, const P: usize>(
    inputs: [Rows; I],
    block: &Block,
    constants: &[Constants],
    sums: &mut [Sums],
    by_row: bool,
    step: impl Step<I, P>,
) {
    let tiles = block.width / TILE;
    for above in (0..block.rows).step_by(CHUNK) {
        let rows = above..block.rows.min(above + CHUNK);
        if by_row {
            fold_by_row(inputs, rows.clone(), &constants[..tiles], &mut sums[..tiles], step);
        } else {
            for tile in 0..tiles {
                for lane in (0..TILE).step_by(V * LANES) {
                    let (first, rows) = (tile * TILE + lane, rows.clone());
                    // SAFETY: the tile lies in each of the rows.
                    let parts = unsafe {
                        fold_strip::<V, I, P>(inputs, rows, first, LANES, &constants[tile], step)
                    };
                    for (v, parts) in parts.iter().enumerate() {
                        sums[tile].take(lane + v * LANES, *parts);
                    }
                }
            }
        }
        for first in (tiles * TILE..block.width).step_by(LANES) {
            let (count, rows) = (LANES.min(block.width - first), rows.clone());
            // SAFETY: `count` elements of each of the rows are left.
            let [parts] = unsafe {
                fold_strip::<1, I, P>(inputs, rows, first, count, &constants[tiles], step)
            };
            sums[tiles].take(first % TILE, parts);
        }
    }
}

/// Rows of whole tiles, each from its first column to its last.
#[inline(always)]
fn fold_by_row<const I: usize, const P: usize>(
    inputs: [Rows; I],
    rows: Range<usize>,
    constants: &[Constants],
    sums: &mut [Sums],
    step: impl Step<I, P>,
) {
    for row in rows {
        let mut at = inputs.map(|input| input.at(row, 0));
        for (constants, sums) in constants.iter().zip(&mut *sums) {
            let mut strip = |lane: usize| {
                let constants: [F32x4; P] = vectors(constants, lane);
                // SAFETY: the tile lies in the row.
                let inputs = unsafe { load_count(at, lane, LANES, from_fn(|i| constants[i])) };
                let parts = step(vectors(&sums.parts, lane), inputs, constants);
                for (sums, part) in sums.parts.iter_mut().zip(parts) {
                    let four = &mut sums[lane..][..LANES];
                    // SAFETY: there are four.
                    unsafe { part.store(four.as_mut_ptr()) };
                }
            };
            // Four times the same, not a loop: it would stay one.
            strip(0);
            strip(4);
            strip(8);
            strip(12);
            at = at.map(|at| at.wrapping_add(TILE));
        }
    }
    sums.iter_mut().for_each(Sums::take_parts);
}

/// Sums over rows of `V` vectors, from column `first` on; of `count` elements, where that
/// is less than a vector and `V` is 1. The constants are those of the columns' tile.
///
/// # Safety
/// These elements must lie in the rows.
#[inline(always)]
unsafe fn fold_strip<const V: usize, const I: usize, const P: usize>(
    inputs: [Rows; I],
    rows: Range<usize>,
    first: usize,
    count: usize,
    constants: &Constants,
    step: impl Step<I, P>,
) -> [[F32x4; 2]; V] {
    let constants: [[F32x4; P]; V] = from_fn(|v| vectors(constants, first % TILE + v * LANES));
    let mut parts = [[F32x4::splat(0.0); 2]; V];
    let mut at = inputs.map(|input| input.at(rows.start, first));
    for _ in rows {
        for (v, part) in parts.iter_mut().enumerate() {
            // SAFETY: the caller's.
            let inputs = unsafe { load_count(at, v * LANES, count, from_fn(|i| constants[v][i])) };
            *part = step(*part, inputs, constants[v]);
        }
        at = from_fn(|i| at[i].wrapping_add(inputs[i].stride));
    }
    parts
}

#[inline(never)]
fn map_runs<const V: usize, const I: usize, const P: usize>(
    inputs: [Rows; I],
    output: Rows,
    block: &Block,
    constants: &Constants,
    lane: usize,
    map: impl Map<I, P>,
) {
    let constants: [F32x4; P] = from_fn(|p| F32x4::splat(constants[p][lane]));
    let zero = [F32x4::splat(0.0); I];
    for row in 0..block.rows {
        let start = inputs.map(|input| input.at(row, 0));
        let to = output.at(row, 0);
        let mut done = 0;
        while done + V * LANES <= block.width {
            let at = start.map(|start| start.wrapping_add(done));
            let to = to.wrapping_add(done);
            for v in 0..V {
                // SAFETY: `V` vectors of the row are left.
                unsafe {
                    let inputs = load_count(at, v * LANES, LANES, zero);
                    store_count(map(inputs, constants), to, v * LANES, LANES);
                }
            }
            done += V * LANES;
        }
        while done < block.width {
            let count = LANES.min(block.width - done);
            let at = start.map(|start| start.wrapping_add(done));
            // SAFETY: so many elements of the row are left.
            unsafe {
                let inputs = load_count(at, 0, count, zero);
                store_count(map(inputs, constants), to.wrapping_add(done), 0, count);
            }
            done += count;
        }
    }
}

#[inline(never)]
fn map_columns<const V: usize, const I: usize, const P: usize>(
    inputs: [Rows; I],
    output: Rows,
    block: &Block,
    constants: &[Constants],
    most: usize,
    map: impl Map<I, P>,
) {
    let tiles = block.width / TILE;
    for above in (0..block.rows).step_by(most) {
        let rows = above..block.rows.min(above + most);
        if most == 1 {
            map_row(inputs, output, above, &constants[..tiles], map);
        } else {
            for tile in 0..tiles {
                for lane in (0..TILE).step_by(V * LANES) {
                    let (first, rows) = (tile * TILE + lane, rows.clone());
                    let constants = &constants[tile];
                    // SAFETY: the tile lies in each of the rows.
                    unsafe {
                        map_strip::<V, I, P>(inputs, output, rows, first, LANES, constants, map);
                    }
                }
            }
        }
        for first in (tiles * TILE..block.width).step_by(LANES) {
            let (count, rows) = (LANES.min(block.width - first), rows.clone());
            let constants = &constants[tiles];
            // SAFETY: `count` elements of each of the rows are left.
            unsafe { map_strip::<1, I, P>(inputs, output, rows, first, count, constants, map) };
        }
    }
}

/// A row of whole tiles.
#[inline(always)]
fn map_row<const I: usize, const P: usize>(
    inputs: [Rows; I],
    output: Rows,
    row: usize,
    constants: &[Constants],
    map: impl Map<I, P>,
) {
    let mut at = inputs.map(|input| input.at(row, 0));
    let mut to = output.at(row, 0);
    for constants in constants {
        let strip = |lane| {
            // SAFETY: the tile lies in the row.
            unsafe {
                let inputs = load_count(at, lane, LANES, [F32x4::splat(0.0); I]);
                store_count(map(inputs, vectors(constants, lane)), to, lane, LANES);
            }
        };
        strip(0);
        strip(4);
        strip(8);
        strip(12);
        at = at.map(|at| at.wrapping_add(TILE));
        to = to.wrapping_add(TILE);
    }
}

/// Writes rows of `V` vectors, as [`fold_strip`] reads them.
///
/// # Safety
/// These elements must lie in the rows.
#[inline(always)]
unsafe fn map_strip<const V: usize, const I: usize, const P: usize>(
    inputs: [Rows; I],
    output: Rows,
    rows: Range<usize>,
    first: usize,
    count: usize,
    constants: &Constants,
    map: impl Map<I, P>,
) {
    let constants: [[F32x4; P]; V] = from_fn(|v| vectors(constants, first % TILE + v * LANES));
    let mut at = inputs.map(|input| input.at(rows.start, first));
    let mut to = output.at(rows.start, first);
    for _ in rows {
        for (v, constants) in constants.iter().enumerate() {
            // SAFETY: the caller's.
            unsafe {
                let inputs = load_count(at, v * LANES, count, [F32x4::splat(0.0); I]);
                store_count(map(inputs, *constants), to, v * LANES, count);
            }
        }
        at = from_fn(|i| at[i].wrapping_add(inputs[i].stride));
        to = to.wrapping_add(output.stride);
    }
}

/// A vector of every input, `offset` elements further, of which `count` elements are
/// there and the others come from `neutral`.
///
/// # Safety
/// These elements must be readable.
#[inline(always)]
unsafe fn load_count<const I: usize>(
    at: [*mut f32; I],
    offset: usize,
    count: usize,
    neutral: [F32x4; I],
) -> [F32x4; I] {
    from_fn(|i| {
        // SAFETY: the caller's.
        unsafe {
            let at = at[i].add(offset);
            if count == LANES { F32x4::load(at) } else { neutral[i].load_first(at, count) }
        }
    })
}

/// Stores `count` elements of a vector, `offset` elements further.
///
/// # Safety
/// These elements must be writable.
#[inline(always)]
unsafe fn store_count(vector: F32x4, to: *mut f32, offset: usize, count: usize) {
    // SAFETY: the caller's.
    unsafe {
        let to = to.add(offset);
        if count == LANES { vector.store(to) } else { vector.store_first(to, count) }
    }
}

/// The first values of four columns.
#[inline(always)]
fn vectors<const P: usize>(values: &[[f32; TILE]], column: usize) -> [F32x4; P] {
    from_fn(|p| {
        let four = &values[p][column..][..LANES];
        // SAFETY: there are four.
        unsafe { F32x4::load(four.as_ptr()) }
    })
}
