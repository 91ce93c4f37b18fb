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

#[cfg(not(any(feature = "threads", not(target_family = "wasm"))))]
mod alone;
#[cfg(any(feature = "threads", not(target_family = "wasm")))]
mod many;

#[cfg(not(any(feature = "threads", not(target_family = "wasm"))))]
pub use alone::Crew;
#[cfg(any(feature = "threads", not(target_family = "wasm")))]
pub use many::{Crew, Desk, Hands};
