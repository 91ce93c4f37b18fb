//! Memory that an operation needs while it runs, kept from call to call.
//!
//! A channel's constants and sums stand at its number. Where a channel has several
//! columns, its constants are spread to all of them before a walk, and what they summed up is
//! collected after it.

use alloc::collections::TryReserveError;
use alloc::vec::Vec;
use core::array::from_fn;
use core::cell::Cell;

use crate::crew::Crew;
use crate::lanes::{F32x4, F64x2, LANES};
use crate::layout::{Band, Layout, TILE};

/// Constants of the largest map, [`crate::affine::apply_backward`].
pub const MAX_CONSTANTS: usize = 5;

/// Constants of a map or a fold for one channel, in the order in which it takes them;
/// what it does not take is 0.
pub type Constants = [f32; MAX_CONSTANTS];

/// What belongs to some columns side by side.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tile {
    /// In a fold the first ones are values of the inputs that add nothing.
    pub(crate) constants: [[f32; TILE]; MAX_CONSTANTS],
    /// Sums of the latest rows.
    pub(crate) parts: [[f32; TILE]; 2],
    /// Sums of all rows before them in the block.
    pub(crate) sums: [[f64; TILE]; 2],
    /// Sums of the blocks before it.
    pub(crate) totals: [[f64; TILE]; 2],
}

impl Tile {
    const ZERO: Self = Self {
        constants: [[0.0; TILE]; MAX_CONSTANTS],
        parts: [[0.0; TILE]; 2],
        sums: [[0.0; TILE]; 2],
        totals: [[0.0; TILE]; 2],
    };
}

/// From one block to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// To the first block.
    First,
    /// To the second one: what was summed up is put aside.
    Second,
    /// To another one: what was summed up is added to that.
    Next,
    /// Behind the last one: to the sums of all.
    Last,
}

/// Constants and sums of each column of a layout.
///
/// Grows to the largest layout seen, so that later calls allocate nothing.
#[derive(Debug)]
pub struct Workspace {
    /// Who works with it: others have desks of their own.
    pub crew: Crew,
    pub(crate) tiles: Vec<Tile>,
    /// Where gradients of γ and β are added up over several walks.
    pub(crate) gradients: Gradients,
    /// Those of the blocks before, where there are several.
    totals: Gradients,
    /// Elements of vectors of one value a channel, for walks along them, and of tensors in between.
    pub(crate) along: Vec<Cell<f32>>,
    /// Rows of all operands, where those of the tensors don't lie end to end; or rows of weights.
    pub(crate) packed: Vec<Cell<f32>>,
}

/// Gradients of each channel's γ, and then of each β.
#[derive(Debug, Default)]
pub(crate) struct Gradients(Vec<f64>);

impl Gradients {
    /// Makes room for those of so many channels, which are 0 then.
    #[inline(never)]
    fn clear(&mut self, channels: usize) -> Result<(), TryReserveError> {
        // Whole vectors: what is behind the last channel is nobody's.
        let len = 2 * channels.next_multiple_of(LANES);
        self.0.clear();
        self.0.try_reserve_exact(len)?;
        self.0.resize(len, 0.0);
        Ok(())
    }

    /// Adds to those of four channels, from `first` on.
    #[inline(always)]
    pub fn add(&mut self, first: usize, parts: [F32x4; 2]) {
        let middle = self.0.len() / 2;
        let (gamma, beta) = self.0.split_at_mut(middle);
        for (to, part) in [gamma, beta].into_iter().zip(parts) {
            for (to, two) in to[first..][..LANES].chunks_exact_mut(2).zip(part.widen()) {
                // SAFETY: there are two.
                unsafe { (F64x2::load(to.as_ptr()) + two).store(to.as_mut_ptr()) };
            }
        }
    }
}

impl Default for Workspace {
    fn default() -> Self {
        Self::new()
    }
}

impl Workspace {
    /// An empty one.
    pub const fn new() -> Self {
        Self {
            crew: Crew::ALONE,
            tiles: Vec::new(),
            gradients: Gradients(Vec::new()),
            totals: Gradients(Vec::new()),
            along: Vec::new(),
            packed: Vec::new(),
        }
    }

