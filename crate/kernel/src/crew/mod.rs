//! Who does the parts of a walk: one hand alone, or a crew of them.
//!
//! ```text
//! the caller, a hand itself:   share(parts, part)      part(desk, 0), part(desk, 1), … are done
//! every hand:                  part(its own desk, one that nobody has taken)
//! ```
//!
//! What a part is follows from the layout alone, and parts never read what another one of the same
//! share writes. So no bit of a result depends on how many hands there are, or on who did what.
//! All hands are back before the next step begins: what has to be added up in an order is added
//! up by the caller.
//!
//! In the WebAssembly module that is nobody's but its caller's, [`Crew`] is nothing.

use core::cell::Cell;
use core::ops::Range;

use crate::layout::Layout;
use crate::workspace::Workspace;

#[cfg(not(any(feature = "threads", not(target_family = "wasm"))))]
mod alone;
#[cfg(any(feature = "threads", not(target_family = "wasm")))]
mod many;

#[cfg(not(any(feature = "threads", not(target_family = "wasm"))))]
pub use alone::Crew;
#[cfg(not(any(feature = "threads", not(target_family = "wasm"))))]
pub(crate) use alone::share_out;
#[cfg(any(feature = "threads", not(target_family = "wasm")))]
pub(crate) use many::share_out;
#[cfg(any(feature = "threads", not(target_family = "wasm")))]
pub use many::{Crew, Desk, Hands};

/// What is done for each of some samples or rows, none of which needs another one.
// A hand alone asks for a few of these.
#[cfg_attr(not(any(feature = "threads", not(target_family = "wasm"))), allow(dead_code))]
pub(crate) struct Work {
    /// How many there are.
    pub number: usize,
    /// Into how many stretches they are cut, if they are shared.
    pub parts: usize,
    /// Elements that are read and written.
    pub elements: usize,
    /// Elements of vectors, and of packed rows, that a desk has to have.
    pub along: usize,
    pub packed: usize,
    /// Channels whose gradients are summed up; 0 of a forward pass.
    pub gradients: usize,
    /// How many sums the parts leave.
    pub sums: usize,
}

/// Does a stretch of work with the walk and the workspace of a desk, and leaves sums.
pub(crate) type Part<'a> =
    dyn Fn((&mut Layout, &mut Workspace), &[Cell<f64>], Range<usize>, usize) + 'a;
