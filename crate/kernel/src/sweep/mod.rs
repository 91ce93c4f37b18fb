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
//! 1. Elements come as they lie in memory, image by image with the channels inside, or row by
//!    row across them, in *pieces* ([`crate::layout`]): what is read in order is prefetched.
//!    After a fold pieces come backwards, from what is still in the cache.
//! 2. A channel has *columns*, each with constants and sums of its own: the constants are
//!    spread to them before, and the sums collected after ([`crate::workspace`]). So four
//!    columns are a vector, whatever channels they are of.
//! 3. Sixteen steps are added up in f32, and then in f64: rounding errors grow with the
//!    number of additions in a row ([`mod@fold`]).
//! 4. Each block is summed up for itself, and then the blocks in their order
//!    ([`crate::layout::Blocks`]): the result is the same whoever has done which of them.
//! 5. There are three ways through a patch, each a loop: a *run* of one channel; *strips* of
//!    columns, two vectors side by side, through some rows: constants and sums stay in
//!    registers; a single *row*, for what is far: constants and sums come from memory, too.
//!    Which one is a matter of speed ([`walk_of`]), and no bit of a result depends on it.
//! 6. What is left of a row behind whole strips is walked as runs of one element, and what is
//!    left of a run as a vector of fewer elements.
//! 7. Runs that cross what γ and β belong to take these as vectors *along* them, and what is
//!    summed up for γ and β is summed up *across* the runs ([`mod@across`]).
//! 8. Weights, one for each element of a channel and the same in all of them, are one more input:
//!    of runs as they are, of columns spread out, some rows at a time ([`mod@weights`]).
//! 9. What a crew shares is cut further, into stretches of lines and of channels ([`crate::crew`]).
//! 10. Where f32's range may not do, a channel is summed up once more, in f64 ([`fold_wide`]).

mod across;
mod fold;
mod map;
mod patch;
#[cfg(any(feature = "threads", not(target_family = "wasm")))]
mod shared;
mod transpose;
mod weights;
mod wide;

use crate::Cells;
use crate::lanes::LANES;
use crate::layout::{Band, Form, Layout, Lines, MAX_OPERANDS, Order};
use crate::workspace::{Tile, Workspace};

pub use across::fold_across;
pub use fold::fold;
pub use map::{gate, map, map_along};
use patch::{Beside, Patch};
pub use transpose::transpose;
pub use weights::Weights;
pub use wide::fold_wide;

/// Steps that are added up in f32 before their sums are added in f64.
pub const CHUNK: usize = 16;

/// Vectors of a run side by side: their additions don't wait for each other.
const VECTORS: usize = 2;

/// Their elements.
const STRIP: usize = VECTORS * LANES;

/// What an operation works on.
pub struct Pass<'a> {
    /// How the tensors lie.
    pub layout: &'a Layout,
    /// The layout's operands; empty where there are fewer.
    pub tensors: [Cells<'a>; MAX_OPERANDS],
    /// How much a channel's elements count, if not alike.
    pub weights: Option<&'a Weights<'a>>,
    /// dy, y of a ReLU and what the second of the tensors is to become, block by block, before it
    /// is folded: they lie as all of them do.
    pub gated: Option<[Cells<'a>; MAX_OPERANDS]>,
    /// Constants and sums of the channels.
    pub workspace: &'a mut Workspace,
}

impl<'a> Pass<'a> {
    /// One whose elements count alike, and whose dy comes as it is.
    #[inline(always)]
    pub fn new(
        layout: &'a Layout,
        tensors: [Cells<'a>; MAX_OPERANDS],
        workspace: &'a mut Workspace,
    ) -> Self {
        Self { layout, tensors, weights: None, gated: None, workspace }
    }

    /// How much all elements of a channel count.
    pub fn total(&self) -> f64 {
        self.weights.map_or(self.layout.count as f64, |weights| weights.total)
    }
}

/// Ways through a patch.
#[derive(Clone, Copy)]
enum Walk {
    /// Columns, so many rows at once.
    Columns(usize),
    /// Runs.
    Runs,
}

/// How columns of so many memories are best walked: with more rows at once constants and sums
/// are loaded less often, but the nearest cache has to hold the rows, and what is far is
/// prefetched only in the order in which it lies. In place twice as much is near: nothing else
/// is touched.
fn walk_of(layout: &Layout, memories: usize, in_place: bool) -> Walk {
    if layout.form == Form::Runs {
        return Walk::Runs;
    }
    let row = layout.columns() * memories;
    let all = layout.len() * layout.samples;
    let near = all * memories < layout.limits.near;
    if row <= 64 || near && row <= 256 {
        Walk::Columns(CHUNK)
    } else if all >> u32::from(in_place) < layout.limits.far {
        Walk::Columns(CHUNK / 2)
    } else {
        Walk::Columns(1)
    }
}

/// Calls `leaf` with all of a band's `lines` in patches, and with the tiles of all columns.
#[inline(never)]
fn sweep(
    pass: &mut Pass,
    band: &Band,
    lines: Lines,
    operands: &[usize],
    order: Order,
    leaf: &Leaf,
) {
    let Pass { layout, tensors, weights, ref mut workspace, .. } = *pass;
    let Workspace { tiles, packed, .. } = &mut **workspace;
    // In place, the output is no memory of its own. (That decides about speed alone.)
    let apart = operands.iter().filter(|&&k| tensors[k].as_ptr() != tensors[operands[0]].as_ptr());
    let memories = 1 + apart.count();
    let walk = walk_of(layout, memories, memories == 1 && operands.len() > 1);
    // What is spread out is that of few rows.
    let spreads = weights.is_some() && layout.form == Form::Columns;
    layout.walk(band, lines, order, &mut |piece| {
        let rows = piece.rows;
        let mut above = 0;
        loop {
            if spreads {
                piece.rows = CHUNK.min(rows - above);
            }
            let beside =
                weights.map_or(Beside::NONE, |weights| weights.beside(layout, piece, packed));
            Patch::of_planes(&tensors, operands, piece, beside, |patch| {
                leaf(walk, patch, tiles);
                if layout.form == Form::Columns && patch.tail() > 0 {
                    // What is left of a row: runs of one element.
                    (0..patch.rows()).for_each(|row| leaf(Walk::Runs, &patch.left_of(row), tiles));
                }
            });
            above += piece.rows;
            if above == rows {
                break;
            }
            piece.go_on(piece.rows * piece.width / layout.channels);
        }
    });
}

/// What is done with a patch.
type Leaf<'a> = dyn Fn(Walk, &Patch, &mut [Tile]) + 'a;

/// What a hand alone has instead of a crew.
#[cfg(not(any(feature = "threads", not(target_family = "wasm"))))]
mod shared {
    use super::{Leaf, Pass};
    use crate::layout::{Band, Order};

    #[inline(always)]
    pub(super) fn fold(_: &mut Pass, _: &Band, _: &[usize], _: &Leaf) -> bool {
        false
    }

    #[inline(always)]
    pub(super) fn take_block(_: &mut Pass, _: &Band, _: usize) {}

    #[inline(always)]
    pub(super) fn map(_: &mut Pass, _: &Band, _: &[usize], _: Order, _: &Leaf) -> bool {
        false
    }
}
