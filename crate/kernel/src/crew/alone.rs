//! One hand.

use super::{Part, Work};
use crate::layout::Layout;
use crate::workspace::Workspace;

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

    /// Likewise.
    #[inline(always)]
    pub(crate) fn reserve_for(&mut self, _: &Work, _: &Layout) {}

    /// Nobody has summed up anything.
    #[inline(always)]
    pub(crate) fn sum(&self, _: usize) -> f64 {
        0.0
    }
}

/// There is nobody to share with.
#[inline(always)]
pub(crate) fn share_out(_: &Work, _: &Layout, _: &mut Workspace, _: &Part) -> bool {
    false
}
