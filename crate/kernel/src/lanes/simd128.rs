//! [`F32x4`] on WebAssembly's 128-bit vectors: the only intrinsics of the project.

use core::arch::wasm32::{
    f32x4, f32x4_add, f32x4_extract_lane, f32x4_mul, f32x4_pmax, f32x4_pmin, f32x4_splat,
    f32x4_sub, f64x2_add, f64x2_extract_lane, f64x2_promote_low_f32x4, f64x2_splat, f64x2_sqrt,
    i32x4_shuffle, v128, v128_load, v128_load32_lane, v128_store, v128_store32_lane,
};
use core::ops::{Add, Mul, Sub};

use super::LANES;

/// Four `f32`.
#[derive(Clone, Copy, Debug)]
pub struct F32x4(v128);

/// Two `f64`.
#[derive(Clone, Copy, Debug)]
pub struct F64x2(v128);

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

    /// Loads one element; the other lanes are those of `self`.
    ///
    /// # Safety
    /// The element must be readable.
    #[inline(always)]
    pub unsafe fn load_first(self, from: *const f32) -> Self {
        // SAFETY: the caller's.
        Self(unsafe { v128_load32_lane::<0>(self.0, from.cast()) })
    }

    /// Stores the first lane.
    ///
    /// # Safety
    /// The element must be writable.
    #[inline(always)]
    pub unsafe fn store_first(self, to: *mut f32) {
        // SAFETY: the caller's.
        unsafe { v128_store32_lane::<0>(self.0, to.cast()) }
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

    /// The same value in every lane.
    #[inline(always)]
    pub fn splat(value: f32) -> Self {
        Self(f32x4_splat(value))
    }

    /// The smaller of each two; `self` where one is NaN.
    #[inline(always)]
    pub fn min(self, other: Self) -> Self {
        Self(f32x4_pmin(self.0, other.0))
    }

    /// The larger of each two; `self` where one is NaN.
    #[inline(always)]
    pub fn max(self, other: Self) -> Self {
        Self(f32x4_pmax(self.0, other.0))
    }

    /// The first two lanes and the last two.
    #[inline(always)]
    pub fn widen(self) -> [F64x2; 2] {
        let last = i32x4_shuffle::<2, 3, 0, 1>(self.0, self.0);
        [F64x2(f64x2_promote_low_f32x4(self.0)), F64x2(f64x2_promote_low_f32x4(last))]
    }
}

impl F64x2 {
    /// The same value in both lanes.
    #[inline(always)]
    pub fn splat(value: f64) -> Self {
        Self(f64x2_splat(value))
    }

    /// Loads two elements; any alignment.
    ///
    /// # Safety
    /// The two elements must be readable.
    #[inline(always)]
    pub unsafe fn load(from: *const f64) -> Self {
        // SAFETY: the caller's; v128.load has no alignment requirement.
        Self(unsafe { v128_load(from.cast()) })
    }

    /// Stores two elements; any alignment.
    ///
    /// # Safety
    /// The two elements must be writable.
    #[inline(always)]
    pub unsafe fn store(self, to: *mut f64) {
        // SAFETY: the caller's; v128.store has no alignment requirement.
        unsafe { v128_store(to.cast(), self.0) }
    }

    /// The sum of both lanes.
    #[inline(always)]
    pub fn sum(self) -> f64 {
        f64x2_extract_lane::<0>(self.0) + f64x2_extract_lane::<1>(self.0)
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

impl Add for F64x2 {
    type Output = Self;
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        Self(f64x2_add(self.0, other.0))
    }
}

/// Square root of one `f64`: `core` has none, the instruction set does.
#[inline(always)]
pub fn sqrt(value: f64) -> f64 {
    f64x2_extract_lane::<0>(f64x2_sqrt(f64x2_splat(value)))
}
