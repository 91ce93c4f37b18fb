//! The only loops over elements.
//!
//! A *fold* adds up two sums for every column, a *map* writes every element. What is
//! added or written is a closure on vectors. There are three ways through memory, and
//! each has its loop for folds and for maps:
//!
//! - *rows* of columns, each from its first column to its last: memory is read in order,
//!   but constants and sums come from memory, too;
//! - *strips* of columns, two vectors side by side, through some rows: their constants and
//!   sums stay in registers, but memory is read crosswise;
//! - a *run* of one channel.

use core::array::from_fn;
use core::ops::Range;

use crate::Cells;
use crate::lanes::{F32x4, F64x2, LANES};
use crate::layout::{Block, Form, Layout, MAX_OPERANDS, TILE};
use crate::workspace::{Tile, Workspace};

/// Steps that are added up in f32 before their sums are added in f64: rounding errors
/// grow with the number of additions in a row.
const CHUNK: usize = 16;

/// Elements of all operands that lie in the nearer caches after a call before it: there
/// the order of reading does not matter much, and strips need fewer constants.
const CACHED: usize = 1 << 19;

/// Elements of all operands' rows up to which memory is still prefetched when sixteen
/// rows of a strip are walked before the next strip.
const NARROW: usize = 64;

/// Elements of all operands' rows from which on sixteen of them evict each other: they are
/// pages apart, and share a place in the nearest cache.
const WIDE: usize = 1024;

/// Vectors side by side whose sums and constants fit the registers.
const VECTORS: usize = 2;

/// Their columns.
const STRIP: usize = VECTORS * LANES;

