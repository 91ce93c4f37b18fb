//! One hand.

use crate::layout::Layout;

/// Nobody but the caller.
#[derive(Debug)]
pub struct Crew;

impl Crew {
    pub(crate) const ALONE: Self = Self;

    /// There are no desks.
    #[inline(always)]
    pub(crate) fn reserve(&mut self, _: &Layout) {}

    /// Likewise.
    #[inline(always)]
    pub(crate) fn reserve_packed(&mut self, _: usize) {}
}
