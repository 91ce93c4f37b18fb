//! Memory that an operation needs while it runs, kept from call to call.

use alloc::collections::TryReserveError;
use alloc::vec::Vec;

use crate::layout::{Layout, TILE};
use crate::sweep::{Constants, Sums};

/// Sums and constants of each column of a layout.
///
/// Grows to the largest layout seen, so that later calls allocate nothing.
#[derive(Debug, Default)]
pub struct Workspace {
    pub(crate) constants: Vec<Constants>,
    pub(crate) sums: Vec<Sums>,
}

impl Workspace {
    /// An empty one.
    pub const fn new() -> Self {
        Self { constants: Vec::new(), sums: Vec::new() }
    }

    /// Makes room for a pass over `layout`.
    pub fn reserve(&mut self, layout: &Layout) -> Result<(), TryReserveError> {
        let tiles = layout.columns().div_ceil(TILE);
        grow(&mut self.constants, tiles)?;
        grow(&mut self.sums, tiles)
    }
}

fn grow<T: Copy + Default>(vec: &mut Vec<T>, len: usize) -> Result<(), TryReserveError> {
    if vec.len() < len {
        vec.try_reserve_exact(len - vec.len())?;
        vec.resize(len, T::default());
    }
    Ok(())
}
