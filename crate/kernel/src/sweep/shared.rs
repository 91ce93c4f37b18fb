//! Sweeps that a crew shares.
//!
//! ```text
//! fold:  each block, of each stretch of channels        sums of blocks, to be added in their order
//! map:   each stretch of lines, of each of channels
//! ```
//!
//! A channel's sums and a block's owe nothing to those beside them, and a map knows no neighbours:
//! how stretches are cut is a matter of speed alone.

use core::array::from_fn;
use core::mem::{replace, take};
use core::ops::Range;

use super::fold::fold_lines;
use super::{Leaf, Pass, Weights, sweep};
use crate::Cells;
use crate::crew::{Crew, Desk};
use crate::layout::{Band, Form, Layout, Lines, MAX_OPERANDS, Order, TILE};
use crate::workspace::{Tile, Turn};

/// A walk over a band is cut into so many parts, of half a block or more.
fn parts(layout: &Layout, band: &Band) -> usize {
    let elements = match layout.form {
        Form::Runs => band.len() * layout.count,
        Form::Columns => layout.len(),
    };
    (2 * elements / layout.limits.block.max(1)).min(Layout::MOST_BLOCKS)
}

/// Whether a crew shares a sweep of so many parts. What is read decides: so a band is mapped by
/// those who have folded it, in whose caches it lies.
fn shares(pass: &Pass, band: &Band, inputs: usize, parts: usize) -> bool {
    let Pass { layout, weights, ref workspace, .. } = *pass;
    if parts < 2 {
        return false;
    }
    let channels = if layout.form == Form::Runs { band.len() } else { layout.channels };
    let bytes = channels * layout.count * inputs * size_of::<f32>();
    let packed = if weights.is_some() { Weights::room(layout) } else { 0 };
    workspace.crew.shares(layout, packed, bytes)
}

/// Sums up the blocks of a band, if a crew shares it: [`take_block`] has them then.
#[inline(never)]
pub(super) fn fold(pass: &mut Pass, band: &Band, inputs: &[usize], leaf: &Leaf) -> bool {
    let blocks = pass.layout.blocks().count();
    let stretches = Stretches::new(pass, band, parts(pass.layout, band) / blocks.max(1));
    let number = blocks * stretches.number;
    if !shares(pass, band, inputs.len(), number) {
        return false;
    }
    let Pass { layout, tensors, weights, gated, ref mut workspace } = *pass;
    let walked = (layout, tensors, weights, gated);
    let columns = layout.columns();
    let mut crew = replace(&mut workspace.crew, Crew::ALONE);
    let sums = take(crew.sums());
    let has_room = sums.len() >= blocks * 2 * columns;
    if has_room {
        let tiles = &workspace.tiles;
        crew.share(number, &|desk, share, index| {
            let block = index / stretches.number;
            let lines = layout.blocks().nth(block).expect("a block of the layout");
            let stretch = stretches.at(index % stretches.number);
            let here = stretch.columns(layout);
            stretch.walk((desk, share), walked, tiles, &mut |pass, band| {
                let layout = pass.layout;
                pass.workspace.turn(layout, band, Turn::First);
                fold_lines(pass, band, lines.clone(), inputs, leaf);
                // Of runs a desk has a place for each channel of the layout, of columns for those
                // here.
                let first = if layout.form == Form::Runs { here.start } else { 0 };
                for column in here.clone() {
                    let place = 2 * (block * columns + column);
                    let own = pass.workspace.sums(column - here.start + first);
                    sums[place].set(own[0]);
                    sums[place + 1].set(own[1]);
                }
            });
        });
    }
    *crew.sums() = sums;
    workspace.crew = crew;
    has_room
}

/// Brings in a block's sums.
#[inline(never)]
pub(super) fn take_block(pass: &mut Pass, band: &Band, block: usize) {
    let Pass { layout, ref mut workspace, .. } = *pass;
    let columns = layout.columns();
    for column in layout.columns_in(band) {
        let place = 2 * (block * columns + column);
        let sums = from_fn(|kind| workspace.crew.sums()[place + kind].get());
        workspace.set_sums(column, sums);
    }
}

