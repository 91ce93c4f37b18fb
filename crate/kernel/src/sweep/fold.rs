//! Folds: two sums for every column.
//!
//! ```text
//! for each vector of the patch:  parts ← step(parts, inputs, constants)      in f32
//! after sixteen of them:         sums ← sums + parts, parts ← 0              in f64
//! ```

use core::array::from_fn;
use core::mem::replace;
use core::ops::Range;

use super::map::gate_lines;
use super::patch::{Patch, load, load_part, vectors};
use super::{CHUNK, Leaf, Pass, STRIP, VECTORS, Walk, shared, sweep};
use crate::lanes::{F32x4, F64x2, LANES};
use crate::layout::{Band, Lines, Order, TILE};
use crate::workspace::{Tile, Turn};

/// What a fold does with a vector of every input: returns the sums with it.
pub trait Step<const I: usize, const P: usize>:
    Fn([F32x4; 2], [F32x4; I], [F32x4; P]) -> [F32x4; 2] + Copy
{
}

impl<F, const I: usize, const P: usize> Step<I, P> for F where
    F: Fn([F32x4; 2], [F32x4; I], [F32x4; P]) -> [F32x4; 2] + Copy
{
}

/// Sums up a band's channels over the operands `inputs`, and weights if `step` takes one more: each
/// block for itself, and then the blocks, in their order.
pub fn fold<const T: usize, const I: usize, const P: usize>(
    pass: &mut Pass,
    band: &Band,
    inputs: [usize; T],
    step: impl Step<I, P>,
) {
    fold_by(pass, band, &inputs, &|walk, patch, tiles| match walk {
        // Weights come beside as many rows.
        Walk::Columns(_) if I > T => fold_columns::<T, I, P>(patch, CHUNK, tiles, step),
        Walk::Columns(at_once) => fold_columns::<T, I, P>(patch, at_once, tiles, step),
        Walk::Runs => fold_runs::<T, I, P>(patch, tiles, step),
    });
}

/// [`fold`] with what it does with a patch. (Compiled once.)
#[inline(never)]
fn fold_by(pass: &mut Pass, band: &Band, inputs: &[usize], leaf: &Leaf) {
    let layout = pass.layout;
    pass.workspace.spread(layout);
    let is_shared = shared::fold(pass, band, inputs, leaf);
    let mut turn = Turn::First;
    for (block, lines) in layout.blocks().enumerate() {
        pass.workspace.turn(layout, band, turn);
        turn = if turn == Turn::First { Turn::Second } else { Turn::Next };
        if is_shared {
            shared::take_block(pass, band, block);
        } else {
            fold_lines(pass, band, lines, inputs, leaf);
        }
    }
    if turn == Turn::Next {
        pass.workspace.turn(layout, band, Turn::Last);
    }
    pass.workspace.collect(layout);
}

/// Sums up some lines of a band; what is gated right before comes back at once, from the nearer
/// caches.
#[inline(always)]
pub(super) fn fold_lines(
    pass: &mut Pass,
    band: &Band,
    lines: Lines,
    inputs: &[usize],
    leaf: &Leaf,
) {
    if let Some(gated) = pass.gated {
        let tensors = replace(&mut pass.tensors, gated);
        gate_lines(pass, band, lines.clone());
        pass.tensors = tensors;
    }
    sweep(pass, band, lines, inputs, Order::Forwards, leaf);
}

/// Columns, some rows at once: a divisor of [`CHUNK`].
fn fold_columns<const T: usize, const I: usize, const P: usize>(
    patch: &Patch,
    at_once: usize,
    tiles: &mut [Tile],
    step: impl Step<I, P>,
) {
    for above in (0..patch.rows()).step_by(at_once) {
        let rows = above..patch.rows().min(above + at_once);
        if at_once == 1 {
            fold_row::<T, I, P>(patch, above, tiles, step);
        } else {
            fold_strips::<T, I, P>(patch, rows.clone(), tiles, step);
        }
        if rows.end % CHUNK == 0 || rows.end == patch.rows() {
            take_parts(tiles, patch.whole());
        }
    }
}

/// Strip after strip, each through all rows: constants and sums stay in registers.
#[inline(never)]
fn fold_strips<const T: usize, const I: usize, const P: usize>(
    patch: &Patch,
    rows: Range<usize>,
    tiles: &mut [Tile],
    step: impl Step<I, P>,
) {
    let mut start = patch.row::<T, I>(rows.start);
    for column in (0..patch.whole()).step_by(STRIP) {
        let tile = &mut tiles[column / TILE];
        // A strip never crosses tiles; so the compiler sees it.
        let lane = column & (TILE - STRIP);
        let constants: [[F32x4; P]; VECTORS] =
            from_fn(|v| vectors(&tile.constants, lane + v * LANES));
        let mut parts: [[F32x4; 2]; VECTORS] = from_fn(|v| vectors(&tile.parts, lane + v * LANES));
        let mut at = start;
        for _ in rows.clone() {
            for (v, part) in parts.iter_mut().enumerate() {
                // SAFETY: by the patch's invariant, since the strip lies in the row.
                *part = step(*part, unsafe { load(at, v * LANES) }, constants[v]);
            }
            patch.go_down::<T, I>(&mut at);
        }
        for (v, part) in parts.into_iter().enumerate() {
            store_parts(part, &mut tile.parts, lane + v * LANES);
        }
        patch.go_on::<T, I>(&mut start, STRIP);
    }
}