/// What an operation works on.
pub struct Pass<'a> {
    /// How the tensors lie.
    pub layout: &'a Layout,
    /// The layout's operands; empty where there are fewer.
    pub tensors: [Cells<'a>; MAX_OPERANDS],
    /// The channels that are worked on now.
    pub group: Range<usize>,
    /// Their constants and sums.
    pub workspace: &'a mut Workspace,
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

/// Sums up the group's channels over the operands `inputs`.
pub fn fold<const I: usize, const P: usize>(
    pass: &mut Pass,
    inputs: [usize; I],
    step: impl Step<I, P>,
) {
    sweep(pass, &inputs, false, true, &mut |patch, tiles| match patch.walk {
        Walk::Rows => fold_rows(patch, tiles, step),
        Walk::Strips => fold_strips(patch, tiles, step),
        Walk::Run => fold_run(patch, &mut tiles[0], step),
    });
}

/// Writes `map(inputs, constants)` over the group's channels; after a fold best backwards,
/// from what is still in the cache. The last one of the `operands` is the output.
pub fn apply<const I: usize, const P: usize>(
    pass: &mut Pass,
    operands: &[usize],
    backwards: bool,
    map: impl Map<I, P>,
) {
    sweep(pass, operands, backwards, false, &mut |patch, tiles| match patch.walk {
        Walk::Rows => map_rows(patch, tiles, map),
        Walk::Strips => map_strips(patch, tiles, map),
        Walk::Run => map_run(patch, &tiles[0], map),
    });
}

/// Sums up e = dy − q and (x − c)·e of one channel, without vectors and so slowly; x and dy
/// may be the same operand.
#[cold]
pub fn fold_in_f64(
    pass: &Pass,
    channel: usize,
    operands: [usize; 2],
    centers: [f64; 2],
) -> [f64; 2] {
    let layout = pass.layout;
    let mut sums = [0.0; 2];
    let group = match layout.form {
        Form::Runs => channel..channel + 1,
        Form::Columns => 0..layout.channels,
    };
    layout.walk(group, false, &mut |_, block| {
        // A channel's columns come again and again, some side by side.
        let (first, side_by_side, period) = match layout.form {
            Form::Runs => (0, block.width, block.width),
            Form::Columns => layout.columns_of(channel),
        };
        for row in 0..block.rows {
            for first in (first..block.width).step_by(period) {
                for column in first..first + side_by_side {
                    let [d, e] = from_fn(|i| {
                        let operand = operands[i];
                        let place = block.start[operand] + row * block.stride[operand] + column;
                        f64::from(pass.tensors[operand][place].get()) - centers[i]
                    });
                    sums[0] += e;
                    sums[1] += d * e;
                }
            }
        }
    });
    sums
}

/// A part of a block, and how a leaf walks it.
struct Patch {
    walk: Walk,
    /// Where it begins in each operand.
    at: [*mut f32; MAX_OPERANDS],
    rows: usize,
    /// From one row to the next in each operand.
    stride: [usize; MAX_OPERANDS],
    /// Elements of a row.
    width: usize,
    /// The column of the first tile that it begins with.
    lane: usize,
}

/// Ways to walk rows.
#[derive(Clone, Copy)]
enum Walk {
    /// Columns, row after row; whole tiles.
    Rows,
    /// Columns, strip after strip; whole strips. No more rows than [`CHUNK`].
    Strips,
    /// All of one channel, or one column.
    Run,
}

/// Whether columns of so many tensors are best walked row by row.
fn by_row(layout: &Layout, operands: usize) -> bool {
    let row = layout.columns() * operands;
    row >= WIDE || layout.len() * operands >= CACHED && row > NARROW
}

/// Calls `leaf` with all of the group in patches, and with the tiles of a patch's columns;
/// takes in what it has summed up, if it has.
#[inline(never)]
fn sweep(
    pass: &mut Pass,
    operands: &[usize],
    backwards: bool,
    sums: bool,
    leaf: &mut dyn FnMut(&Patch, &mut [Tile]),
) {
    let Pass { layout, tensors, ref group, ref mut workspace } = *pass;
    workspace.begin(layout, group.clone(), sums);
    let tiles = &mut workspace.tiles[..];
    // In place, the output is no memory of its own.
    let apart = operands.iter().filter(|&&k| tensors[k].as_ptr() != tensors[operands[0]].as_ptr());
    let (walk, unit) =
        if by_row(layout, 1 + apart.count()) { (Walk::Rows, TILE) } else { (Walk::Strips, STRIP) };
    layout.walk(group.clone(), backwards, &mut |column, block| {
        let Block { rows, width, .. } = *block;
        let mut at = [core::ptr::null_mut(); MAX_OPERANDS];
        let mut stride = [0; MAX_OPERANDS];
        for (k, &operand) in operands.iter().enumerate() {
            let start = block.start[operand];
            stride[k] = block.stride[operand];
            let cells = &tensors[operand][start..start + (rows - 1) * stride[k] + width];
            at[k] = cells.as_ptr().cast::<f32>().cast_mut();
        }
        let mut patch = Patch { walk: Walk::Run, at, rows, stride, width, lane: column % TILE };
        if layout.form == Form::Runs {
            leaf(&patch, &mut tiles[column / TILE..]);
            return;
        }
        let whole = width - width % unit;
        (patch.walk, patch.width) = (walk, whole);
        for above in (0..rows).step_by(CHUNK) {
            patch.rows = CHUNK.min(rows - above);
            leaf(&patch, tiles);
            for (at, stride) in patch.at.iter_mut().zip(stride) {
                *at = at.wrapping_add(stride * CHUNK);
            }
            if sums {
                for column in (0..whole).step_by(LANES) {
                    tiles[column / TILE].take_parts(column % TILE);
                }
            }
        }
        // What is left of a row, column by column.
        (patch.walk, patch.rows, patch.width) = (Walk::Run, rows, 1);
        for column in whole..width {
            (patch.at, patch.lane) = (at.map(|at| at.wrapping_add(column)), column % TILE);
            leaf(&patch, &mut tiles[column / TILE..]);
        }
    });
    if sums {
        workspace.collect(layout);
    }
}

#[inline(never)]
fn fold_rows<const I: usize, const P: usize>(
    patch: &Patch,
    tiles: &mut [Tile],
    step: impl Step<I, P>,
) {
    let mut start: [*mut f32; I] = from_fn(|i| patch.at[i]);
    for _ in 0..patch.rows {
        let mut at = start;
        for tile in &mut tiles[..patch.width / TILE] {
            let mut strip = |lane: usize| {
                let constants: [F32x4; P] = vectors(&tile.constants, lane);
                // SAFETY: the tile lies in the row.
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
        start = from_fn(|i| start[i].wrapping_add(patch.stride[i]));
    }
}

#[inline(never)]
fn fold_strips<const I: usize, const P: usize>(
    patch: &Patch,
    tiles: &mut [Tile],
    step: impl Step<I, P>,
) {
    let mut start: [*mut f32; I] = from_fn(|i| patch.at[i]);
    for column in (0..patch.width).step_by(STRIP) {
        let tile = &mut tiles[column / TILE];
        // A strip never crosses tiles; so the compiler sees it.
        let lane = column & (TILE - STRIP);
        let constants: [[F32x4; P]; VECTORS] =
            from_fn(|v| vectors(&tile.constants, lane + v * LANES));
        let mut parts = [[F32x4::splat(0.0); 2]; VECTORS];
        let mut at = start;
        for _ in 0..patch.rows {
            for (v, part) in parts.iter_mut().enumerate() {
                // SAFETY: the strip lies in the row.
                *part = step(*part, unsafe { load(at, v * LANES) }, constants[v]);
            }
            at = from_fn(|i| at[i].wrapping_add(patch.stride[i]));
        }
        for (v, part) in parts.iter().enumerate() {
            store_parts(*part, &mut tile.parts, lane + v * LANES);
        }
        start = start.map(|start| start.wrapping_add(STRIP));
    }
}

#[inline(never)]
fn fold_run<const I: usize, const P: usize>(patch: &Patch, tile: &mut Tile, step: impl Step<I, P>) {
    let constants: [F32x4; P] = from_fn(|p| F32x4::splat(tile.constants[p][patch.lane]));
    let mut parts = [[F32x4::splat(0.0); 2]; VECTORS];
    let mut totals = [F64x2::splat(0.0); 2];
    let mut added = 0;
    let mut start: [*mut f32; I] = from_fn(|i| patch.at[i]);
    for row in 0..patch.rows {
        let mut at = start;
        let mut rest = patch.width / STRIP;
        loop {
            let now = rest.min(CHUNK - added);
            for _ in 0..now {
                for (v, part) in parts.iter_mut().enumerate() {
                    // SAFETY: a strip of the row is left.
                    *part = step(*part, unsafe { load(at, v * LANES) }, constants);
                }
                at = at.map(|at| at.wrapping_add(STRIP));
            }
            added += now;
            rest -= now;
            if rest == 0 {
                let mut tail = patch.width % STRIP;
                added += tail;
                if tail >= LANES {
                    // SAFETY: a vector of the row is left.
                    parts[0] = step(parts[0], unsafe { load(at, 0) }, constants);
                    at = at.map(|at| at.wrapping_add(LANES));
                    tail -= LANES;
                }
                for _ in 0..tail {
                    // SAFETY: an element of the row is left.
                    let inputs = from_fn(|i| unsafe { constants[i].load_first(at[i]) });
                    parts[0] = step(parts[0], inputs, constants);
                    at = at.map(|at| at.wrapping_add(1));
                }
            }
            if added >= CHUNK || (rest == 0 && row + 1 == patch.rows) {
                for (kind, total) in totals.iter_mut().enumerate() {
                    for part in &parts {
                        let [low, high] = part[kind].widen();
                        *total = *total + (low + high);
                    }
                }
                parts = [[F32x4::splat(0.0); 2]; VECTORS];
                added = 0;
            }
            if rest == 0 {
                break;
            }
        }
        start = from_fn(|i| start[i].wrapping_add(patch.stride[i]));
    }
    for (sums, total) in tile.sums.iter_mut().zip(totals) {
        sums[patch.lane] += total.sum();
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

impl Tile {
    /// Adds the sums of the latest rows to those of all before, of four columns.
    #[inline(always)]
    fn take_parts(&mut self, lane: usize) {
        for (sums, parts) in self.sums.iter_mut().zip(&mut self.parts) {
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

#[inline(never)]
fn map_rows<const I: usize, const P: usize>(patch: &Patch, tiles: &[Tile], map: impl Map<I, P>) {
    let mut start: [*mut f32; I] = from_fn(|i| patch.at[i]);
    let mut start_to = patch.at[I];
    for _ in 0..patch.rows {
        let (mut at, mut to) = (start, start_to);
        for tile in &tiles[..patch.width / TILE] {
            let strip = |lane: usize| {
                // SAFETY: the tile lies in the row.
                unsafe { map(load(at, lane), vectors(&tile.constants, lane)).store(to.add(lane)) };
            };
            strip(0);
            strip(4);
            strip(8);
            strip(12);
            at = at.map(|at| at.wrapping_add(TILE));
            to = to.wrapping_add(TILE);
        }
        start = from_fn(|i| start[i].wrapping_add(patch.stride[i]));
        start_to = start_to.wrapping_add(patch.stride[I]);
    }
}

#[inline(never)]
fn map_strips<const I: usize, const P: usize>(patch: &Patch, tiles: &[Tile], map: impl Map<I, P>) {
    let mut start: [*mut f32; I] = from_fn(|i| patch.at[i]);
    let mut start_to = patch.at[I];
    for column in (0..patch.width).step_by(STRIP) {
        let tile = &tiles[column / TILE];
        let lane = column & (TILE - STRIP);
        let constants: [[F32x4; P]; VECTORS] =
            from_fn(|v| vectors(&tile.constants, lane + v * LANES));
        let (mut at, mut to) = (start, start_to);
        for _ in 0..patch.rows {
            for (v, constants) in constants.iter().enumerate() {
                // SAFETY: the strip lies in the row.
                unsafe { map(load(at, v * LANES), *constants).store(to.add(v * LANES)) };
            }
            at = from_fn(|i| at[i].wrapping_add(patch.stride[i]));
            to = to.wrapping_add(patch.stride[I]);
        }
        start = start.map(|start| start.wrapping_add(STRIP));
        start_to = start_to.wrapping_add(STRIP);
    }
}

#[inline(never)]
fn map_run<const I: usize, const P: usize>(patch: &Patch, tile: &Tile, map: impl Map<I, P>) {
    let constants: [F32x4; P] = from_fn(|p| F32x4::splat(tile.constants[p][patch.lane]));
    let mut start: [*mut f32; I] = from_fn(|i| patch.at[i]);
    let mut start_to = patch.at[I];
    for _ in 0..patch.rows {
        let (mut at, mut to) = (start, start_to);
        for _ in 0..patch.width / STRIP {
            for v in 0..VECTORS {
                // SAFETY: a strip of the row is left.
                unsafe { map(load(at, v * LANES), constants).store(to.add(v * LANES)) };
            }
            at = at.map(|at| at.wrapping_add(STRIP));
            to = to.wrapping_add(STRIP);
        }
        let mut tail = patch.width % STRIP;
        if tail >= LANES {
            // SAFETY: a vector of the row is left.
            unsafe { map(load(at, 0), constants).store(to) };
            at = at.map(|at| at.wrapping_add(LANES));
            to = to.wrapping_add(LANES);
            tail -= LANES;
        }
        for _ in 0..tail {
            // SAFETY: an element of the row is left.
            unsafe {
                let inputs = from_fn(|i| F32x4::splat(0.0).load_first(at[i]));
                map(inputs, constants).store_first(to);
            }
            at = at.map(|at| at.wrapping_add(1));
            to = to.wrapping_add(1);
        }
        start = from_fn(|i| start[i].wrapping_add(patch.stride[i]));
        start_to = start_to.wrapping_add(patch.stride[I]);
    }
}

/// A vector of every input, `offset` elements further.
///
/// # Safety
/// These elements must be readable.
#[inline(always)]
unsafe fn load<const I: usize>(at: [*mut f32; I], offset: usize) -> [F32x4; I] {
    // SAFETY: the caller's.
    from_fn(|i| unsafe { F32x4::load(at[i].add(offset)) })
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
