//! Batch normalization and its relatives over `f32`, without a runtime.
//!
//! Every norm here is the same program: *gather* moments over some set of elements, *settle*
//! what they mean, *apply* an affine map. The modules build on each other in one direction:
//!
//! | module | holds |
//! |---|---|
//! | [`norm`] | formula, forward and backward of each norm: gather, settle, apply |
//! | [`moments`], [`co_moments`], [`pivot`] | gather: mean and variance, and what a gradient needs |
//! | [`statistics`], [`parameters`], [`renorm`], [`affine`] | settle: statistics and parameters to the constants of a map |
//! | [`activation`] | what may follow the map: a residual, ReLU |
//! | [`sweep`] | the only loops over elements: fold and map |
//! | [`workspace`] | constants and sums of channels, and of their columns |
//! | [`crew`] | who does the parts of a walk |
//! | [`layout`] | shape and strides to bands of channels and pieces to walk; pure index arithmetic |
//! | [`lanes`] | four `f32` at a time; the only intrinsics |
//!
//! Tensors are slices of [`core::cell::Cell`], so that an output may be the very memory of an
//! input. `unsafe` is in [`lanes`], [`sweep`] and [`crew`] alone.
// Without std the module is much smaller (figures in ARCHITECTURE.md).
#![cfg_attr(target_feature = "simd128", no_std)]

extern crate alloc;

pub mod activation;
pub mod affine;
pub mod co_moments;
pub mod crew;
pub mod lanes;
pub mod layout;
pub mod moments;
pub mod norm;
pub mod parameters;
pub mod pivot;
pub mod renorm;
pub mod statistics;
pub mod sweep;
pub mod workspace;

pub use workspace::Workspace;

/// A tensor's elements in memory that others may read and write between two accesses.
pub type Cells<'a> = &'a [core::cell::Cell<f32>];
