//! Folds across the runs of a band: two sums for the elements in the same place of each.
//!
//! ```text
//! for each vector of a run:   parts[place] ← step(parts[place], inputs, constants[run])     in f32
//! after sixteen runs:         sums[place] ← sums[place] + parts[place], parts ← 0           in f64
//! ```
//!
//! Run by run, with the parts in memory. Strips through sixteen runs, with the parts in registers,
//! take up to twice as long: runs of 256 or 1024 elements share few places of the nearest cache.

use core::array::from_fn;
use core::cell::Cell;
use core::mem::take;

use super::fold::Step;
use super::patch::{Along, Patch, load, load_part};
use super::{CHUNK, Pass, STRIP, VECTORS, sweep};
use crate::Cells;
use crate::lanes::{F32x4, LANES};
use crate::layout::{Band, Order, TILE};
use crate::workspace::{Gradients, Tile};

/// Sums up across a band's runs of operands 0 and 1, to the gradients of the workspace. `parts` are
/// two vectors as long as a run, in whole lanes.
pub fn fold_across<const P: usize>(
    pass: &mut Pass,
    band: &Band,
    parts: [Cells; 2],
    step: impl Step<2, P>,
) {
    let len = pass.layout.count.next_multiple_of(LANES);
    let parts = parts.map(|part| &part[..len]);
    parts.iter().flat_map(|part| part.iter()).for_each(|part| part.set(0.0));
    let along = Along::new(parts, len);
    let sums = Cell::new(take(&mut pass.workspace.gradients));
    let lines = pass.layout.all_lines();
    sweep(pass, band, lines, &[0, 1], Order::Forwards, &|_, patch, tiles| {
        let mut here = sums.take();
        for row in 0..patch.rows() {
            fold_row(patch, row, tiles, along, step);
            if (row + 1) % CHUNK == 0 || row + 1 == patch.rows() {
                take_parts(patch, along, &mut here);
            }
        }
        sums.set(here);
    });
    pass.workspace.gradients = sums.into_inner();
}

/// One row.
#[inline(never)]
fn fold_row<const P: usize>(
    patch: &Patch,
    row: usize,
    tiles: &[Tile],
    parts: Along<2>,
    step: impl Step<2, P>,
) {
    let column = patch.column + row;
    let tile = &tiles[column / TILE];
    let constants: [F32x4; P] = from_fn(|p| F32x4::splat(tile.constants[p][column % TILE]));
    let mut at: [*mut f32; 2] = patch.row::<2, 2>(row);
    let mut sums = patch.beside(parts);
    for _ in 0..patch.width() / STRIP {
        for offset in (0..VECTORS).map(|v| v * LANES) {
            // SAFETY: by the invariants, since the strip lies in the row.
            unsafe {
                let parts = step(load(sums, offset), load(at, offset), constants);
                store(parts, sums, offset);
            }
        }
        at = at.map(|at| at.wrapping_add(STRIP));
        sums = sums.map(|sum| sum.wrapping_add(STRIP));
    }
    let mut tail = patch.tail();
    while tail > 0 {
        let len = tail.min(LANES);
        // SAFETY: by the invariants, since so many elements of the row are left; behind the last
        // they are 0, and their parts nobody's.
        unsafe {
            let inputs = if len < LANES { load_part(at, len) } else { load(at, 0) };
            store(step(load(sums, 0), inputs, constants), sums, 0);
        }
        at = at.map(|at| at.wrapping_add(LANES));
        sums = sums.map(|sum| sum.wrapping_add(LANES));
        tail -= len;
    }
}

/// Adds the parts of the latest rows to the sums of all before.
#[inline(never)]
fn take_parts(patch: &Patch, parts: Along<2>, sums: &mut Gradients) {
    let parts = patch.beside(parts);
    for column in (0..patch.width()).step_by(LANES) {
        // SAFETY: by its invariant, as whole lanes.
        unsafe {
            sums.add(patch.before + column, load(parts, column));
            store([F32x4::splat(0.0); 2], parts, column);
        }
    }
}

/// # Safety
/// There must be four elements, `offset` further.
#[inline(always)]
unsafe fn store(vectors: [F32x4; 2], to: [*mut f32; 2], offset: usize) {
    for (vector, to) in vectors.into_iter().zip(to) {
        // SAFETY: the caller's.
        unsafe { vector.store(to.add(offset)) };
    }
}
