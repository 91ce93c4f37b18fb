//! The only loops over elements: a *fold* adds up two sums for every column, a *map* writes
//! every element. What is added or written is a closure on vectors.
//!
//! ```text
//! for each channel, for each element of it:
//!     fold:  sums[channel] ← step(sums[channel], inputs, constants[channel])
//!     map:   output        ← map(inputs, constants[channel])
//! ```
//!
//! What departs from that, and why:
//!
//! 1. Elements come in *pieces*, as they lie in memory, those of several channels by turns
//!    ([`crate::layout`]): memory is read in order, and backwards from what is still in the
//!    cache.
//! 2. A channel has *columns*, each with constants and sums of its own: the constants are
//!    spread to them before, and the sums collected after ([`crate::workspace`]). So four
//!    columns are a vector, whatever channels they are of.
//! 3. Sixteen steps are added up in f32, and then in f64: rounding errors grow with the
//!    number of additions in a row ([`mod@fold`]).
//! 4. There are three ways through a piece, each a loop ([`Walk`]): *rows* of columns, each
//!    from its first column to its last: memory is read in order, but constants and sums come
//!    from memory, too; *strips* of columns, two vectors side by side, through some rows:
//!    constants and sums stay in registers, but memory is read crosswise; a *run* of one
//!    channel. Which one is a matter of speed.
//! 5. What is left of a row, behind whole tiles or strips, is walked column by column, as runs
//!    of width one, and what is left of a run element by element.
//! 6. Where f32's range may not do, a channel is summed up once more, in f64 ([`fold_wide`]).

mod fold;
mod map;
mod patch;
mod wide;

use crate::Cells;
use crate::lanes::LANES;
use crate::layout::{Band, Form, Layout, MAX_OPERANDS, Order, Piece, TILE};
use crate::workspace::{Tile, Workspace};

pub use fold::fold;
pub use map::map;
use patch::{Patch, Walk};
pub use wide::fold_wide;

/// Steps that are added up in f32 before their sums are added in f64.
const CHUNK: usize = 16;

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
    /// Constants and sums of the channels.
    pub workspace: &'a mut Workspace,
}

/// Whether columns of so many tensors are best walked row by row.
fn by_row(layout: &Layout, operands: usize) -> bool {
    let row = layout.columns() * operands;
    row >= WIDE || layout.len() * operands >= layout.limits.cached && row > NARROW
}

/// Calls `leaf` with all of a band in patches, and with the tiles of a patch's columns. Patches
/// of columns have no more rows than [`CHUNK`].
#[inline(never)]
fn sweep(
    pass: &mut Pass,
    band: &Band,
    operands: &[usize],
    order: Order,
    leaf: &mut dyn FnMut(&Patch, &mut [Tile]),
) {
    let Pass { layout, tensors, ref mut workspace } = *pass;
    workspace.spread(layout);
    let tiles = &mut workspace.tiles[..];
    // In place, the output is no memory of its own.
    let apart = operands.iter().filter(|&&k| tensors[k].as_ptr() != tensors[operands[0]].as_ptr());
    let (walk, unit) =
        if by_row(layout, 1 + apart.count()) { (Walk::Rows, TILE) } else { (Walk::Strips, STRIP) };
    layout.walk(band, order, &mut |column, piece| {
        let all = Patch::new(&tensors, operands, piece, column % TILE);
        if layout.form == Form::Runs {
            leaf(&all, &mut tiles[column / TILE..]);
            return;
        }
        let Piece { rows, width, .. } = *piece;
        let whole = width - width % unit;
        for above in (0..rows).step_by(CHUNK) {
            let below = rows.min(above + CHUNK);
            leaf(&all.part(walk, above..below, 0..whole), tiles);
        }
        for column in whole..width {
            leaf(&all.part(Walk::Run, 0..rows, column..column + 1), &mut tiles[column / TILE..]);
        }
    });
}
