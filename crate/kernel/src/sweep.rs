//! The only loops over elements.
//!
//! A *fold* adds up two sums for every column, a *map* writes every element. What is
//! added or written is a closure on vectors; the loops are four: fold and map, over
//! runs and over columns. Each takes 16 elements at a time, then 4, then what is left.
//! [`fold`] and [`apply`] drive them over a whole [`Layout`].

use core::array::from_fn;
use core::ops::Range;

use crate::Cells;
use crate::lanes::{F32x4, F64x2, LANES};
use crate::layout::{Block, Form, Layout, TILE};

/// Constants of the largest map, [`crate::affine::backward_map`].
pub const MAX_CONSTANTS: usize = 5;

/// Steps that are added up in f32 before their sums are added in f64: rounding errors
/// grow with the number of additions in a row.
const CHUNK: usize = 32;

/// What fits the L2 cache, in elements.
const CACHED: usize = 1 << 18;

const NEAR: usize = 256;
const NARROW: usize = 64;

const MOST_ROWS: usize = 32;

/// Constants of a map or a fold for each of a tile's columns. In a fold the first ones
/// are values of the inputs that add nothing.
pub type Constants = [[f32; TILE]; MAX_CONSTANTS];

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

/// Sets the first constants of all columns of `channel`.
pub fn set_constants<const P: usize>(
    layout: &Layout,
    channel: usize,
    values: [f32; P],
    constants: &mut [Constants],
) {
    layout.columns_of(channel, |column| {
        for (tile, value) in constants[column / TILE].iter_mut().zip(values) {
            tile[column % TILE] = value;
        }
    });
}