/// Maps a band, if a crew shares it.
#[inline(never)]
pub(super) fn map(
    pass: &mut Pass,
    band: &Band,
    operands: &[usize],
    order: Order,
    leaf: &Leaf,
) -> bool {
    let parts = parts(pass.layout, band);
    let Lines { end, .. } = pass.layout.all_lines();
    let cuts = parts.min(end).max(1);
    let stretches = match pass.layout.form {
        Form::Runs => Stretches::new(pass, band, parts / cuts),
        Form::Columns => Stretches::new(pass, band, 1),
    };
    let number = cuts * stretches.number;
    if !shares(pass, band, operands.len() - 1, number) {
        return false;
    }
    let Pass { layout, tensors, weights, gated, ref mut workspace } = *pass;
    let walked = (layout, tensors, weights, gated);
    let mut crew = replace(&mut workspace.crew, Crew::ALONE);
    let tiles = &workspace.tiles;
    crew.share(number, &|desk, share, index| {
        // What was just folded comes first.
        let index = if order == Order::Backwards {
            let middle = number / 2;
            if index < middle { middle - 1 - index } else { number - 1 + middle - index }
        } else {
            index
        };
        let cut = index / stretches.number;
        let lines = cut * end / cuts..(cut + 1) * end / cuts;
        let stretch = stretches.at(index % stretches.number);
        stretch.walk((desk, share), walked, tiles, &mut |pass, band| {
            sweep(pass, band, lines.clone(), operands, order, leaf);
        });
    });
    workspace.crew = crew;
    true
}

/// A band's channels in stretches.
struct Stretches {
    band: Band,
    number: usize,
    /// Channels that stay together: columns are cut between tiles, where vectors are.
    together: usize,
}

impl Stretches {
    /// So many, or as many as there can be.
    fn new(pass: &Pass, band: &Band, most: usize) -> Self {
        let Pass { layout, weights, .. } = *pass;
        let (band, together) = match layout.form {
            Form::Runs => (band.clone(), 1),
            Form::Columns => (0..layout.channels, layout.channels_between_tiles()),
        };
        // Weights are spread out beside whole rows.
        let whole = layout.form == Form::Columns && weights.is_some();
        let most = if whole || together == 0 { 1 } else { most };
        let number = most.min(band.len().div_ceil(together.max(1))).max(1);
        Self { band, number, together }
    }

    fn at(&self, index: usize) -> Stretch {
        if self.number == 1 {
            return Stretch { band: self.band.clone(), whole: true, index };
        }
        let units = self.band.len().div_ceil(self.together);
        let border = |index| self.band.start + index * units / self.number * self.together;
        let band = border(index)..self.band.end.min(border(index + 1));
        Stretch { band, whole: false, index }
    }
}

/// Of a pass all but its workspace.
type Walked<'a> = (
    &'a Layout,
    [Cells<'a>; MAX_OPERANDS],
    Option<&'a Weights<'a>>,
    Option<[Cells<'a>; MAX_OPERANDS]>,
);

/// A tensor from an element on.
fn behind(cells: Cells, first: usize) -> Cells {
    cells.get(first..).unwrap_or(&[])
}

/// Some of a band's channels, or all.
struct Stretch {
    band: Band,
    whole: bool,
    index: usize,
}

impl Stretch {
    /// Its columns.
    fn columns(&self, layout: &Layout) -> Range<usize> {
        match layout.form {
            Form::Runs => self.band.clone(),
            Form::Columns if self.whole => 0..layout.columns(),
            Form::Columns => {
                let side_by_side = layout.side_by_side();
                self.band.start * side_by_side..self.band.end * side_by_side
            }
        }
    }

    /// Calls `visit` with a pass over it at a desk, with the constants of `tiles`.
    fn walk(
        &self,
        (desk, share): (&mut Desk, usize),
        (layout, tensors, weights, gated): Walked,
        tiles: &[Tile],
        visit: &mut dyn FnMut(&mut Pass, &Band),
    ) {
        let Desk { layout: own, workspace, constants_of } = desk;
        let columns = self.columns(layout);
        let (from, to) = (columns.start / TILE, columns.end.div_ceil(TILE));
        let is_as_before = layout.form == Form::Runs || self.whole;
        // Of many columns they are a tenth of a part.
        if replace(constants_of, [share, self.index]) != [share, self.index] {
            let first = if is_as_before { from } else { 0 };
            for (own, tile) in workspace.tiles[first..].iter_mut().zip(&tiles[from..to]) {
                own.constants = tile.constants;
            }
        }
        if is_as_before {
            return visit(&mut Pass { layout, tensors, weights, gated, workspace }, &self.band);
        }
        // These columns alone: rows as far apart as before, as many of them a piece, and narrower.
        own.clone_from(layout);
        own.channels = self.band.len();
        own.limits.piece = (layout.limits.piece / layout.columns()).max(1) * own.columns();
        let here = |tensors: [_; MAX_OPERANDS]| tensors.map(|cells| behind(cells, columns.start));
        let (tensors, gated) = (here(tensors), gated.map(here));
        let band = 0..own.channels;
        visit(&mut Pass { layout: own, tensors, weights, gated, workspace }, &band);
    }
}
