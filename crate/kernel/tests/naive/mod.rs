//! Norms as their formulas stand, a file each: f64, one element at a time.
//!
//! A tensor here is its elements in row-major order of their indices, wherever
//! they lie in memory, and [`Channels`] says which channel each belongs to.
#![allow(dead_code, reason = "every test crate uses a part of it")]

pub mod activation;
pub mod batch;
pub mod group;
pub mod layer;
pub mod weights;

/// Which elements of a tensor belong to which channel.
pub struct Channels {
    /// The channel of each element.
    pub of: Vec<usize>,
    /// Number of channels.
    pub number: usize,
    elements: Vec<Vec<usize>>,
}

impl Channels {
    /// Of a shape with channels along `axis`.
    pub fn along(sizes: &[u32], axis: usize) -> Self {
        let product = |sizes: &[u32]| sizes.iter().product::<u32>() as usize;
        let (number, inner) = (sizes[axis] as usize, product(&sizes[axis + 1..]));
        Self::new((0..product(sizes)).map(|element| element / inner % number).collect(), number)
    }

    /// By the channel of each element.
    pub fn new(of: Vec<usize>, number: usize) -> Self {
        let mut elements = vec![vec![]; number];
        for (element, &channel) in of.iter().enumerate() {
            elements[channel].push(element);
        }
        Self { of, number, elements }
    }

    /// The elements of one channel.
    pub fn pick<T: Copy>(&self, channel: usize, tensor: &[T]) -> Vec<T> {
        self.elements[channel].iter().map(|&element| tensor[element]).collect()
    }

    /// `of_channel(elements)` of every channel.
    pub fn each(&self, tensor: &[f64], of_channel: impl Fn(&[f64]) -> f64) -> Vec<f64> {
        (0..self.number).map(|channel| of_channel(&self.pick(channel, tensor))).collect()
    }

    /// `of_element(element, channel)` of every element.
    pub fn map(&self, of_element: impl Fn(usize, usize) -> f64) -> Vec<f64> {
        self.of.iter().enumerate().map(|(element, &channel)| of_element(element, channel)).collect()
    }
}

/// Σ values / n.
pub fn mean(values: &[f64]) -> f64 {
    sum(values) / values.len() as f64
}

/// Σ values, with the rounding of every addition carried along (Neumaier, 1974):
/// a plain sum of a million values of 10⁷ would be less exact than the kernel.
pub fn sum(values: &[f64]) -> f64 {
    let (mut sum, mut lost) = (0.0f64, 0.0);
    for &value in values {
        let more = sum + value;
        lost += if sum.abs() >= value.abs() { (sum - more) + value } else { (value - more) + sum };
        sum = more;
    }
    sum + lost
}
