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

const VECTORS: usize = TILE / LANES;

/// One `f32` for each column of a tile.
pub type Tile = [f32; TILE];

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
    /// Makes `self` stand for both sets.
    fn merge(&mut self, other: &Self);
}

/// Reduces each channel of `group` to one value, at the channel's place in
/// `values`, which has room for one value for each of the layout's columns.
///
/// `of_block(column, block)` gives the values of the block's columns.
pub fn gather<V: Merge>(
    layout: &Layout,
    group: Range<usize>,
    values: &mut [V],
    of_block: impl Fn(usize, &Block) -> [V; TILE],
) {
    for value in match layout.form {
        Form::Runs => &mut values[group.clone()],
        Form::Columns => &mut *values,
    } {
        *value = V::default();
    }
    layout.walk(group.clone(), false, &mut |column, block| {
        let of_block = of_block(column, block);
        for (value, other) in values[column..].iter_mut().zip(&of_block[..block.lanes()]) {
            value.merge(other);
        }
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

/// Writes `map(inputs, constants)` over the channels of `group`, from the last
/// block to the first: the last ones gathered are still in the cache.
///
/// `constants` holds one row of the layout's columns for each constant.
pub fn apply<const I: usize, const P: usize>(
    layout: &Layout,
    group: Range<usize>,
    inputs: [Operand; I],
    output: Operand,
    constants: [Cells; P],
    map: impl Fn([F32x4; I], [F32x4; P]) -> F32x4 + Copy,
) {
    layout.walk(group, true, &mut |column, block| {
        let constants = constants.map(|row| tile_of(row, column, block));
        block.tiles(|tiles| {
            if tiles.width == TILE {
                let inputs = inputs.map(|input| Rows::of(input, &tiles));
                map_rows(inputs, Rows::of(output, &tiles), tiles.rows, &constants, map);
                return;
            }
            for row in 0..tiles.rows {
                let copies = inputs.map(|input| padded(input, &tiles, row, 0.0));
                let result = [const { Cell::new(0.0) }; TILE];
                let inputs = copies.each_ref().map(Rows::one);
                map_rows(inputs, Rows::one(&result), 1, &constants, map);
                for (to, from) in rest(output, &tiles, row).iter().zip(&result) {
                    to.set(from.get());
                }
            }
        });
    });
}

/// Sums over a block, for each of its accumulators.
///
/// `step(sums, inputs, constants)` adds one vector of every input to the sums.
/// What is missing of a tile holds `pad`, which must add nothing.
#[inline(always)]
pub fn fold<const I: usize, const P: usize, const A: usize>(
    block: &Block,
    inputs: [Operand; I],
    pad: [f32; I],
    constants: &[Tile; P],
    step: impl Fn([F32x4; A], [F32x4; I], [F32x4; P]) -> [F32x4; A] + Copy,
) -> [[f64; TILE]; A] {
    let mut sums = [[0.0; TILE]; A];
    block.tiles(|tiles| {
        if tiles.width == TILE {
            let inputs = inputs.map(|input| Rows::of(input, &tiles));
            fold_rows(inputs, tiles.rows, constants, &mut sums, step);
            return;
        }
        for row in 0..tiles.rows {
            let copies: [_; I] = from_fn(|i| padded(inputs[i], &tiles, row, pad[i]));
            fold_rows(copies.each_ref().map(Rows::one), 1, constants, &mut sums, step);
        }
    });
    sums.map(|lanes| totals(&lanes, block.form))
}

/// The sums of a block's accumulators from those of the columns of a tile.
#[inline(never)]
fn totals(lanes: &Tile, form: Form) -> [f64; TILE] {
    let mut totals = lanes.map(f64::from);
    if form == Form::Runs {
        totals[0] = totals.iter().sum();
    }
    totals
}

/// The constants of a block's columns: its channel's, in each of them, or their own.
pub(crate) fn tile_of(row: Cells, column: usize, block: &Block) -> Tile {
    match block.form {
        Form::Runs => [row[column].get(); TILE],
        Form::Columns => from_fn(|lane| row.get(column + lane).map_or(0.0, Cell::get)),
    }
}

/// The stretch of row `row` of `tiles`.
#[inline(always)]
fn rest<'a>(operand: Operand<'a>, tiles: &Block, row: usize) -> Cells<'a> {
    let start = tiles.start[operand.index] + row * tiles.stride[operand.index];
    &operand.cells[start..][..tiles.width]
}

/// A copy of the stretch of row `row` of `tiles`, with `pad` behind it.
#[inline(never)]
fn padded(operand: Operand, tiles: &Block, row: usize, pad: f32) -> [Cell<f32>; TILE] {
    let stretch = rest(operand, tiles, row);
    from_fn(|column| stretch.get(column).cloned().unwrap_or(Cell::new(pad)))
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
    fn of(operand: Operand<'a>, tiles: &Block) -> Self {
        let stride = tiles.stride[operand.index];
        let len = (tiles.rows - 1) * stride + TILE;
        Self { cells: &operand.cells[tiles.start[operand.index]..][..len], stride }
    }

    #[inline(always)]
    fn one(tile: &'a [Cell<f32>; TILE]) -> Self {
        Self { cells: tile, stride: 0 }
    }

    /// Whether all of `rows` rows lie in the cells.
    fn hold(&self, rows: usize) -> bool {
        self.cells.len() == (rows - 1) * self.stride + TILE
    }
}

/// Adds `rows` rows to the sums, column by column.
#[inline(never)]
fn fold_rows<const I: usize, const P: usize, const A: usize>(
    inputs: [Rows; I],
    rows: usize,
    constants: &[Tile; P],
    sums: &mut [Tile; A],
    step: impl Fn([F32x4; A], [F32x4; I], [F32x4; P]) -> [F32x4; A],
) {
    assert!(inputs.iter().all(|input| input.hold(rows)));
    let constants: [[F32x4; P]; VECTORS] = from_fn(|vector| vectors(constants, vector));
    let mut totals: [[F32x4; A]; VECTORS] = from_fn(|vector| vectors(sums, vector));
    let mut row = inputs.map(|input| input.cells.as_ptr().cast::<f32>());
    for _ in 0..rows {
        // SAFETY: `hold` has shown that the row lies in every input's cells.
        let load = |vector| unsafe { load(row, vector) };
        // Four times the same, not a loop: the sums must stay in registers.
        totals[0] = step(totals[0], load(0), constants[0]);
        totals[1] = step(totals[1], load(1), constants[1]);
        totals[2] = step(totals[2], load(2), constants[2]);
        totals[3] = step(totals[3], load(3), constants[3]);
        row = from_fn(|i| row[i].wrapping_add(inputs[i].stride));
    }
    for (vector, totals) in totals.iter().enumerate() {
        for (sums, total) in sums.iter_mut().zip(totals) {
            sums[vector * LANES..][..LANES].copy_from_slice(&total.to_array());
        }
    }
}

/// Writes `rows` rows of the output.
#[inline(never)]
fn map_rows<const I: usize, const P: usize>(
    inputs: [Rows; I],
    output: Rows,
    rows: usize,
    constants: &[Tile; P],
    map: impl Fn([F32x4; I], [F32x4; P]) -> F32x4,
) {
    assert!(inputs.iter().all(|input| input.hold(rows)) && output.hold(rows));
    let constants: [[F32x4; P]; VECTORS] = from_fn(|vector| vectors(constants, vector));
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

#[inline(always)]
fn vectors<const P: usize>(tiles: &[Tile; P], vector: usize) -> [F32x4; P] {
    from_fn(|p| F32x4::from_array(from_fn(|lane| tiles[p][vector * LANES + lane])))
}
