//! [`F32x4`] as a plain array, for targets without `simd128` (native tests).

use core::array::from_fn;
use core::ops::{Add, Mul, Sub};

use super::LANES;

/// Four `f32`.
#[derive(Clone, Copy, Debug)]
pub struct F32x4([f32; LANES]);

/// Two `f64`.
#[derive(Clone, Copy, Debug)]
pub struct F64x2([f64; 2]);

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

    /// Loads the first `len` elements, from one to three; the other lanes are 0.
    ///
    /// # Safety
    /// They must be readable.
    #[inline(always)]
    pub unsafe fn load_part(from: *const f32, len: usize) -> Self {
        // SAFETY: the caller's.
        Self(from_fn(|i| if i < len { unsafe { from.add(i).read_unaligned() } } else { 0.0 }))
    }

    /// Stores the first `len` lanes, from one to pair.
    ///
    /// # Safety
    /// The elements must be writable.
    #[inline(always)]
    pub unsafe fn store_part(self, to: *mut f32, len: usize) {
        for (i, value) in self.0.into_iter().enumerate().take(len) {
            // SAFETY: the caller's.
            unsafe { to.add(i).write_unaligned(value) };
        }
    }

    /// The first `len` lanes, behind them those of `other`.
    #[inline(always)]
    pub fn first(self, len: usize, other: Self) -> Self {
        Self(from_fn(|i| if i < len { self.0[i] } else { other.0[i] }))
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

    /// The same value in every lane.
    #[inline(always)]
    pub fn splat(value: f32) -> Self {
        Self([value; LANES])
    }

    /// Four vectors of the first lanes of all, of the second ones, and so on.
    #[inline(always)]
    pub fn transpose(lines: [Self; LANES]) -> [Self; LANES] {
        from_fn(|k| Self(from_fn(|line| lines[line].0[k])))
    }

    /// The smaller of each two; `self` where one is NaN.
    #[inline(always)]
    pub fn min(self, other: Self) -> Self {
        Self(from_fn(|i| if other.0[i] < self.0[i] { other.0[i] } else { self.0[i] }))
    }

    /// The larger of each two; `self` where one is NaN.
    #[inline(always)]
    pub fn max(self, other: Self) -> Self {
        Self(from_fn(|i| if self.0[i] < other.0[i] { other.0[i] } else { self.0[i] }))
    }

    /// The lanes of `self` where those of `of` are above 0 or NaN, else those of `other`.
    #[inline(always)]
    pub fn where_above_zero(self, of: Self, other: Self) -> Self {
        Self(from_fn(|i| if of.0[i] <= 0.0 { other.0[i] } else { self.0[i] }))
    }

    /// [`Self::where_above_zero`] with zeros as the other: two instructions instead of four.
    #[inline(always)]
    pub fn only_above_zero(self, of: Self) -> Self {
        Self(from_fn(|lane| if of.0[lane] <= 0.0 { 0.0 } else { self.0[lane] }))
    }

    /// The lanes where those of `other` are above 0, else 0.
    #[inline(always)]
    pub fn where_positive(self, other: Self) -> Self {
        Self(from_fn(|lane| if other.0[lane] > 0.0 { self.0[lane] } else { 0.0 }))
    }

    /// The first two lanes and the last two.
    #[inline(always)]
    pub fn widen(self) -> [F64x2; 2] {
        let [a, b, c, d] = self.0.map(f64::from);
        [F64x2([a, b]), F64x2([c, d])]
    }
}

impl F64x2 {
    /// The same value in both lanes.
    #[inline(always)]
    pub fn splat(value: f64) -> Self {
        Self([value; 2])
    }

    /// Loads two elements; any alignment.
    ///
    /// # Safety
    /// The two elements must be readable.
    #[inline(always)]
    pub unsafe fn load(from: *const f64) -> Self {
        // SAFETY: the caller's.
        Self(unsafe { from.cast::<[f64; 2]>().read_unaligned() })
    }

    /// Stores two elements; any alignment.
    ///
    /// # Safety
    /// The two elements must be writable.
    #[inline(always)]
    pub unsafe fn store(self, to: *mut f64) {
        // SAFETY: the caller's.
        unsafe { to.cast::<[f64; 2]>().write_unaligned(self.0) }
    }

    /// The sum of both lanes.
    #[inline(always)]
    pub fn sum(self) -> f64 {
        self.0[0] + self.0[1]
    }
}

impl Add for F32x4 {
    type Output = Self;
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        Self(from_fn(|i| self.0[i] + other.0[i]))
    }
}

impl Sub for F32x4 {
    type Output = Self;
    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        Self(from_fn(|i| self.0[i] - other.0[i]))
    }
}

impl Mul for F32x4 {
    type Output = Self;
    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        Self(from_fn(|i| self.0[i] * other.0[i]))
    }
}

impl Add for F64x2 {
    type Output = Self;
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        Self(from_fn(|i| self.0[i] + other.0[i]))
    }
}

/// Square root of one `f64`.
#[inline(always)]
pub fn sqrt(value: f64) -> f64 {
    value.sqrt()
}
