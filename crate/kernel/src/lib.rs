//! Batch normalization and its relatives over `f32`, without a runtime.
//!
//! Every norm here is the same program: *moments over some extent, then an
//! affine map*. The modules build on each other in one direction:
//!
//! | module | holds |
//! |---|---|
//! | [`lanes`] | four `f32` at a time; the only intrinsics |
//! | [`layout`] | shape and strides to the pieces to walk; pure index arithmetic |
//! | [`workspace`] | constants and sums of channels, and of their columns |
//! | [`sweep`] | the only loops over elements: fold and map |
//! | [`moments`] | mean and variance of a channel, and the co-moment of two |
//! | [`affine`] | statistics and parameters to the constants of a map |
//! | [`norm`] | formula, forward and backward of each norm |
//!
//! Tensors are slices of [`core::cell::Cell`], so that an output may be the very
//! memory of an input without a line of `unsafe` above [`lanes`].
// Without std the module is much smaller (figures in ARCHITECTURE.md).
#![cfg_attr(target_feature = "simd128", no_std)]

extern crate alloc;

pub mod affine;
pub mod lanes;
pub mod layout;
pub mod moments;
pub mod norm;
pub mod sweep;

pub mod workspace;

pub use workspace::Workspace;

/// A tensor's elements in memory that others may read and write between two accesses.
pub type Cells<'a> = &'a [core::cell::Cell<f32>];
