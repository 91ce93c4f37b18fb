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
pub type Tile = [F32x4; VECTORS];

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

/// Writes `map(inputs, constants)` over the channels of `group`; after they were
/// gathered best backwards, from what is still in the cache.
///
/// `constants` holds one row of the layout's columns for each constant.
pub fn apply<const I: usize, const P: usize>(
    layout: &Layout,
    group: Range<usize>,
    backwards: bool,
    inputs: [Operand; I],
    output: Operand,
    constants: [Cells; P],
    map: impl Fn([F32x4; I], [F32x4; P]) -> F32x4 + Copy,
) {
    layout.walk(group, backwards, &mut |column, block| {
        block.tiles(|tile, rows| {
            let first = column + tile * TILE;
            let constants = &constants.map(|row| tile_of(row, first, rows.form));
            if rows.width == TILE {
                let inputs = inputs.map(|input| Rows::of(input, rows));
                map_rows(inputs, Rows::of(output, rows), rows.rows, constants, map);
            } else {
                map_few(inputs, output, rows, constants, map);
            }
        });
    });
}

/// Accumulators of a tile: sums of up to three kinds, and the pivots of its columns.
#[derive(Clone, Copy, Debug)]
pub struct Scratch {
    sums: [Tile; 3],
    /// What values were made small by before they were summed.
    pub pivot: Tile,
}

impl Default for Scratch {
    fn default() -> Self {
        let zero = [F32x4::splat(0.0); VECTORS];
        Self { sums: [zero; 3], pivot: zero }
    }
}

impl Scratch {
    /// The first `A` sums of each column, or in runs of all columns in the first's place.
    pub fn totals<const A: usize>(&self, form: Form) -> [[f64; TILE]; A] {
        from_fn(|a| totals(&self.sums[a], form))
    }
}

/// Sums over a block into `scratch`, which has a tile for each of the block's.
///
/// `step(sums, inputs, constants)` adds one vector of every input to the sums, with
/// the constants of a tile from `constants(tile, scratch)`. What is missing of a
/// tile holds `pad`, which must add nothing.
#[inline(always)]
pub fn fold<const I: usize, const P: usize, const A: usize>(
    block: &Block,
    inputs: [Operand; I],
    pad: [f32; I],
    scratch: &mut [Scratch],
    constants: impl Fn(usize, &Scratch) -> [Tile; P],
    step: impl Fn([F32x4; A], [F32x4; I], [F32x4; P]) -> [F32x4; A] + Copy,
) {
    for tile in &mut scratch[..block.tile_count()] {
        tile.sums = Scratch::default().sums;
    }
    block.tiles(|tile, rows| {
        let scratch = &mut scratch[tile];
        let constants = &constants(tile, scratch);
        if rows.width == TILE {
            let inputs = inputs.map(|input| Rows::of(input, rows));
            fold_rows(inputs, rows.rows, constants, &mut scratch.sums, step);
            return;
        }
        for row in 0..rows.rows {
            let copies: [_; I] = from_fn(|i| padded(inputs[i], rows, row, pad[i]));
            let inputs = copies.each_ref().map(Rows::one);
            fold_rows(inputs, 1, constants, &mut scratch.sums, step);
        }
    });
}

/// The sums of a block's accumulators from those of the columns of a tile.
#[inline(never)]
fn totals(lanes: &Tile, form: Form) -> [f64; TILE] {
    let mut totals = values(lanes).map(f64::from);
    if form == Form::Runs {
        totals[0] = totals.iter().sum();
    }
    totals
}

/// A value for each column of a tile.
#[inline(always)]
pub fn tile(value: impl Fn(usize) -> f32) -> Tile {
    from_fn(|vector| F32x4::from_array(from_fn(|lane| value(vector * LANES + lane))))
}

/// The values of a tile, column by column.
#[inline(always)]
pub fn values(tile: &Tile) -> [f32; TILE] {
    let vectors = tile.map(F32x4::to_array);
    from_fn(|column| vectors[column / LANES][column % LANES])
}

