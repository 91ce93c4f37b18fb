//! [`F32x4`] on WebAssembly's 128-bit vectors: the only intrinsics of the project.

use core::arch::wasm32::{
    f32x4, f32x4_add, f32x4_extract_lane, f32x4_gt, f32x4_le, f32x4_mul, f32x4_pmax, f32x4_pmin,
    f32x4_splat, f32x4_sub, f64x2_add, f64x2_extract_lane, f64x2_promote_low_f32x4, f64x2_splat,
    f64x2_sqrt, i32x4, i32x4_lt, i32x4_shuffle, i32x4_splat, v128, v128_and, v128_andnot,
    v128_bitselect, v128_load, v128_load32_lane, v128_load32_zero, v128_load64_zero, v128_store,
    v128_store32_lane, v128_store64_lane,
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

    /// Loads the first `len` elements, from one to three; the other lanes are 0.
    ///
    /// # Safety
    /// They must be readable.
    #[inline(always)]
    pub unsafe fn load_part(from: *const f32, len: usize) -> Self {
        // SAFETY: the caller's.
        unsafe {
            if len == 1 {
                return Self(v128_load32_zero(from.cast()));
            }
            let two = v128_load64_zero(from.cast());
            Self(if len == 2 { two } else { v128_load32_lane::<2>(two, from.add(2).cast()) })
        }
    }

    /// Stores the first `len` lanes, from one to three.
    ///
    /// # Safety
    /// The elements must be writable.
    #[inline(always)]
    pub unsafe fn store_part(self, to: *mut f32, len: usize) {
        // SAFETY: the caller's.
        unsafe {
            if len == 1 {
                return v128_store32_lane::<0>(self.0, to.cast());
            }
            v128_store64_lane::<0>(self.0, to.cast());
            if len == 3 {
                v128_store32_lane::<2>(self.0, to.add(2).cast());
            }
        }
    }

    /// The first `len` lanes, behind them those of `other`.
    #[inline(always)]
    pub fn first(self, len: usize, other: Self) -> Self {
        let kept = i32x4_lt(i32x4(0, 1, 2, 3), i32x4_splat(len as i32));
        Self(v128_bitselect(self.0, other.0, kept))
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

    /// Four vectors of the first lanes of all, of the second ones, and so on.
    #[inline(always)]
    pub fn transpose([a, b, c, d]: [Self; LANES]) -> [Self; LANES] {
        let (ab, cd) =
            (i32x4_shuffle::<0, 4, 1, 5>(a.0, b.0), i32x4_shuffle::<0, 4, 1, 5>(c.0, d.0));
        let (ef, gh) =
            (i32x4_shuffle::<2, 6, 3, 7>(a.0, b.0), i32x4_shuffle::<2, 6, 3, 7>(c.0, d.0));
        [
            Self(i32x4_shuffle::<0, 1, 4, 5>(ab, cd)),
            Self(i32x4_shuffle::<2, 3, 6, 7>(ab, cd)),
            Self(i32x4_shuffle::<0, 1, 4, 5>(ef, gh)),
            Self(i32x4_shuffle::<2, 3, 6, 7>(ef, gh)),
        ]
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

    /// The lanes of `self` where those of `of` are above 0 or NaN, else those of `other`.
    #[inline(always)]
    pub fn where_above_zero(self, of: Self, other: Self) -> Self {
        Self(v128_bitselect(other.0, self.0, f32x4_le(of.0, f32x4_splat(0.0))))
    }

    /// [`Self::where_above_zero`] with zeros as the other: two instructions instead of four.
    #[inline(always)]
    pub fn only_above_zero(self, of: Self) -> Self {
        Self(v128_andnot(self.0, f32x4_le(of.0, f32x4_splat(0.0))))
    }

    /// The lanes where those of `other` are above 0, else 0.
    #[inline(always)]
    pub fn where_positive(self, other: Self) -> Self {
        Self(v128_and(self.0, f32x4_gt(other.0, f32x4_splat(0.0))))
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
