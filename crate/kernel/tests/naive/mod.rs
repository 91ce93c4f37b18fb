//! Batch normalization as its formulas stand: f64, one element at a time.
//!
//! A tensor here is its elements in row-major order of their indices, wherever
//! they lie in memory, and [`Channels`] says which channel each belongs to.
#![allow(dead_code, reason = "every test crate uses a part of it")]

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
        let of: Vec<_> = (0..product(sizes)).map(|element| element / inner % number).collect();
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

/// Scale and offset of every channel.
pub struct Parameters {
    pub gamma: Vec<f64>,
    pub beta: Vec<f64>,
    pub eps: f64,
}

/// Mean and biased variance of every channel.
#[derive(Clone, Debug, PartialEq)]
pub struct Statistics {
    pub mean: Vec<f64>,
    pub variance: Vec<f64>,
}

impl Statistics {
    /// 1/√(variance + ε); 0 where that is 1/0, as every x − mean is 0 there.
    pub fn inverse_std(&self, channel: usize, eps: f64) -> f64 {
        let spread = self.variance[channel] + eps;
        if spread == 0.0 { 0.0 } else { 1.0 / spread.sqrt() }
    }
}

/// Gradients of a loss whose gradient with respect to y is dy.
pub struct Gradients {
    pub dx: Vec<f64>,
    pub gamma: Vec<f64>,
    pub beta: Vec<f64>,
}

/// x less the mean of its channel.
///
/// The first element is taken off before, and exactly: a mean of 10⁷ has an ulp of
/// 10⁻⁹ even in f64, which times a dy of 10⁴ is more than the kernel's error.
fn centered(channels: &Channels, x: &[f64]) -> Vec<f64> {
    let first = channels.each(x, |x| x[0]);
    let near = channels.map(|i, c| x[i] - first[c]);
    let mean = channels.each(&near, mean);
    channels.map(|i, c| near[i] - mean[c])
}

/// Statistics of a batch.
pub fn statistics(channels: &Channels, x: &[f64]) -> Statistics {
    let deviations = centered(channels, x);
    let mean_square = |d: &[f64]| d.iter().map(|d| d * d).sum::<f64>() / d.len() as f64;
    Statistics { mean: channels.each(x, mean), variance: channels.each(&deviations, mean_square) }
}

/// x̂ by the statistics of x itself.
pub fn normalized(channels: &Channels, x: &[f64], eps: f64) -> Vec<f64> {
    let statistics = statistics(channels, x);
    let deviations = centered(channels, x);
    channels.map(|i, c| deviations[i] * statistics.inverse_std(c, eps))
}

/// x̂ by given statistics.
pub fn normalized_by(
    statistics: &Statistics,
    channels: &Channels,
    x: &[f64],
    eps: f64,
) -> Vec<f64> {
    channels.map(|i, c| (x[i] - statistics.mean[c]) * statistics.inverse_std(c, eps))
}

/// y = γ·x̂ + β.
pub fn affine(channels: &Channels, x_hat: &[f64], parameters: &Parameters) -> Vec<f64> {
    channels.map(|i, c| x_hat[i] * parameters.gamma[c] + parameters.beta[c])
}

/// y by the statistics of x itself.
pub fn training(channels: &Channels, x: &[f64], parameters: &Parameters) -> Vec<f64> {
    affine(channels, &normalized(channels, x, parameters.eps), parameters)
}

/// y by given statistics.
pub fn inference(
    channels: &Channels,
    x: &[f64],
    statistics: &Statistics,
    parameters: &Parameters,
) -> Vec<f64> {
    let x_hat = normalized_by(statistics, channels, x, parameters.eps);
    affine(channels, &x_hat, parameters)
}

/// Gradients of [`training`].
pub fn backward(channels: &Channels, x: &[f64], dy: &[f64], parameters: &Parameters) -> Gradients {
    let statistics = statistics(channels, x);
    let x_hat = normalized(channels, x, parameters.eps);
    let dy_x_hat = channels.map(|i, _| dy[i] * x_hat[i]);
    let (mean_dy, mean_dy_x_hat) = (channels.each(dy, mean), channels.each(&dy_x_hat, mean));
    let dx = channels.map(|i, c| {
        let scale = parameters.gamma[c] * statistics.inverse_std(c, parameters.eps);
        scale * (dy[i] - mean_dy[c] - x_hat[i] * mean_dy_x_hat[c])
    });
    Gradients { dx, gamma: channels.each(&dy_x_hat, sum), beta: channels.each(dy, sum) }
}

/// Gradients of [`inference`], whose statistics are constants.
pub fn backward_constant(
    channels: &Channels,
    x: &[f64],
    dy: &[f64],
    statistics: &Statistics,
    parameters: &Parameters,
) -> Gradients {
    let x_hat = normalized_by(statistics, channels, x, parameters.eps);
    let dy_x_hat = channels.map(|i, _| dy[i] * x_hat[i]);
    let dx = channels
        .map(|i, c| dy[i] * parameters.gamma[c] * statistics.inverse_std(c, parameters.eps));
    Gradients { dx, gamma: channels.each(&dy_x_hat, sum), beta: channels.each(dy, sum) }
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