/// The constants of a block's columns: its channel's, in each of them, or their own.
#[inline(always)]
pub(crate) fn tile_of(row: Cells, column: usize, form: Form) -> Tile {
    match form {
        Form::Runs => [F32x4::splat(row[column].get()); VECTORS],
        Form::Columns => match row[column..].first_chunk::<TILE>() {
            // SAFETY: the chunk is a whole tile.
            Some(own) => from_fn(|vector| unsafe {
                F32x4::load(own.as_ptr().cast::<f32>().add(vector * LANES))
            }),
            None => tile_of_few(&row[column..]),
        },
    }
}

#[inline(never)]
fn tile_of_few(row: Cells) -> Tile {
    tile(|column| row.get(column).map_or(0.0, Cell::get))
}

/// [`map_rows`] of rows that are less than a tile wide.
#[inline(never)]
fn map_few<const I: usize, const P: usize>(
    inputs: [Operand; I],
    output: Operand,
    rows: &Block,
    constants: &[Tile; P],
    map: impl Fn([F32x4; I], [F32x4; P]) -> F32x4 + Copy,
) {
    for row in 0..rows.rows {
        let copies = inputs.map(|input| padded(input, rows, row, 0.0));
        let result = [const { Cell::new(0.0) }; TILE];
        map_rows(copies.each_ref().map(Rows::one), Rows::one(&result), 1, constants, map);
        for (to, from) in stretch(output, rows, row).iter().zip(&result) {
            to.set(from.get());
        }
    }
}

/// The elements of row `row` of `rows`.
#[inline(always)]
fn stretch<'a>(operand: Operand<'a>, rows: &Block, row: usize) -> Cells<'a> {
    let start = rows.start[operand.index] + row * rows.stride[operand.index];
    &operand.cells[start..][..rows.width]
}

/// A copy of these elements, with `pad` behind them.
#[inline(never)]
fn padded(operand: Operand, rows: &Block, row: usize, pad: f32) -> [Cell<f32>; TILE] {
    let copy = [pad; TILE].map(Cell::new);
    for (to, from) in copy.iter().zip(stretch(operand, rows, row)) {
        to.set(from.get());
    }
    copy
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
    fn one(tile: &'a [Cell<f32>; TILE]) -> Self {
        Self { cells: tile, stride: 0 }
    }

    /// Whether all of `rows` rows lie in the cells.
    fn hold(&self, rows: usize) -> bool {
        self.cells.len() == (rows - 1) * self.stride + TILE
    }
}

/// Rows that are added up before their sums are added to those of other rows:
/// rounding errors grow with the number of additions in a row.
const CHUNK: usize = 32;

/// Adds `rows` rows to the first `A` sums, column by column.
#[inline(never)]
fn fold_rows<const I: usize, const P: usize, const A: usize>(
    inputs: [Rows; I],
    rows: usize,
    constants: &[Tile; P],
    sums: &mut [Tile; 3],
    step: impl Fn([F32x4; A], [F32x4; I], [F32x4; P]) -> [F32x4; A],
) {
    assert!(inputs.iter().all(|input| input.hold(rows)));
    let constants: [[F32x4; P]; VECTORS] = from_fn(|vector| constants.map(|tile| tile[vector]));
    let mut row = inputs.map(|input| input.cells.as_ptr().cast::<f32>());
    let mut rest = rows;
    while rest > 0 {
        let chunk = rest.min(CHUNK);
        rest -= chunk;
        let mut parts = [[F32x4::splat(0.0); A]; VECTORS];
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
        for (vector, parts) in parts.into_iter().enumerate() {
            for (sums, part) in sums.iter_mut().zip(parts) {
                sums[vector] = sums[vector] + part;
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
    constants: &[Tile; P],
    map: impl Fn([F32x4; I], [F32x4; P]) -> F32x4,
) {
    assert!(inputs.iter().all(|input| input.hold(rows)) && output.hold(rows));
    let constants: [[F32x4; P]; VECTORS] = from_fn(|vector| constants.map(|tile| tile[vector]));
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
