//! [`F32x4`] on WebAssembly's 128-bit vectors: the only intrinsics of the project.

use core::arch::wasm32::{
    f32x4, f32x4_abs, f32x4_add, f32x4_extract_lane, f32x4_mul, f32x4_sub, f64x2_extract_lane,
    f64x2_splat, f64x2_sqrt, v128, v128_load, v128_store,
};
use core::ops::{Add, Mul, Sub};

use super::LANES;

/// Four `f32`.
#[derive(Clone, Copy, Debug)]
pub struct F32x4(v128);

impl F32x4 {
    /// Loads four elements; any alignment.
    ///
    /// # Safety
    /// The four elements must be readable.
    #[inline(always)]
    pub unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller's; v128.load has no alignment requirement.
        Self(unsafe { v128_load(from.cast()) })
    }

    /// Stores four elements; any alignment.
    ///
    /// # Safety
    /// The four elements must be writable.
    #[inline(always)]
    pub unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller's; v128.store has no alignment requirement.
        unsafe { v128_store(to.cast(), self.0) }
    }

    /// The lanes, first element first.
    #[inline(always)]
    pub fn to_array(self) -> [f32; LANES] {
        [
            f32x4_extract_lane::<0>(self.0),
            f32x4_extract_lane::<1>(self.0),
            f32x4_extract_lane::<2>(self.0),
            f32x4_extract_lane::<3>(self.0),
        ]
    }

    /// The lanes from an array, first element first.
    #[inline(always)]
    pub fn from_array([a, b, c, d]: [f32; LANES]) -> Self {
        Self(f32x4(a, b, c, d))
    }

    /// Absolute value of every lane.
    #[inline(always)]
    pub fn abs(self) -> Self {
        Self(f32x4_abs(self.0))
    }
}

impl Add for F32x4 {
    type Output = Self;
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        Self(f32x4_add(self.0, other.0))
    }
}

impl Sub for F32x4 {
    type Output = Self;
    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        Self(f32x4_sub(self.0, other.0))
    }
}

impl Mul for F32x4 {
    type Output = Self;
    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        Self(f32x4_mul(self.0, other.0))
    }
}

/// Square root of one `f64`: `core` has none, the instruction set does.
#[inline(always)]
pub fn sqrt(value: f64) -> f64 {
    f64x2_extract_lane::<0>(f64x2_sqrt(f64x2_splat(value)))
}
