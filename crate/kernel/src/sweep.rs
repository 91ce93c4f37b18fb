//! The only loops over elements.
//!
//! A *fold* reduces a block to sums, a *map* writes one. What is summed or
//! written is a closure on vectors; the loop is over rows of a tile, which are
//! rows of columns or the successive tiles of a run. What is left over of a row
//! is copied into a padded tile and goes through the same loop.
//! [`gather`] and [`apply`] drive them over a whole [`Layout`].

use core::array::from_fn;
use core::cell::Cell;
use core::ops::Range;

use crate::Cells;
use crate::lanes::{F32x4, LANES};
use crate::layout::{Block, Form, Layout, TILE};

/// One value for each column of a tile.
pub type Tile = [f32; TILE];

/// Constants of the largest map, [`crate::affine::backward_map`].
pub const MAX_CONSTANTS: usize = 5;

/// Constants of a map or a fold, for the columns of a tile of columns, or for one
/// channel of runs in each of them: the loops load vectors from it as it is.
pub type Constants = [Tile; MAX_CONSTANTS];

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

/// A value that stands for a set of elements and can take in another set's.
pub trait Merge: Copy + Default {
    /// Number of elements.
    fn count(&self) -> f64;

    /// Makes `self` stand for both sets, of which the other has the share `share`.
    fn merge_share(&mut self, other: &Self, share: f64);

    /// Makes `self` stand for both sets.
    fn merge(&mut self, other: &Self) {
        if other.count() > 0.0 {
            self.merge_share(other, other.count() / (self.count() + other.count()));
        }
    }
}

/// Merges values of `count` elements each, `of_lane(0)` and on, into `values`.
#[inline(always)]
pub fn merge_each<V: Merge>(values: &mut [V], count: f64, of_lane: impl Fn(usize) -> V) {
    // One division for all of them: what was merged before is of one size, too.
    let share = count / (values[0].count() + count);
    for (lane, value) in values.iter_mut().enumerate() {
        value.merge_share(&of_lane(lane), share);
    }
}

/// Reduces each channel of `group` to one value, at the channel's place in
/// `values`, which has room for one value for each of the layout's columns.
///
/// `merge_block(column, block, values)` merges a block into the values of its columns.
pub fn gather<V: Merge>(
    layout: &Layout,
    group: Range<usize>,
    values: &mut [V],
    mut merge_block: impl FnMut(usize, &Block, &mut [V]),
) {
    let columns = match layout.form {
        Form::Runs => group.clone(),
        Form::Columns => 0..values.len(),
    };
    values[columns].fill(V::default());
    layout.walk(group.clone(), false, &mut |column, block| {
        merge_block(column, block, &mut values[column..][..block.lanes()]);
    });
    if layout.columns() > layout.channels {
        // In place: value `channel` was taken in before it is written, since no
        // channel's columns come before its own number.
        for channel in group {
            let mut whole = V::default();
            layout.columns_of(channel, |column| whole.merge(&values[column]));
            values[channel] = whole;
        }
    }
}

/// Sets the constants of all columns of `channel`.
pub fn set_constants<const P: usize>(
    layout: &Layout,
    channel: usize,
    values: [f32; P],
    constants: &mut [Constants],
) {
    match layout.form {
        Form::Runs => {
            for (tile, value) in constants[channel].iter_mut().zip(values) {
                tile.fill(value);
            }
        }
        Form::Columns => layout.columns_of(channel, |column| {
            for (tile, value) in constants[column / TILE].iter_mut().zip(values) {
                tile[column % TILE] = value;
            }
        }),
    }
}

/// The constants of a block's tile; `column` is the block's first.
#[inline(always)]
pub(crate) fn constants_of(
    constants: &[Constants],
    form: Form,
    column: usize,
    tile: usize,
) -> &Constants {
    match form {
        Form::Runs => &constants[column],
        Form::Columns => &constants[tile],
    }
}

