//! Four `f32` at a time.
//!
//! `simd128` where the target has it, plain arrays elsewhere. Both round every
//! operation alike, so a native test sees the same bits as WebAssembly.

#[cfg(not(target_feature = "simd128"))]
mod scalar;
#[cfg(target_feature = "simd128")]
mod simd128;

#[cfg(not(target_feature = "simd128"))]
pub use scalar::{F32x4, F64x2, sqrt};
#[cfg(target_feature = "simd128")]
pub use simd128::{F32x4, F64x2, sqrt};

/// Elements in a vector.
pub const LANES: usize = 4;
