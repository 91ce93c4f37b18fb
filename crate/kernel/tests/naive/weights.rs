//! Batch norm whose statistics count elements by their weights.

use super::batch::{Gradients, Parameters, Statistics, normalized_by};
use super::{Channels, sum};

/// Weighted means and biased variances; what is weighted 0 is not looked at.
pub fn statistics(channels: &Channels, x: &[f64], weights: &[f64]) -> Statistics {
    let of_channel = |channel: usize| {
        let all = channels.pick(channel, x).into_iter().zip(channels.pick(channel, weights));
        let counted: Vec<_> = all.filter(|&(_, weight)| weight > 0.0).collect();
        let total = sum(&counted.iter().map(|(_, weight)| *weight).collect::<Vec<_>>());
        let over = |of: &dyn Fn(f64) -> f64| {
            let terms: Vec<_> = counted.iter().map(|(x, weight)| weight * of(*x)).collect();
            sum(&terms) / total
        };
        // As near to the mean as f64 can be, whatever that is.
        let first = counted[0].0;
        let near = over(&|x| x - first);
        (first + near, over(&|x| (x - first - near).powi(2)))
    };
    let (mean, variance) = (0..channels.number).map(of_channel).unzip();
    Statistics { mean, variance }
}

/// The sum of each channel's weights.
pub fn totals(channels: &Channels, weights: &[f64]) -> Vec<f64> {
    channels.each(weights, sum)
}

/// Gradients of y = γ·x̂ + β through weighted statistics.
pub fn backward(
    channels: &Channels,
    [x, dy, weights]: [&[f64]; 3],
    statistics: &Statistics,
    parameters: &Parameters,
) -> Gradients {
    let x_hat = normalized_by(statistics, channels, x, parameters.eps);
    let totals = totals(channels, weights);
    let gamma = channels.each(&channels.map(|i, _| dy[i] * x_hat[i]), sum);
    let beta = channels.each(dy, sum);
    let dx = channels.map(|i, c| {
        let scale = parameters.gamma[c] * statistics.inverse_std(c, parameters.eps);
        scale * (dy[i] - weights[i] / totals[c] * (beta[c] + x_hat[i] * gamma[c]))
    });
    Gradients { dx, gamma, beta }
}