/// Writes `map(inputs, constants)` over the channels of `group`; after they were
/// gathered best backwards, from what is still in the cache.
pub fn apply<const I: usize, const P: usize>(
    layout: &Layout,
    group: Range<usize>,
    backwards: bool,
    inputs: [Operand; I],
    output: Operand,
    constants: &[Constants],
    map: impl Fn([F32x4; I], [F32x4; P]) -> F32x4 + Copy,
) {
    layout.walk(group, backwards, &mut |column, block| {
        block.tiles(|tile, rows| {
            let constants = constants_of(constants, block.form, column, tile);
            if rows.width == TILE {
                let inputs = inputs.map(|input| Rows::of(input, rows));
                map_rows(inputs, Rows::of(output, rows), rows.rows, constants, map);
                return;
            }
            for row in 0..rows.rows {
                let mut copies = inputs.map(|_| [0.0; TILE]);
                for (copy, input) in copies.iter_mut().zip(inputs) {
                    copy_row(input, rows, row, copy);
                }
                let mut result = [0.0; TILE];
                let inputs = copies.each_mut().map(Rows::one);
                map_rows(inputs, Rows::one(&mut result), 1, constants, map);
                for (to, from) in stretch(output, rows, row).iter().zip(result) {
                    to.set(from);
                }
            }
        });
    });
}

/// Sums of up to three kinds, for each column of a tile.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sums([[f64; TILE]; 3]);

impl Sums {
    /// Sum `kind` of a column, or in runs, which share one value, of all.
    #[inline(always)]
    pub fn total(&self, kind: usize, lane: usize, form: Form) -> f64 {
        match form {
            Form::Runs => self.0[kind].iter().sum(),
            Form::Columns => self.0[kind][lane],
        }
    }
}

/// Sums over a block into `sums`, which has a tile for each of the block's.
///
/// `step(sums, inputs, constants)` adds one vector of every input to the sums, with
/// the constants of the block's columns, the first of which is `column`. What is
/// missing of a tile holds `pad`, which must add nothing.
#[inline(always)]
pub fn fold<const I: usize, const P: usize, const A: usize>(
    column: usize,
    block: &Block,
    inputs: [Operand; I],
    pad: [f32; I],
    constants: &[Constants],
    sums: &mut [Sums],
    step: impl Fn([F32x4; A], [F32x4; I], [F32x4; P]) -> [F32x4; A] + Copy,
) {
    for Sums(sums) in &mut sums[..block.tile_count()] {
        for sums in &mut sums[..A] {
            *sums = [0.0; TILE];
        }
    }
    block.tiles(|tile, rows| {
        let Sums(sums) = &mut sums[tile];
        let constants = constants_of(constants, block.form, column, tile);
        if rows.width == TILE {
            let inputs = inputs.map(|input| Rows::of(input, rows));
            fold_rows(inputs, rows.rows, constants, sums, step);
            return;
        }
        for row in 0..rows.rows {
            let mut copies = pad.map(|pad| [pad; TILE]);
            for (copy, input) in copies.iter_mut().zip(inputs) {
                copy_row(input, rows, row, copy);
            }
            fold_rows(copies.each_mut().map(Rows::one), 1, constants, sums, step);
        }
    });
}

/// The elements of row `row` of `rows`.
#[inline(always)]
fn stretch<'a>(operand: Operand<'a>, rows: &Block, row: usize) -> Cells<'a> {
    let start = rows.start[operand.index] + row * rows.stride[operand.index];
    &operand.cells[start..][..rows.width]
}

/// Copies these elements to the front of a tile.
#[inline(never)]
fn copy_row(operand: Operand, rows: &Block, row: usize, tile: &mut Tile) {
    for (to, from) in tile.iter_mut().zip(stretch(operand, rows, row)) {
        *to = from.get();
    }
}

/// Rows of a tile in memory, at least one; the last ends where `cells` does.
#[derive(Clone, Copy)]
struct Rows<'a> {
    cells: Cells<'a>,
    /// Elements from one row to the next.
    stride: usize,
}

impl<'a> Rows<'a> {
    #[inline(always)]
    fn of(operand: Operand<'a>, rows: &Block) -> Self {
        let stride = rows.stride[operand.index];
        let len = (rows.rows - 1) * stride + TILE;
        Self { cells: &operand.cells[rows.start[operand.index]..][..len], stride }
    }

    #[inline(always)]
    fn one(tile: &'a mut Tile) -> Self {
        Self { cells: Cell::from_mut(&mut tile[..]).as_slice_of_cells(), stride: 0 }
    }

