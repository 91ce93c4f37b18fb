//! The bands of a layout: channels that share one pass through the cache.

use core::ops::Range;

use super::{Form, Layout};
use crate::lanes::LANES;

/// Channels that are gathered and then mapped, before others are touched.
pub type Band = Range<usize>;

/// The bands of a layout, one after the other; none where there are no elements.
#[derive(Clone, Debug)]
pub struct Bands {
    next: usize,
    end: usize,
    /// Channels of a band.
    size: usize,
}

impl Layout {
    /// The bands, each from a multiple of four on, where `inputs` operands are gathered before
    /// they are mapped; with 0 of them there is nothing in the cache to come back to. Columns
    /// can't be parted: what is between two stretches of memory is fetched, too.
    pub fn bands(&self, inputs: usize) -> Bands {
        let end = if self.is_empty() { 0 } else { self.channels };
        // Of one image a band is one stretch of memory, however few channels it has.
        let (most, band) = match self.all_lines().end {
            1 => (8 * self.limits.slice, 4 * self.limits.slice),
            _ => (self.limits.band, self.limits.band),
        };
        let size = match self.form {
            // (What is small is not divided: a call on a few elements would feel it.)
            Form::Runs if inputs * self.len() > most => {
                let near = band / (inputs * self.count).max(1);
                near.max(self.limits.slice / self.run).max(1).next_multiple_of(LANES)
            }
            _ => end,
        };
        Bands { next: 0, end, size }
    }
}

impl Iterator for Bands {
    type Item = Band;

    fn next(&mut self) -> Option<Band> {
        let band = self.next..self.end.min(self.next + self.size);
        self.next = band.end;
        (!band.is_empty()).then_some(band)
    }
}
