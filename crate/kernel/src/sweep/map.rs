//! Maps: every element of the output from those of the inputs in its place.
//!
//! ```text
//! for each vector of the patch:  output ← map(inputs, constants)
//! ```

use core::array::from_fn;

use super::patch::{Patch, Walk, load, vectors};
use super::{Pass, STRIP, VECTORS, sweep};
use crate::lanes::{F32x4, LANES};
use crate::layout::{Band, MAX_OPERANDS, Order, TILE};
use crate::workspace::Tile;

/// What a map makes of a vector of every input.
pub trait Map<const I: usize, const P: usize>: Fn([F32x4; I], [F32x4; P]) -> F32x4 + Copy {}

impl<F, const I: usize, const P: usize> Map<I, P> for F where
    F: Fn([F32x4; I], [F32x4; P]) -> F32x4 + Copy
{
}

/// Writes `map(inputs, constants)` over a band's channels of `output`; after a fold best
/// backwards, from what is still in the cache.
pub fn map<const I: usize, const P: usize>(
    pass: &mut Pass,
    band: &Band,
    inputs: [usize; I],
    output: usize,
    order: Order,
    map: impl Map<I, P>,
) {
    let operands: [usize; MAX_OPERANDS] = from_fn(|k| *inputs.get(k).unwrap_or(&output));
    sweep(pass, band, &operands[..=I], order, &mut |patch, tiles| match patch.walk {
        Walk::Rows => map_rows(patch, tiles, map),
        Walk::Strips => map_strips(patch, tiles, map),
        Walk::Run => map_run(patch, &tiles[0], map),
    });
}

#[inline(never)]
fn map_rows<const I: usize, const P: usize>(patch: &Patch, tiles: &[Tile], map: impl Map<I, P>) {
    let mut start: [*mut f32; I] = patch.starts();
    let mut start_to = patch.start(I);
    for _ in 0..patch.rows() {
        let (mut at, mut to) = (start, start_to);
        for tile in &tiles[..patch.width() / TILE] {
            let strip = |lane: usize| {
                // SAFETY: by the patch's invariant, since the tile lies in the row.
                unsafe { map(load(at, lane), vectors(&tile.constants, lane)).store(to.add(lane)) };
            };
            strip(0);
            strip(4);
            strip(8);
            strip(12);
            at = at.map(|at| at.wrapping_add(TILE));
            to = to.wrapping_add(TILE);
        }
        start = from_fn(|i| start[i].wrapping_add(patch.stride(i)));
        start_to = start_to.wrapping_add(patch.stride(I));
    }
}

#[inline(never)]
fn map_strips<const I: usize, const P: usize>(patch: &Patch, tiles: &[Tile], map: impl Map<I, P>) {
    let mut start: [*mut f32; I] = patch.starts();
    let mut start_to = patch.start(I);
    for column in (0..patch.width()).step_by(STRIP) {
        let tile = &tiles[column / TILE];
        let lane = column & (TILE - STRIP);
        let constants: [[F32x4; P]; VECTORS] =
            from_fn(|v| vectors(&tile.constants, lane + v * LANES));
        let (mut at, mut to) = (start, start_to);
        for _ in 0..patch.rows() {
            for (v, constants) in constants.iter().enumerate() {
                // SAFETY: by the patch's invariant, since the strip lies in the row.
                unsafe { map(load(at, v * LANES), *constants).store(to.add(v * LANES)) };
            }
            at = from_fn(|i| at[i].wrapping_add(patch.stride(i)));
            to = to.wrapping_add(patch.stride(I));
        }
        start = start.map(|start| start.wrapping_add(STRIP));
        start_to = start_to.wrapping_add(STRIP);
    }
}

#[inline(never)]
fn map_run<const I: usize, const P: usize>(patch: &Patch, tile: &Tile, map: impl Map<I, P>) {
    let constants: [F32x4; P] = from_fn(|p| F32x4::splat(tile.constants[p][patch.lane()]));
    let mut start: [*mut f32; I] = patch.starts();
    let mut start_to = patch.start(I);
    for _ in 0..patch.rows() {
        let (mut at, mut to) = (start, start_to);
        for _ in 0..patch.width() / STRIP {
            for v in 0..VECTORS {
                // SAFETY: by the patch's invariant, since a strip of the row is left.
                unsafe { map(load(at, v * LANES), constants).store(to.add(v * LANES)) };
            }
            at = at.map(|at| at.wrapping_add(STRIP));
            to = to.wrapping_add(STRIP);
        }
        let mut tail = patch.width() % STRIP;
        if tail >= LANES {
            // SAFETY: by the patch's invariant, since a vector of the row is left.
            unsafe { map(load(at, 0), constants).store(to) };
            at = at.map(|at| at.wrapping_add(LANES));
            to = to.wrapping_add(LANES);
            tail -= LANES;
        }
        for _ in 0..tail {
            // SAFETY: by the patch's invariant, since an element of the row is left.
            unsafe {
                let inputs = from_fn(|i| F32x4::splat(0.0).load_first(at[i]));
                map(inputs, constants).store_first(to);
            }
            at = at.map(|at| at.wrapping_add(1));
            to = to.wrapping_add(1);
        }
        start = from_fn(|i| start[i].wrapping_add(patch.stride(i)));
        start_to = start_to.wrapping_add(patch.stride(I));
    }
}
