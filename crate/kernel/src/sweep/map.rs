//! Maps: every element of the output from those of the inputs in its place.
//!
//! ```text
//! for each vector of the patch:  output ← map(inputs, constants)
//! ```

use core::array::from_fn;
use core::ops::Range;

use super::patch::{Along, Patch, load, load_part, vectors};
use super::{CHUNK, Leaf, Pass, STRIP, VECTORS, Walk, shared, sweep};
use crate::Cells;
use crate::lanes::{F32x4, LANES};
use crate::layout::{Band, Lines, MAX_OPERANDS, Order, TILE};
use crate::workspace::Tile;

/// Elements of a run a turn: one vector waits for no other, and the loop's own work is shared.
const UNROLLED: usize = 4 * LANES;

/// What a map makes of a vector of every input.
pub trait Map<const I: usize, const P: usize>: Fn([F32x4; I], [F32x4; P]) -> F32x4 + Copy {}

impl<F, const I: usize, const P: usize> Map<I, P> for F where
    F: Fn([F32x4; I], [F32x4; P]) -> F32x4 + Copy
{
}

/// Writes `map(inputs, constants)` over a band's channels of `output`, where weights are the last
/// input if it takes one more; after a fold best backwards, from what is still in the cache.
pub fn map<const T: usize, const I: usize, const P: usize>(
    pass: &mut Pass,
    band: &Band,
    inputs: [usize; T],
    output: usize,
    order: Order,
    map: impl Map<I, P>,
) {
    let operands: [usize; MAX_OPERANDS] = from_fn(|k| *inputs.get(k).unwrap_or(&output));
    pass.workspace.spread(pass.layout);
    map_by(pass, band, &operands[..=T], order, &|walk, patch, tiles| match walk {
        // Weights come beside as many rows.
        Walk::Columns(_) if I > T => map_columns::<T, I, P>(patch, CHUNK, tiles, map),
        Walk::Columns(at_once) => map_columns::<T, I, P>(patch, at_once, tiles, map),
        Walk::Runs => map_runs::<T, I, P>(patch, tiles, |row| patch.row::<T, I>(row), map),
    });
}

/// Writes operand 0 where operand 1 is above 0 or no number, and else 0, over operand 2: dy as it
/// comes through a ReLU, by the sign of its output. Needs no constants, and leaves them alone.
pub fn gate(pass: &mut Pass, band: &Band) {
    map_by(pass, band, &[0, 1, 2], Order::Backwards, &gate_patch);
}

/// [`gate`] of some lines.
#[inline(never)]
pub(super) fn gate_lines(pass: &mut Pass, band: &Band, lines: Lines) {
    sweep(pass, band, lines, &[0, 1, 2], Order::Backwards, &gate_patch);
}

fn gate_patch(walk: Walk, patch: &Patch, tiles: &mut [Tile]) {
    let map = |[dy, y]: [F32x4; 2], []: [F32x4; 0]| dy.only_above_zero(y);
    match walk {
        Walk::Columns(at_once) => map_columns::<2, 2, 0>(patch, at_once, tiles, map),
        Walk::Runs => map_runs::<2, 2, 0>(patch, tiles, |row| patch.row::<2, 2>(row), map),
    }
}

/// [`map`] with what it does with a patch.
#[inline(always)]
fn map_by(pass: &mut Pass, band: &Band, operands: &[usize], order: Order, leaf: &Leaf) {
    if !shared::map(pass, band, operands, order, leaf) {
        sweep(pass, band, pass.layout.all_lines(), operands, order, leaf);
    }
}

/// [`map`] of runs, backwards, with vectors `along` each of them as the last inputs.
pub fn map_along<const T: usize, const S: usize, const I: usize, const P: usize>(
    pass: &mut Pass,
    band: &Band,
    inputs: [usize; T],
    along: [Cells; S],
    output: usize,
    map: impl Map<I, P>,
) {
    let along = Along::new(along, pass.layout.count);
    let operands: [usize; MAX_OPERANDS] = from_fn(|k| *inputs.get(k).unwrap_or(&output));
    let lines = pass.layout.all_lines();
    sweep(pass, band, lines, &operands[..=T], Order::Backwards, &|_, patch, tiles| {
        map_runs::<T, I, P>(patch, tiles, |row| patch.row_along::<T, S, I>(row, along), map);
    });
}

