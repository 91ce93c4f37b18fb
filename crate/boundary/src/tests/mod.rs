//! Whole calls over a memory that is not the module's.

mod arena;
mod calls;
mod crew;
mod hostile;
#[path = "../../../kernel/tests/tensors/random.rs"]
mod random;
