//! One file a norm: its formula, forward and backward.

pub mod batch;
mod forward;
pub mod group;
pub mod layer;