    /// Makes room for a pass over `layout`.
    pub fn reserve(&mut self, layout: &Layout) -> Result<(), TryReserveError> {
        let number = layout.columns().div_ceil(TILE);
        if self.tiles.len() < number {
            self.tiles.try_reserve_exact(number - self.tiles.len())?;
            self.tiles.resize(number, Tile::ZERO);
        }
        self.crew.reserve(layout);
        Ok(())
    }

    /// Makes room for gradients of `channels`, which are 0 then.
    pub fn reserve_gradients(&mut self, channels: usize) -> Result<(), TryReserveError> {
        self.gradients.clear(channels)
    }

    /// Makes room for those of several blocks.
    pub fn reserve_totals(&mut self, channels: usize) -> Result<(), TryReserveError> {
        self.totals.clear(channels)
    }

    /// Puts the gradients of a block to those of the blocks before; behind the last one they are
    /// those of all.
    pub(crate) fn end_block(&mut self, is_last: bool) {
        let (Gradients(totals), Gradients(gradients)) = (&mut self.totals, &mut self.gradients);
        // By places: in vectors it would be more code, and not often enough done to be worth it.
        for at in 0..gradients.len() {
            totals[at] += gradients[at];
            gradients[at] = if is_last { totals[at] } else { 0.0 };
        }
    }

    /// Makes room for so many elements of vectors, or of tensors in between.
    pub fn reserve_along(&mut self, len: usize) -> Result<(), TryReserveError> {
        grow(&mut self.along, len)
    }

    /// Makes room for so many elements of packed rows.
    pub fn reserve_packed(&mut self, len: usize) -> Result<(), TryReserveError> {
        self.crew.reserve_packed(len);
        grow(&mut self.packed, len)
    }

    /// Whether there is room for a pass over `layout` and for so many elements of packed rows.
    #[cfg(any(feature = "threads", not(target_family = "wasm")))]
    pub(crate) fn has_room(&self, layout: &Layout, packed: usize) -> bool {
        self.tiles.len() >= layout.columns().div_ceil(TILE) && self.packed.len() >= packed
    }

    /// Whether there is room for so many elements of vectors, and for the gradients of just so many
    /// channels, if of any.
    #[cfg(any(feature = "threads", not(target_family = "wasm")))]
    pub(crate) fn has_room_for(&self, along: usize, gradients: usize) -> bool {
        let middle = self.gradients.0.len() / 2;
        self.along.len() >= along && (gradients == 0 || middle == gradients.next_multiple_of(LANES))
    }

    /// Begins gradients anew.
    pub(crate) fn clear_gradients(&mut self) {
        self.gradients.0.fill(0.0);
    }

    /// Leaves the gradients among sums, from a place on.
    pub(crate) fn leave_gradients(&self, sums: &[Cell<f64>]) {
        sums.iter().zip(&self.gradients.0).for_each(|(sum, gradient)| sum.set(*gradient));
    }

    /// Adds those that a part has left from a place on, which has begun them anew.
    pub(crate) fn take_gradients(&mut self, first: usize) {
        for (at, gradient) in self.gradients.0.iter_mut().enumerate() {
            *gradient += self.crew.sum(first + at);
        }
    }

    /// Adds to the gradients of a channel's γ and β.
    #[inline(always)]
    pub fn add_gradients(&mut self, channel: usize, values: [f64; 2]) {
        let Gradients(gradients) = &mut self.gradients;
        let betas = gradients.len() / 2;
        for (sum, value) in [channel, betas + channel].into_iter().zip(values) {
            gradients[sum] += value;
        }
    }

    /// What was added.
    pub fn gradients(&self, channel: usize) -> [f64; 2] {
        let Gradients(gradients) = &self.gradients;
        [gradients[channel], gradients[gradients.len() / 2 + channel]]
    }

