//! Folds: two sums for every column.
//!
//! ```text
//! for each vector of the patch:  parts ← step(parts, inputs, constants)      in f32
//! after sixteen of them:         sums ← sums + parts, parts ← 0              in f64
//! ```

use core::array::from_fn;

use super::patch::{Patch, Walk, load, vectors};
use super::{CHUNK, Pass, STRIP, VECTORS, sweep};
use crate::lanes::{F32x4, F64x2, LANES};
use crate::layout::{Band, Order, TILE};
use crate::workspace::Tile;

/// What a fold does with a vector of every input: returns the sums with it.
pub trait Step<const I: usize, const P: usize>:
    Fn([F32x4; 2], [F32x4; I], [F32x4; P]) -> [F32x4; 2] + Copy
{
}

impl<F, const I: usize, const P: usize> Step<I, P> for F where
    F: Fn([F32x4; 2], [F32x4; I], [F32x4; P]) -> [F32x4; 2] + Copy
{
}

/// Sums up a band's channels over the operands `inputs`.
pub fn fold<const I: usize, const P: usize>(
    pass: &mut Pass,
    band: &Band,
    inputs: [usize; I],
    step: impl Step<I, P>,
) {
    pass.workspace.clear_sums(pass.layout, band);
    sweep(pass, band, &inputs, Order::Forwards, &mut |patch, tiles| {
        match patch.walk {
            Walk::Rows => fold_rows(patch, tiles, step),
            Walk::Strips => fold_strips(patch, tiles, step),
            Walk::Run => return fold_run(patch, &mut tiles[0], step),
        }
        take_parts(tiles, patch.width());
    });
    pass.workspace.collect(pass.layout);
}

#[inline(never)]
fn fold_rows<const I: usize, const P: usize>(
    patch: &Patch,
    tiles: &mut [Tile],
    step: impl Step<I, P>,
) {
    let mut start: [*mut f32; I] = patch.starts();
    for _ in 0..patch.rows() {
        let mut at = start;
        for tile in &mut tiles[..patch.width() / TILE] {
            let mut strip = |lane: usize| {
                let constants: [F32x4; P] = vectors(&tile.constants, lane);
                // SAFETY: by the patch's invariant, since the tile lies in the row.
                let inputs = unsafe { load(at, lane) };
                let parts = step(vectors(&tile.parts, lane), inputs, constants);
                store_parts(parts, &mut tile.parts, lane);
            };
            // Four times the same, not a loop: it would stay one.
            strip(0);
            strip(4);
            strip(8);
            strip(12);
            at = at.map(|at| at.wrapping_add(TILE));
        }
        start = from_fn(|i| start[i].wrapping_add(patch.stride(i)));
    }
}

#[inline(never)]
fn fold_strips<const I: usize, const P: usize>(
    patch: &Patch,
    tiles: &mut [Tile],
    step: impl Step<I, P>,
) {
    let mut start: [*mut f32; I] = patch.starts();
    for column in (0..patch.width()).step_by(STRIP) {
        let tile = &mut tiles[column / TILE];
        // A strip never crosses tiles; so the compiler sees it.
        let lane = column & (TILE - STRIP);
        let constants: [[F32x4; P]; VECTORS] =
            from_fn(|v| vectors(&tile.constants, lane + v * LANES));
        let mut parts = [[F32x4::splat(0.0); 2]; VECTORS];
        let mut at = start;
        for _ in 0..patch.rows() {
            for (v, part) in parts.iter_mut().enumerate() {
                // SAFETY: by the patch's invariant, since the strip lies in the row.
                *part = step(*part, unsafe { load(at, v * LANES) }, constants[v]);
            }
            at = from_fn(|i| at[i].wrapping_add(patch.stride(i)));
        }
        for (v, part) in parts.iter().enumerate() {
            store_parts(*part, &mut tile.parts, lane + v * LANES);
        }
        start = start.map(|start| start.wrapping_add(STRIP));
    }
}

#[inline(never)]
fn fold_run<const I: usize, const P: usize>(patch: &Patch, tile: &mut Tile, step: impl Step<I, P>) {
    let constants: [F32x4; P] = from_fn(|p| F32x4::splat(tile.constants[p][patch.lane()]));
    let mut parts = [[F32x4::splat(0.0); 2]; VECTORS];
    let mut totals = [F64x2::splat(0.0); 2];
    let mut added = 0;
    let mut start: [*mut f32; I] = patch.starts();
    for row in 0..patch.rows() {
        let mut at = start;
        let mut left = patch.width() / STRIP;
        loop {
            let now = left.min(CHUNK - added);
            for _ in 0..now {
                for (v, part) in parts.iter_mut().enumerate() {
                    // SAFETY: by the patch's invariant, since a strip of the row is left.
                    *part = step(*part, unsafe { load(at, v * LANES) }, constants);
                }
                at = at.map(|at| at.wrapping_add(STRIP));
            }
            added += now;
            left -= now;
            if left == 0 {
                let mut tail = patch.width() % STRIP;
                added += tail;
                if tail >= LANES {
                    // SAFETY: by the patch's invariant, since a vector of the row is left.
                    parts[0] = step(parts[0], unsafe { load(at, 0) }, constants);
                    at = at.map(|at| at.wrapping_add(LANES));
                    tail -= LANES;
                }
                for _ in 0..tail {
                    // SAFETY: by the patch's invariant, since an element of the row is left.
                    let inputs = from_fn(|i| unsafe { constants[i].load_first(at[i]) });
                    parts[0] = step(parts[0], inputs, constants);
                    at = at.map(|at| at.wrapping_add(1));
                }
            }
            if added >= CHUNK || (left == 0 && row + 1 == patch.rows()) {
                for (kind, total) in totals.iter_mut().enumerate() {
                    for part in &parts {
                        let [low, high] = part[kind].widen();
                        *total = *total + (low + high);
                    }
                }
                parts = [[F32x4::splat(0.0); 2]; VECTORS];
                added = 0;
            }
            if left == 0 {
                break;
            }
        }
        start = from_fn(|i| start[i].wrapping_add(patch.stride(i)));
    }
    for (sums, total) in tile.sums.iter_mut().zip(totals) {
        sums[patch.lane()] += total.sum();
    }
}

#[inline(always)]
fn store_parts(parts: [F32x4; 2], to: &mut [[f32; TILE]; 2], lane: usize) {
    for (to, part) in to.iter_mut().zip(parts) {
        let four = &mut to[lane..][..LANES];
        // SAFETY: there are four.
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