/// Both sums over all columns of `channel`.
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
    for channel in group.clone() {
        layout.columns_of(channel, |column| {
            for tile in &mut sums[column / TILE].wholes {
                tile[column % TILE] = 0.0;
            }
        });
    }
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
                fold_columns::<V, _, _>(
                    inputs,
                    block,
                    constants,
                    sums,
                    rows_at_once(layout, I),
                    step,
                );
            }
        }
    });
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
                map_columns::<V, _, _>(
                    inputs,
                    output,
                    block,
                    &constants[tiles],
                    rows_at_once(layout, I + 1),
                    map,
                );
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
    #[inline(always)]
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
    let neutral: [F32x4; I] = from_fn(|i| F32x4::splat(constants[i][lane]));
    let constants: [F32x4; P] = from_fn(|p| F32x4::splat(constants[p][lane]));
    let zero = F32x4::splat(0.0);
    let mut parts = [[zero; 2]; V];
    let mut steps = 0;
    let mut totals = [F64x2::splat(0.0); 2];
    for row in 0..block.rows {
        let row_of = inputs.map(|input| input.at(row, 0));
        let mut at = 0;
        while at < block.width {
            let whole = ((block.width - at) / (V * LANES)).min(CHUNK - steps);
            let end = at + whole * V * LANES;
            while at < end {
                for (v, part) in parts.iter_mut().enumerate() {
                    // SAFETY: all before `end` is in the row.
                    *part = step(
                        *part,
                        unsafe { load(row_of.map(|row| row.add(at)), v * LANES) },
                        constants,
                    );
                }
                at += V * LANES;
            }
            steps += whole;
            if block.width - at < V * LANES {
                for part in &mut parts[..V - 1] {
                    if block.width - at >= LANES {
                        // SAFETY: so many elements of the row are left.
                        *part = step(*part, unsafe { load(row_of, at) }, constants);
                        at += LANES;
                    }
                }
                if at < block.width {
                    // SAFETY: as above.
                    let inputs = unsafe { load_first(neutral, row_of, at, block.width - at) };
                    parts[V - 1] = step(parts[V - 1], inputs, constants);
                    at = block.width;
                }
                steps += 1;
            }
            if steps >= CHUNK || (at == block.width && row + 1 == block.rows) {
                for (kind, total) in totals.iter_mut().enumerate() {
                    for part in &parts {
                        let [low, high] = part[kind].widen();
                        *total = *total + (low + high);
                    }
                }
                parts = [[zero; 2]; V];
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
    most: usize,
    step: impl Step<I, P>,
) {
    let tiles = block.width / TILE;
    let mut above = 0;
    while above < block.rows {
        let end = block.rows.min(above + CHUNK);
        for row in (above..end).step_by(most) {
            let rows = most.min(end - row);
            let at = inputs.map(|input| input.at(row, 0));
            for tile in 0..tiles {
                let (constants, sums) = (&constants[tile], &mut sums[tile]);
                let at = at.map(|at| at.wrapping_add(tile * TILE));
                if most == 1 {
                    for v in 0..TILE / LANES {
                        let at = at.map(|at| at.wrapping_add(v * LANES));
                        // SAFETY: a tile of the row is left.
                        let load = |at, v| unsafe { load(at, v * LANES) };
                        fold_strip::<1, I, P>(
                            inputs,
                            at,
                            1,
                            constants,
                            sums,
                            v * LANES,
                            load,
                            step,
                        );
                    }
                } else {
                    for column in (0..TILE).step_by(V * LANES) {
                        let at = at.map(|at| at.wrapping_add(column));
                        // SAFETY: a tile of each row is left.
                        let load = |at, v| unsafe { load(at, v * LANES) };
                        fold_strip::<V, I, P>(
                            inputs, at, rows, constants, sums, column, load, step,
                        );
                    }
                }
            }
        }
        for column in (tiles * TILE..block.width).step_by(LANES) {
            let (tile, lane) = (column / TILE, column % TILE);
            let at = inputs.map(|input| input.at(above, column));
            let count = LANES.min(block.width - column);
            let neutral: [F32x4; I] = vectors(&constants[tile], lane);
            // SAFETY: `count` elements of each row are left.
            let load = |at, v| unsafe {
                if count == LANES { self::load(at, v) } else { load_first(neutral, at, 0, count) }
            };
            let (constants, sums) = (&constants[tile], &mut sums[tile]);
            fold_strip::<1, I, P>(inputs, at, end - above, constants, sums, lane, load, step);
        }
        sums.iter_mut().for_each(Sums::take_parts);
        above = end;
    }
}

/// Adds `rows` rows of `V` vectors, from column `column` of the tile on.
#[inline(always)]
#[allow(clippy::too_many_arguments, reason = "inlined wherever it is called")]
fn fold_strip<const V: usize, const I: usize, const P: usize>(
    inputs: [Rows; I],
    mut at: [*mut f32; I],
    rows: usize,
    constants: &Constants,
    sums: &mut Sums,
    column: usize,
    load: impl Fn([*mut f32; I], usize) -> [F32x4; I],
    step: impl Step<I, P>,
) {
    let constants: [[F32x4; P]; V] = from_fn(|v| vectors(constants, column + v * LANES));
    let mut parts: [[F32x4; 2]; V] = from_fn(|v| vectors(&sums.parts, column + v * LANES));
    for _ in 0..rows {
        for (v, part) in parts.iter_mut().enumerate() {
            *part = step(*part, load(at, v), constants[v]);
        }
        at = from_fn(|i| at[i].wrapping_add(inputs[i].stride));
    }
    for (v, part) in parts.iter().enumerate() {
        for (sums, part) in sums.parts.iter_mut().zip(part) {
            let four = &mut sums[column + v * LANES..][..LANES];
            // SAFETY: there are four.
            unsafe { part.store(four.as_mut_ptr()) };
        }
    }
}

/// Rows of a tile that are walked before the next columns of the same rows: many use
/// what a tile needs in registers, but memory is prefetched only where it is read about
/// in order.
fn rows_at_once(layout: &Layout, operands: usize) -> usize {
    let elements = layout.count * layout.channels;
    if elements * operands <= CACHED {
        MOST_ROWS
    } else if layout.columns() <= NARROW {
        (NEAR / layout.columns() / operands).clamp(1, MOST_ROWS)
    } else {
        1
    }
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
    for row in 0..block.rows {
        let row_of = inputs.map(|input| input.at(row, 0));
        let to = output.at(row, 0);
        let width = block.width;
        let mut at = 0;
        while at + V * LANES <= width {
            for v in 0..V {
                // SAFETY: `V` vectors of the row are left.
                unsafe {
                    map(load(row_of.map(|row| row.add(at)), v * LANES), constants)
                        .store(to.add(at).add(v * LANES))
                };
            }
            at += V * LANES;
        }
        while at + LANES <= width {
            // SAFETY: a vector of the row is left.
            unsafe { map(load(row_of, at), constants).store(to.add(at)) };
            at += LANES;
        }
        if at < width {
            // SAFETY: so many elements of the row are left.
            unsafe {
                let inputs = load_first([F32x4::splat(0.0); I], row_of, at, width - at);
                map(inputs, constants).store_first(to.add(at), width - at);
            }
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
    let mut above = 0;
    while above < block.rows {
        let end = block.rows.min(above + most);
        let at = inputs.map(|input| input.at(above, 0));
        let to = output.at(above, 0);
        for tile in 0..tiles {
            let constants = &constants[tile];
            let at = at.map(|at| at.wrapping_add(tile * TILE));
            let to = to.wrapping_add(tile * TILE);
            // SAFETY: a tile of each row is left.
            let load = |at, v| unsafe { load(at, v * LANES) };
            let store = |to: *mut f32, v: usize, y: F32x4| unsafe { y.store(to.add(v * LANES)) };
            if most == 1 {
                for v in 0..TILE / LANES {
                    let y = map(load(at, v), vectors(constants, v * LANES));
                    store(to, v, y);
                }
            } else {
                for column in (0..TILE).step_by(V * LANES) {
                    let at = at.map(|at| at.wrapping_add(column));
                    let to = (to.wrapping_add(column), output.stride);
                    map_strip::<V, I, P>(
                        inputs,
                        at,
                        to,
                        end - above,
                        constants,
                        column,
                        load,
                        store,
                        map,
                    );
                }
            }
        }
        for column in (tiles * TILE..block.width).step_by(LANES) {
            let at = inputs.map(|input| input.at(above, column));
            let to = (output.at(above, column), output.stride);
            let count = LANES.min(block.width - column);
            let (tile, lane) = (column / TILE, column % TILE);
            let zero = [F32x4::splat(0.0); I];
            // SAFETY: `count` elements of each row are left.
            let load = |at, v| unsafe {
                if count == LANES { self::load(at, v) } else { load_first(zero, at, 0, count) }
            };
            let store = |to, _, y: F32x4| unsafe {
                if count == LANES { y.store(to) } else { y.store_first(to, count) }
            };
            let rows = end - above;
            map_strip::<1, I, P>(inputs, at, to, rows, &constants[tile], lane, load, store, map);
        }
        above = end;
    }
}

/// Writes `rows` rows of `V` vectors, from column `column` of the tile on.
#[inline(always)]
#[allow(clippy::too_many_arguments, reason = "inlined wherever it is called")]
fn map_strip<const V: usize, const I: usize, const P: usize>(
    inputs: [Rows; I],
    mut at: [*mut f32; I],
    (mut to, stride): (*mut f32, usize),
    rows: usize,
    constants: &Constants,
    column: usize,
    load: impl Fn([*mut f32; I], usize) -> [F32x4; I],
    store: impl Fn(*mut f32, usize, F32x4),
    map: impl Map<I, P>,
) {
    let constants: [[F32x4; P]; V] = from_fn(|v| vectors(constants, column + v * LANES));
    for _ in 0..rows {
        for (v, constants) in constants.iter().enumerate() {
            store(to, v, map(load(at, v), *constants));
        }
        at = from_fn(|i| at[i].wrapping_add(inputs[i].stride));
        to = to.wrapping_add(stride);
    }
}

/// A vector of every input, `offset` elements further.
///
/// # Safety
/// The vectors must be readable.
#[inline(always)]
unsafe fn load<const I: usize>(at: [*mut f32; I], offset: usize) -> [F32x4; I] {
    // SAFETY: the caller's.
    at.map(|at| unsafe { F32x4::load(at.add(offset)) })
}

/// The first `count` lanes of a vector of every input, the others from `neutral`.
///
/// # Safety
/// These elements must be readable.
#[inline(always)]
unsafe fn load_first<const I: usize>(
    neutral: [F32x4; I],
    at: [*mut f32; I],
    offset: usize,
    count: usize,
) -> [F32x4; I] {
    // SAFETY: the caller's.
    from_fn(|i| unsafe { neutral[i].load_first(at[i].add(offset), count) })
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