/// Columns, some rows at once.
fn map_columns<const T: usize, const I: usize, const P: usize>(
    patch: &Patch,
    at_once: usize,
    tiles: &[Tile],
    map: impl Map<I, P>,
) {
    for above in (0..patch.rows()).step_by(at_once) {
        let rows = above..patch.rows().min(above + at_once);
        if at_once == 1 {
            map_row::<T, I, P>(patch, above, tiles, map);
        } else {
            map_strips::<T, I, P>(patch, rows.clone(), tiles, map);
        }
    }
}

/// Strip after strip, each through all rows: constants stay in registers.
#[inline(never)]
fn map_strips<const T: usize, const I: usize, const P: usize>(
    patch: &Patch,
    rows: Range<usize>,
    tiles: &[Tile],
    map: impl Map<I, P>,
) {
    let (mut start, mut start_to) = (patch.row::<T, I>(rows.start), patch.start(T, rows.start));
    for column in (0..patch.whole()).step_by(STRIP) {
        let tile = &tiles[column / TILE];
        // A strip never crosses tiles; so the compiler sees it.
        let lane = column & (TILE - STRIP);
        let constants: [[F32x4; P]; VECTORS] =
            from_fn(|v| vectors(&tile.constants, lane + v * LANES));
        let (mut at, mut to) = (start, start_to);
        for _ in rows.clone() {
            for (v, constants) in constants.iter().enumerate() {
                // SAFETY: by the patch's invariant, since the strip lies in the row.
                unsafe { map(load(at, v * LANES), *constants).store(to.add(v * LANES)) };
            }
            patch.go_down::<T, I>(&mut at);
            to = to.wrapping_add(patch.stride(T));
        }
        patch.go_on::<T, I>(&mut start, STRIP);
        start_to = start_to.wrapping_add(STRIP);
    }
}

/// One row: memory is read in order, constants come from memory, too.
#[inline(never)]
fn map_row<const T: usize, const I: usize, const P: usize>(
    patch: &Patch,
    row: usize,
    tiles: &[Tile],
    map: impl Map<I, P>,
) {
    let (mut at, mut to) = (patch.row::<T, I>(row), patch.start(T, row));
    let mut left = patch.whole();
    for tile in tiles {
        let strip = |lane: usize| {
            for lane in [lane, lane + LANES] {
                let constants = vectors(&tile.constants, lane);
                // SAFETY: by the patch's invariant, since the strip lies in the row.
                unsafe { map(load(at, lane), constants).store(to.add(lane)) };
            }
        };
        if left < STRIP {
            break;
        }
        strip(0);
        if left < TILE {
            break;
        }
        strip(STRIP);
        left -= TILE;
        patch.go_on::<T, I>(&mut at, TILE);
        to = to.wrapping_add(TILE);
    }
}

/// Every row is a run, of a column of its own, with the inputs from where `inputs` says on.
#[inline(never)]
fn map_runs<const T: usize, const I: usize, const P: usize>(
    patch: &Patch,
    tiles: &[Tile],
    inputs: impl Fn(usize) -> [*mut f32; I],
    map: impl Map<I, P>,
) {
    for row in 0..patch.rows() {
        let column = patch.column + row;
        let tile = &tiles[column / TILE];
        let constants: [F32x4; P] = from_fn(|p| F32x4::splat(tile.constants[p][column % TILE]));
        let (mut at, mut to) = (inputs(row), patch.start(T, row));
        for _ in 0..patch.width() / UNROLLED {
            for v in 0..UNROLLED / LANES {
                // SAFETY: by the patch's invariant, since so many elements of the row are left.
                unsafe { map(load(at, v * LANES), constants).store(to.add(v * LANES)) };
            }
            at = at.map(|at| at.wrapping_add(UNROLLED));
            to = to.wrapping_add(UNROLLED);
        }
        let mut tail = patch.width() % UNROLLED;
        while tail >= LANES {
            // SAFETY: by the patch's invariant, since a vector of the row is left.
            unsafe { map(load(at, 0), constants).store(to) };
            at = at.map(|at| at.wrapping_add(LANES));
            to = to.wrapping_add(LANES);
            tail -= LANES;
        }
        if tail > 0 {
            // SAFETY: by the patch's invariant, since so many elements of the row are left.
            unsafe { map(load_part(at, tail), constants).store_part(to, tail) };
        }
    }
}
