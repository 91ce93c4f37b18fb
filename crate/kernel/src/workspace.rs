//! Memory that an operation needs while it runs, kept from call to call.

use alloc::collections::TryReserveError;
use alloc::vec::Vec;

use crate::layout::Layout;
use crate::moments::{CoMoments, Moments};
use crate::sweep::{Constants, Sums};

/// Accumulators and map constants, one for each column of a layout.
///
/// Grows to the largest layout seen, so that later calls allocate nothing.
#[derive(Debug, Default)]
pub struct Workspace {
    pub(crate) moments: Vec<Moments>,
    pub(crate) co_moments: Vec<CoMoments>,
    pub(crate) constants: Vec<Constants>,
    pub(crate) sums: Vec<Sums>,
}

impl Workspace {
    /// An empty one.
    pub const fn new() -> Self {
        Self {
            moments: Vec::new(),
            co_moments: Vec::new(),
            constants: Vec::new(),
            sums: Vec::new(),
        }
    }

    /// Makes room for a forward pass over `layout`.
    pub fn reserve_forward(&mut self, layout: &Layout) -> Result<(), TryReserveError> {
        grow(&mut self.moments, layout.columns())?;
        self.reserve(layout)
    }

    /// Makes room for a backward pass over `layout`.
    pub fn reserve_backward(&mut self, layout: &Layout) -> Result<(), TryReserveError> {
        grow(&mut self.co_moments, layout.columns())?;
        self.reserve(layout)
    }

    fn reserve(&mut self, layout: &Layout) -> Result<(), TryReserveError> {
        grow(&mut self.sums, layout.sums())?;
        grow(&mut self.constants, layout.constants())
    }
}

fn grow<T: Copy + Default>(vec: &mut Vec<T>, len: usize) -> Result<(), TryReserveError> {
    if vec.len() < len {
        vec.try_reserve_exact(len - vec.len())?;
        vec.resize(len, T::default());
    }
    Ok(())
}
