//! Seeded numbers, and properties of random values: for the tests of both crates.
#![allow(dead_code, reason = "every test crate uses a part of it")]

use proptest::prelude::Strategy;
use proptest::test_runner::{Config, TestRunner};

/// Checks `property` of `cases` random values.
pub fn for_all<S: Strategy>(cases: u32, strategy: S, property: impl Fn(S::Value)) {
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let outcome = TestRunner::new(config).run(&strategy, |value| {
        property(value);
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
}

/// SplitMix64 (Steele, Lea & Flood, 2014).
pub struct Random(pub u64);

impl Random {
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A whole number from 0 on.
    pub fn below(&mut self, end: usize) -> usize {
        self.bits() as usize % end
    }

    /// Between 0 and 1.
    pub fn uniform(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Of mean 0 and standard deviation 1 (Box & Muller, 1958).
    pub fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform()).cos()
    }

    /// `len` values of a normal distribution, rounded to f32.
    pub fn normals(&mut self, len: usize, mean: f64, std: f64) -> Vec<f32> {
        (0..len).map(|_| (mean + std * self.normal()) as f32).collect()
    }
}
