//! [`F32x4`] as a plain array, for targets without `simd128` (native tests).

use core::array::from_fn;
use core::ops::{Add, Mul, Sub};

use super::LANES;

/// Four `f32`.
#[derive(Clone, Copy, Debug)]
pub struct F32x4([f32; LANES]);

impl F32x4 {
    /// Loads four elements; any alignment.
    ///
    /// # Safety
    /// The four elements must be readable.
    #[inline(always)]
    pub unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller's.
        Self(unsafe { from.cast::<[f32; LANES]>().read_unaligned() })
    }

    /// Stores four elements; any alignment.
    ///
    /// # Safety
    /// The four elements must be writable.
    #[inline(always)]
    pub unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller's.
        unsafe { to.cast::<[f32; LANES]>().write_unaligned(self.0) }
    }

    /// The lanes, first element first.
    #[inline(always)]
    pub fn to_array(self) -> [f32; LANES] {
        self.0
    }

    /// The lanes from an array, first element first.
    #[inline(always)]
    pub fn from_array(lanes: [f32; LANES]) -> Self {
        Self(lanes)
    }

    /// Absolute value of every lane.
    #[inline(always)]
    pub fn abs(self) -> Self {
        Self(self.0.map(f32::abs))
    }
}

impl Add for F32x4 {
    type Output = Self;
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        Self(from_fn(|lane| self.0[lane] + other.0[lane]))
    }
}

impl Sub for F32x4 {
    type Output = Self;
    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        Self(from_fn(|lane| self.0[lane] - other.0[lane]))
    }
}

impl Mul for F32x4 {
    type Output = Self;
    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        Self(from_fn(|lane| self.0[lane] * other.0[lane]))
    }
}

/// Square root of one `f64`.
#[inline(always)]
pub fn sqrt(value: f64) -> f64 {
    value.sqrt()
}