/// One row: memory is read in order, constants and sums come from memory, too.
#[inline(never)]
fn fold_row<const T: usize, const I: usize, const P: usize>(
    patch: &Patch,
    row: usize,
    tiles: &mut [Tile],
    step: impl Step<I, P>,
) {
    let mut at = patch.row::<T, I>(row);
    let mut left = patch.whole();
    for tile in tiles {
        let mut strip = |lane: usize| {
            for lane in [lane, lane + LANES] {
                let constants: [F32x4; P] = vectors(&tile.constants, lane);
                // SAFETY: by the patch's invariant, since the strip lies in the row.
                let inputs = unsafe { load(at, lane) };
                let parts = step(vectors(&tile.parts, lane), inputs, constants);
                store_parts(parts, &mut tile.parts, lane);
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
    }
}

/// The first `len` elements of every input; behind them the first constants, which are inputs
/// that add nothing.
///
/// # Safety
/// These elements must be readable.
#[inline(always)]
unsafe fn load_some<const I: usize, const P: usize>(
    at: [*mut f32; I],
    len: usize,
    constants: [F32x4; P],
) -> [F32x4; I] {
    // SAFETY: the caller's.
    let inputs: [F32x4; I] = unsafe { load_part(at, len) };
    from_fn(|i| inputs[i].first(len, constants[i]))
}

#[inline(always)]
fn store_parts(parts: [F32x4; 2], to: &mut [[f32; TILE]; 2], lane: usize) {
    for (to, part) in to.iter_mut().zip(parts) {
        let four = &mut to[lane..][..LANES];
        // SAFETY: there are pair.
        unsafe { part.store(four.as_mut_ptr()) };
    }
}

/// Adds the sums of the latest rows to those of all before.
#[inline(never)]
fn take_parts(tiles: &mut [Tile], columns: usize) {
    for column in (0..columns).step_by(LANES) {
        let Tile { parts, sums, .. } = &mut tiles[column / TILE];
        let lane = column % TILE;
        for (sums, parts) in sums.iter_mut().zip(parts) {
            let (sums, parts) = (&mut sums[lane..][..LANES], &mut parts[lane..][..LANES]);
            // SAFETY: there are four of each.
            unsafe {
                let [low, high] = F32x4::load(parts.as_ptr()).widen();
                (F64x2::load(sums.as_ptr()) + low).store(sums.as_mut_ptr());
                (F64x2::load(sums.as_ptr().add(2)) + high).store(sums.as_mut_ptr().add(2));
                F32x4::splat(0.0).store(parts.as_mut_ptr());
            }
        }
    }
}

/// Every row is a run, of a column of its own.
#[inline(never)]
fn fold_runs<const T: usize, const I: usize, const P: usize>(
    patch: &Patch,
    tiles: &mut [Tile],
    step: impl Step<I, P>,
) {
    let zero = [[F32x4::splat(0.0); 2]; VECTORS];
    for row in 0..patch.rows() {
        let column = patch.column + row;
        let tile = &mut tiles[column / TILE];
        let constants: [F32x4; P] = from_fn(|p| F32x4::splat(tile.constants[p][column % TILE]));
        let mut at = patch.row::<T, I>(row);
        let mut parts = zero;
        let mut totals = [F64x2::splat(0.0); 2];
        let mut left = patch.width() / STRIP;
        loop {
            for _ in 0..left.min(CHUNK) {
                for (v, part) in parts.iter_mut().enumerate() {
                    // SAFETY: by the patch's invariant, since a strip of the row is left.
                    *part = step(*part, unsafe { load(at, v * LANES) }, constants);
                }
                at = at.map(|at| at.wrapping_add(STRIP));
            }
            if left <= CHUNK {
                break;
            }
            left -= CHUNK;
            take_in(&mut totals, &parts);
            parts = zero;
        }
        let mut tail = patch.width() % STRIP;
        if tail >= LANES {
            // SAFETY: by the patch's invariant, since a vector of the row is left.
            parts[0] = step(parts[0], unsafe { load(at, 0) }, constants);
            at = at.map(|at| at.wrapping_add(LANES));
            tail -= LANES;
        }
        if tail > 0 {
            // SAFETY: by the patch's invariant, since so many elements of the row are left.
            parts[1] = step(parts[1], unsafe { load_some(at, tail, constants) }, constants);
        }
        take_in(&mut totals, &parts);
        for (sums, total) in tile.sums.iter_mut().zip(totals) {
            sums[column % TILE] += total.sum();
        }
    }
}

/// Adds sums in f32 to those in f64.
#[inline(always)]
fn take_in(totals: &mut [F64x2; 2], parts: &[[F32x4; 2]; VECTORS]) {
    for (kind, total) in totals.iter_mut().enumerate() {
        for part in parts {
            let [low, high] = part[kind].widen();
            *total = *total + (low + high);
        }
    }
}