    /// Whether all of `rows` rows lie in the cells.
    fn hold(&self, rows: usize) -> bool {
        self.cells.len() == (rows - 1) * self.stride + TILE
    }
}

/// Rows that are added up in f32 before their sums are added in f64: rounding errors
/// grow with the number of additions in a row.
const CHUNK: usize = 32;

/// Adds `rows` rows to the first `A` sums, column by column.
#[inline(never)]
fn fold_rows<const I: usize, const P: usize, const A: usize>(
    inputs: [Rows; I],
    rows: usize,
    constants: &Constants,
    sums: &mut [[f64; TILE]; 3],
    step: impl Fn([F32x4; A], [F32x4; I], [F32x4; P]) -> [F32x4; A],
) {
    assert!(inputs.iter().all(|input| input.hold(rows)));
    let constants = |vector| from_fn(|p| vector_of(&constants[p], vector));
    let constants: [[F32x4; P]; 4] = [constants(0), constants(1), constants(2), constants(3)];
    let mut row = inputs.map(|input| input.cells.as_ptr().cast::<f32>());
    let mut rest = rows;
    while rest > 0 {
        let chunk = rest.min(CHUNK);
        rest -= chunk;
        let zero = [F32x4::splat(0.0); A];
        let mut parts = [zero, zero, zero, zero];
        for _ in 0..chunk {
            // SAFETY: `hold` has shown that the row lies in every input's cells.
            let load = |vector| unsafe { load(row, vector) };
            // Four times the same, not a loop: the sums must stay in registers.
            parts[0] = step(parts[0], load(0), constants[0]);
            parts[1] = step(parts[1], load(1), constants[1]);
            parts[2] = step(parts[2], load(2), constants[2]);
            parts[3] = step(parts[3], load(3), constants[3]);
            row = from_fn(|i| row[i].wrapping_add(inputs[i].stride));
        }
        for (vector, parts) in parts.iter().enumerate() {
            for (sums, part) in sums.iter_mut().zip(parts) {
                let sums = &mut sums[vector * LANES..][..LANES];
                for (sum, part) in sums.iter_mut().zip(part.to_array()) {
                    *sum += f64::from(part);
                }
            }
        }
    }
}

/// Writes `rows` rows of the output.
#[inline(never)]
fn map_rows<const I: usize, const P: usize>(
    inputs: [Rows; I],
    output: Rows,
    rows: usize,
    constants: &Constants,
    map: impl Fn([F32x4; I], [F32x4; P]) -> F32x4,
) {
    assert!(inputs.iter().all(|input| input.hold(rows)) && output.hold(rows));
    let constants = |vector| from_fn(|p| vector_of(&constants[p], vector));
    let constants: [[F32x4; P]; 4] = [constants(0), constants(1), constants(2), constants(3)];
    let mut row = inputs.map(|input| input.cells.as_ptr().cast::<f32>());
    let mut to = output.cells.as_ptr().cast::<f32>().cast_mut();
    for _ in 0..rows {
        for (vector, constants) in constants.iter().enumerate() {
            // SAFETY: `hold` has shown that the row lies in every operand's cells.
            let inputs = unsafe { load(row, vector) };
            let result = map(inputs, *constants);
            // SAFETY: as above.
            unsafe { result.store(to.add(vector * LANES)) };
        }
        row = from_fn(|i| row[i].wrapping_add(inputs[i].stride));
        to = to.wrapping_add(output.stride);
    }
}

/// Vector `vector` of a tile of every input.
///
/// # Safety
/// The tiles must be readable.
#[inline(always)]
unsafe fn load<const I: usize>(tiles: [*const f32; I], vector: usize) -> [F32x4; I] {
    // SAFETY: the caller's.
    tiles.map(|tile| unsafe { F32x4::load(tile.add(vector * LANES)) })
}

/// Vector `vector` of a tile's values.
#[inline(always)]
fn vector_of(tile: &Tile, vector: usize) -> F32x4 {
    let four = &tile[vector * LANES..][..LANES];
    // SAFETY: there are four.
    unsafe { F32x4::load(four.as_ptr()) }
}