    /// The constants of a channel or column.
    #[inline(always)]
    pub fn constants(&self, at: usize) -> Constants {
        let tile = &self.tiles[at / TILE];
        // Not `map`: it would take all of the tile by value.
        from_fn(|p| tile.constants[p][at % TILE])
    }

    /// Sets them.
    #[inline(always)]
    pub fn set_constants(&mut self, at: usize, values: Constants) {
        for (tile, value) in self.tiles[at / TILE].constants.iter_mut().zip(values) {
            tile[at % TILE] = value;
        }
    }

    /// Sets the first of a band's to the same value, and the others to 0.
    #[inline(never)]
    pub fn fill_constants(&mut self, band: &Band, first: f32) {
        band.clone().for_each(|at| self.set_constants(at, [first, 0.0, 0.0, 0.0, 0.0]));
    }

    /// Sets the first constants of four channels, from a multiple of four on. (Of those behind
    /// the last it doesn't matter: they are set before they are read.)
    #[inline(always)]
    pub fn set_first_constants(&mut self, channel: usize, values: F32x4) {
        let to = &mut self.tiles[channel / TILE].constants[0][channel % TILE..][..LANES];
        // SAFETY: there are four.
        unsafe { values.store(to.as_mut_ptr()) };
    }

    /// The sums of a channel or column.
    #[inline(always)]
    pub fn sums(&self, at: usize) -> [f64; 2] {
        let tile = &self.tiles[at / TILE];
        from_fn(|kind| tile.sums[kind][at % TILE])
    }

    /// Sets them.
    #[inline(always)]
    pub fn set_sums(&mut self, at: usize, values: [f64; 2]) {
        for (tile, value) in self.tiles[at / TILE].sums.iter_mut().zip(values) {
            tile[at % TILE] = value;
        }
    }

    /// Brings channels' constants to all of their columns.
    pub(crate) fn spread(&mut self, layout: &Layout) {
        if layout.columns() > layout.channels {
            // From the last one: no column stands before its channel's own place.
            let mut column = layout.columns();
            while column > 0 {
                for channel in (0..layout.channels).rev() {
                    let constants = self.constants(channel);
                    for _ in 0..layout.side_by_side() {
                        column -= 1;
                        self.set_constants(column, constants);
                    }
                }
            }
        }
    }

    /// Goes on to another block of a band, or from the last one to the sums of all.
    #[inline(never)]
    pub(crate) fn turn(&mut self, layout: &Layout, band: &Band, turn: Turn) {
        for column in layout.columns_in(band) {
            let Tile { sums, totals, .. } = &mut self.tiles[column / TILE];
            for (sums, totals) in sums.iter_mut().zip(totals) {
                let (sum, total) = (&mut sums[column % TILE], &mut totals[column % TILE]);
                match turn {
                    Turn::First => *sum = 0.0,
                    Turn::Second => (*sum, *total) = (0.0, *sum),
                    Turn::Next => (*sum, *total) = (0.0, *total + *sum),
                    Turn::Last => *sum += *total,
                }
            }
        }
    }

    /// Brings columns' sums, and constants, back to their channels' places.
    #[inline(never)]
    pub(crate) fn collect(&mut self, layout: &Layout) {
        if layout.columns() > layout.channels {
            let mut column = 0;
            while column < layout.columns() {
                for channel in 0..layout.channels {
                    for _ in 0..layout.side_by_side() {
                        let (constants, sums) = (self.constants(column), self.sums(column));
                        // As a channel's place it has nothing yet: that channel's columns follow.
                        self.set_sums(column, [0.0; 2]);
                        let before = self.sums(channel);
                        self.set_sums(channel, from_fn(|kind| before[kind] + sums[kind]));
                        self.set_constants(channel, constants);
                        column += 1;
                    }
                }
            }
        }
    }
}

#[inline(never)]
fn grow(cells: &mut Vec<Cell<f32>>, len: usize) -> Result<(), TryReserveError> {
    if cells.len() < len {
        cells.try_reserve_exact(len - cells.len())?;
        cells.resize(len, Cell::new(0.0));
    }
    Ok(())
}
