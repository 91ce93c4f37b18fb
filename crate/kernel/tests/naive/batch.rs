//! Batch normalization (Ioffe & Szegedy, 2015, arXiv:1502.03167).

use super::{Channels, mean, sum};

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
