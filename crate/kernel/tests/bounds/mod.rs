//! How far from the f64 truth the kernel's arithmetic can take a result.
//!
//! ```text
//! u   unit roundoff of f32, 2⁻²⁴             p   pivot of a channel, d = x − p
//! L   additions in a row that an f32 accumulator takes part in
//! δ   |p − mean|, at most 2σ, or else the sums were taken again around the mean
//! ```
//!
//! A sum of L terms of f32 is off by at most L·u·Σ|terms| (Higham, "Accuracy and
//! Stability of Numerical Algorithms", eq. 4.4), and by about √L·u·Σ|terms| where
//! the roundings are independent (Higham & Mary, 2019): `growth` is one of these.
//! Quadratic means bound linear ones, so a bound over parts is one over the whole.
#![allow(dead_code, reason = "every test crate uses a part of it")]

use batchnorm_kernel::layout::{Form, Layout, Order};

use crate::naive::batch::{self, Gradients, Parameters, Statistics};
use crate::naive::group::{self, Groups};
use crate::naive::layer::{self, Around, Rows};
use crate::naive::{Channels, mean};

/// Unit roundoff of f32.
pub const U: f64 = 1.0 / (1 << 24) as f64;

/// Unit roundoff of the sums in f64, over some dozen additions.
const U_WIDE: f64 = 16.0 * f64::EPSILON;

/// δ/σ at most, where the mean has been checked to be near the pivot.
const NEAR: f64 = 2.0;

/// What the smallest f32 above 0 rounds away.
const DENORMAL: f64 = f32::MIN_POSITIVE as f64 * f32::EPSILON as f64;

/// Errors that a layout's sums can reach.
pub struct Bounds {
    chain: f64,
    growth: f64,
    random: bool,
}

impl Bounds {
    /// For any values at all.
    pub fn worst(layout: &Layout) -> Self {
        Self::worst_of(&[layout])
    }

    /// For any values, where statistics came from one layout and gradients from another.
    pub fn worst_of(layouts: &[&Layout]) -> Self {
        let chain = layouts.iter().map(|layout| longest_chain(layout)).fold(0.0, f64::max);
        Self { chain, growth: chain + 5.0, random: false }
    }

    /// For any values at all, each so often as its weight says: a whole number up to `most`.
    pub fn weighted(layout: &Layout, most: f64) -> Self {
        let chain = longest_chain(layout);
        // Terms are products with their weights: one more rounding, and so much larger.
        Self { chain: most * chain, growth: chain + 6.0, random: false }
    }

    /// For values without a pattern, twice the standard deviation.
    pub fn random(layout: &Layout) -> Self {
        let chain = longest_chain(layout);
        Self { chain, growth: 2.0 * chain.sqrt() + 5.0, random: true }
    }

    /// Of the mean and the variance.
    pub fn statistics(&self, channels: &Channels, x: &[f64], truth: &Statistics) -> Statistics {
        let of_channel = |channel: usize| {
            let x = channels.pick(channel, x);
            let (mean_x, variance) = (truth.mean[channel], truth.variance[channel]);
            // Around the mean itself, that was rounded to f32.
            let pivot = (NEAR * NEAR * variance).max((U * mean_x).powi(2));
            let wide = U_WIDE * (mean_x.abs() * variance.sqrt() + variance + pivot);
            if self.sums_are_exact(&x) {
                return (U_WIDE * mean_x.abs(), wide);
            }
            // mean = p + Σd/n, and |d| is √(σ² + δ²) in the quadratic mean.
            let mean_error = self.growth * U * (variance + pivot).sqrt() + U_WIDE * mean_x.abs();
            // Σd² − (Σd)²/n: n·(σ² + δ²) once, and δ·Σ|d|, at most δ·√(σ² + δ²) a value, twice.
            (mean_error, self.growth * U * (2.0 * variance + 3.0 * pivot) + wide)
        };
        let (mean, variance) = (0..channels.number).map(of_channel).unzip();
        Statistics { mean, variance }
    }

    /// Values of one sign and binade or two are whole multiples of a quantum, and so
    /// are their deviations: sums of their squares are exact up to 2²⁴ quanta.
    fn sums_are_exact(&self, x: &[f64]) -> bool {
        let least = x.iter().map(|x| x.abs()).fold(f64::INFINITY, f64::min);
        let most = x.iter().map(|x| x.abs()).fold(0.0, f64::max);
        let one_sign = x.iter().all(|&x| x > 0.0) || x.iter().all(|&x| x < 0.0);
        let quantum = 2.0 * U * least.log2().floor().exp2();
        let deviations = (most - least + 2.0 * U * most) / quantum;
        one_sign && most <= 2.0 * least && self.chain * deviations * deviations <= 1.0 / U
    }

    /// Of the inverse standard deviation, relative: half of the variance's.
    fn scale(truth: &Statistics, errors: &Statistics, channel: usize, eps: f64) -> f64 {
        let spread = truth.variance[channel] + eps;
        let relative = errors.variance[channel] / spread;
        if spread == 0.0 { 0.0 } else { 1.0 / (1.0 - relative).max(0.0).sqrt() - 1.0 }
    }

    /// Of `y = (x − c)·a + b` by batch statistics.
    pub fn training(&self, channels: &Channels, x: &[f64], parameters: &Parameters) -> Vec<f64> {
        let truth = batch::statistics(channels, x);
        let errors = self.statistics(channels, x, &truth);
        let arithmetic = affine(channels, x, &truth, parameters);
        let x_hat = batch::normalized(channels, x, parameters.eps);
        channels.map(|i, c| {
            let scale = Self::scale(&truth, &errors, c, parameters.eps);
            // What the mean is off shifts x̂ by as many standard deviations.
            let shift = errors.mean[c] * truth.inverse_std(c, parameters.eps);
            let of_statistics = x_hat[i].abs() * scale + shift * (1.0 + scale);
            arithmetic[i] + parameters.gamma[c].abs() * of_statistics
        })
    }

    /// Of the gradients through batch statistics.
    pub fn backward(
        &self,
        channels: &Channels,
        x: &[f64],
        dy: &[f64],
        parameters: &Parameters,
    ) -> Gradients {
        let truth = batch::statistics(channels, x);
        let errors = self.statistics(channels, x, &truth);
        let gradients = batch::backward(channels, x, dy, parameters);
        let x_hat = batch::normalized(channels, x, parameters.eps);
        let centered = |dy: &[f64]| {
            let mean_dy = mean(dy);
            let deviations: Vec<_> = dy.iter().map(|dy| dy - mean_dy).collect();
            let furthest = deviations.iter().map(|e| e.abs()).fold(0.0, f64::max);
            // The pivot of dy is one of its values or between some of them.
            root_mean_square(&deviations).hypot(if self.random { NEAR } else { furthest })
        };
        let mut sums = self.gradient_sums(channels, &x_hat, dy, &truth, parameters.eps, centered);
        for (c, error) in sums.gamma.iter_mut().enumerate() {
            // Σ(x − mean) is not quite 0.
            *error += errors.mean[c]
                * truth.inverse_std(c, parameters.eps)
                * centered(&channels.pick(c, dy));
        }
        let count = (x.len() / channels.number) as f64;
        let scale = |c| Self::scale(&truth, &errors, c, parameters.eps);
        let dx = channels.map(|i, c| {
            let inverse_std = truth.inverse_std(c, parameters.eps);
            let (mean_dy, slope) = (gradients.beta[c] / count, (gradients.gamma[c] / count).abs());
            let center = U * truth.mean[c].abs() * inverse_std;
            let dy = (dy[i] - mean_dy).abs() + U * mean_dy.abs();
            let x = (x_hat[i].abs() + center) * slope;
            // dy: subtracted, scaled, a rounded, two additions and the rest r;
            // x: slope q and its product beside these.
            let arithmetic = U * (6.0 * dy + 9.0 * x) + DENORMAL * x_hat[i].abs() / inverse_std;
            let of_statistics = scale(c) * (dy + 3.0 * x) + slope * inverse_std * errors.mean[c];
            let of_sums = sums.beta[c] + x_hat[i].abs() * sums.gamma[c];
            let a = (parameters.gamma[c] * inverse_std).abs();
            if a == 0.0 { 0.0 } else { a * (arithmetic + of_statistics + of_sums) + DENORMAL }
        });
        let of_gamma = |c: usize| {
            let value = gradients.gamma[c].abs();
            count * sums.gamma[c] + (U + 2.0 * scale(c)) * value + DENORMAL
        };
        let of_beta = |c: usize| count * sums.beta[c] + U * gradients.beta[c].abs() + DENORMAL;
        Gradients {
            dx,
            gamma: (0..channels.number).map(of_gamma).collect(),
            beta: (0..channels.number).map(of_beta).collect(),
        }
    }

    /// Of the gradients through constant statistics.
    pub fn backward_constant(
        &self,
        channels: &Channels,
        x: &[f64],
        dy: &[f64],
        statistics: &Statistics,
        parameters: &Parameters,
    ) -> Gradients {
        let truth = batch::backward_constant(channels, x, dy, statistics, parameters);
        let x_hat = batch::normalized_by(statistics, channels, x, parameters.eps);
        let sums =
            self.gradient_sums(channels, &x_hat, dy, statistics, parameters.eps, root_mean_square);
        let count = (x.len() / channels.number) as f64;
        let of_gamma = |c: usize| count * sums.gamma[c] + U * truth.gamma[c].abs() + DENORMAL;
        let of_beta = |c: usize| count * sums.beta[c] + U * truth.beta[c].abs() + DENORMAL;
        Gradients {
            // a rounded, and its product.
            dx: truth.dx.iter().map(|dx| 2.0 * U * dx.abs() + DENORMAL).collect(),
            gamma: (0..channels.number).map(of_gamma).collect(),
            beta: (0..channels.number).map(of_beta).collect(),
        }
    }

    /// Of y by the statistics of each group.
    pub fn group(&self, groups: &Groups, x: &[f64], parameters: &Parameters) -> Vec<f64> {
        let truth = group::statistics(groups, x);
        let errors = self.statistics(&groups.sets, x, &truth);
        let x_hat = batch::normalized(&groups.sets, x, parameters.eps);
        let of_strands = Statistics {
            mean: groups.of_strands(&truth.mean),
            variance: groups.of_strands(&truth.variance),
        };
        let of_channels = |values: &[f64]| -> Vec<f64> {
            (0..groups.strands.number).map(|strand| values[groups.channel_of(strand)]).collect()
        };
        let parameters = &Parameters {
            gamma: of_channels(&parameters.gamma),
            beta: of_channels(&parameters.beta),
            eps: parameters.eps,
        };
        let arithmetic = affine(&groups.strands, x, &of_strands, parameters);
        groups.strands.map(|i, strand| {
            let set = groups.set_of(strand);
            let scale = Self::scale(&truth, &errors, set, parameters.eps);
            let shift = errors.mean[set] * truth.inverse_std(set, parameters.eps);
            let of_statistics = x_hat[i].abs() * scale + shift * (1.0 + scale);
            arithmetic[i] + parameters.gamma[strand].abs() * of_statistics
        })
    }

    /// Of the gradients through the statistics of each group.
    pub fn group_backward(
        &self,
        groups: &Groups,
        x: &[f64],
        dy: &[f64],
        parameters: &Parameters,
    ) -> Gradients {
        let Groups { sets, strands, .. } = groups;
        let eps = parameters.eps;
        let truth = group::statistics(groups, x);
        let errors = self.statistics(sets, x, &truth);
        let x_hat = batch::normalized(sets, x, eps);
        let of_strands = Statistics {
            mean: groups.of_strands(&truth.mean),
            variance: groups.of_strands(&truth.variance),
        };
        let mut sums = self.gradient_sums(strands, &x_hat, dy, &of_strands, eps, root_mean_square);
        let [mean_dy, mean_dy_x_hat] =
            [strands.each(dy, mean), strands.each(&strands.map(|i, _| dy[i] * x_hat[i]), mean)];
        for (strand, error) in sums.gamma.iter_mut().enumerate() {
            // Of a strand, Σ(x − mean)·dy sees what the mean is off.
            let set = groups.set_of(strand);
            *error += errors.mean[set] * truth.inverse_std(set, eps) * mean_dy[strand].abs();
        }
        let scale = |set| Self::scale(&truth, &errors, set, eps);
        let size = groups.size();
        let gamma = |strand: usize| parameters.gamma[groups.channel_of(strand)].abs();
        // Of means over the set, which are those of its strands' means.
        let over_set = |of_strand: &dyn Fn(usize) -> f64| -> Vec<f64> {
            let of_set = |set: usize| (set * size..(set + 1) * size).map(of_strand).sum::<f64>();
            (0..sets.number).map(|set| of_set(set) / size as f64).collect()
        };
        let of_mean = over_set(&|strand| gamma(strand) * sums.beta[strand]);
        let of_slope = over_set(&|strand| gamma(strand) * sums.gamma[strand]);
        let weighed = group::weighed(groups, dy, parameters);
        let projected = sets.map(|i, _| weighed[i] * x_hat[i]);
        let (means, slopes) = (sets.each(&weighed, mean), sets.each(&projected, mean));
        let dx = sets.map(|i, set| {
            let inverse_std = truth.inverse_std(set, eps);
            let (mean_dy, slope) = (means[set].abs(), slopes[set].abs());
            let center = U * truth.mean[set].abs() * inverse_std;
            let dy = weighed[i].abs() + mean_dy;
            let x = (x_hat[i].abs() + center) * slope;
            let arithmetic = U * (6.0 * dy + 9.0 * x) + DENORMAL * x_hat[i].abs() / inverse_std;
            let of_statistics =
                scale(set) * (dy + 3.0 * x) + slope * inverse_std * errors.mean[set];
            let of_sums = of_mean[set] + x_hat[i].abs() * of_slope[set];
            if inverse_std == 0.0 {
                return 0.0;
            }
            inverse_std * (arithmetic + of_statistics + of_sums + DENORMAL) + DENORMAL
        });
        let count = (x.len() / strands.number) as f64;
        let of_gamma = |strand: usize| {
            let value = count * mean_dy_x_hat[strand].abs();
            count * sums.gamma[strand] + 2.0 * scale(groups.set_of(strand)) * value + U * value
        };
        let of_beta = |strand: usize| count * (sums.beta[strand] + U * mean_dy[strand].abs());
        let over_samples = |of_strand: &dyn Fn(usize) -> f64| {
            let of_strands: Vec<_> = (0..strands.number).map(of_strand).collect();
            groups.over_samples(&of_strands).iter().map(|sum| sum + DENORMAL).collect()
        };
        Gradients { dx, gamma: over_samples(&of_gamma), beta: over_samples(&of_beta) }
    }

    /// Of the mean and variance of each row.
    pub fn row_statistics(&self, rows: &Rows, x: &[f64], truth: &Statistics) -> Statistics {
        match rows.around {
            Around::Mean => self.statistics(&rows.sets, x, truth),
            Around::Zero => Statistics {
                mean: vec![0.0; rows.sets.number],
                variance: truth.variance.iter().map(|square| self.growth * U * square).collect(),
            },
        }
    }

    /// Of x̂ = (x − c)·s + o, and of y = x̂·γ + β.
    pub fn row(&self, rows: &Rows, x: &[f64], parameters: &Parameters) -> [Vec<f64>; 2] {
        let truth = layer::statistics(rows, x);
        let errors = self.row_statistics(rows, x, &truth);
        let eps = parameters.eps;
        let x_hat = layer::normalized(rows, x, eps);
        let of_x_hat = rows.sets.map(|i, set| {
            let scale = Self::scale(&truth, &errors, set, eps);
            let inverse_std = truth.inverse_std(set, eps);
            let shift = errors.mean[set] * inverse_std;
            let center = U * truth.mean[set].abs() * inverse_std;
            let arithmetic = U * (4.0 * x_hat[i].abs() + 4.0 * center) + DENORMAL * inverse_std;
            arithmetic + x_hat[i].abs() * scale + shift * (1.0 + scale) + DENORMAL
        });
        let of_y = rows.channels.map(|i, c| {
            let (gamma, beta) = (parameters.gamma[c], parameters.beta[c]);
            let product = (x_hat[i] * gamma).abs();
            gamma.abs() * of_x_hat[i] * (1.0 + U) + U * (2.0 * product + beta.abs()) + DENORMAL
        });
        [of_x_hat, of_y]
    }

    /// Of the gradients through the statistics of each row; sums across the rows are of `across`.
    pub fn row_backward(
        &self,
        rows: &Rows,
        x: &[f64],
        dy: &[f64],
        parameters: &Parameters,
    ) -> Gradients {
        let Rows { sets, channels, .. } = rows;
        let eps = parameters.eps;
        let truth = layer::statistics(rows, x);
        let errors = self.row_statistics(rows, x, &truth);
        let x_hat = layer::normalized(rows, x, eps);
        let weighed = layer::weighed(rows, dy, parameters);
        let mut sums = self.gradient_sums(sets, &x_hat, &weighed, &truth, eps, root_mean_square);
        // γ·dy is rounded before it is summed up.
        let means = layer::mean_of(rows, &weighed);
        let plain_means = sets.each(&weighed, mean);
        let slopes = sets.each(&sets.map(|i, _| weighed[i] * x_hat[i]), mean);
        let root_mean_squares = sets.each(&weighed, root_mean_square);
        for (set, error) in sums.gamma.iter_mut().enumerate() {
            *error += errors.mean[set] * truth.inverse_std(set, eps) * plain_means[set].abs();
            *error += U * root_mean_squares[set];
        }
        for (set, error) in sums.beta.iter_mut().enumerate() {
            let counts = rows.around == Around::Mean;
            *error = if counts { *error + U * root_mean_squares[set] } else { 0.0 };
        }
        let dx = sets.map(|i, set| {
            let inverse_std = truth.inverse_std(set, eps);
            let scale = Self::scale(&truth, &errors, set, eps);
            let (mean_dy, slope) = (means[set].abs(), slopes[set].abs());
            let center = U * truth.mean[set].abs() * inverse_std;
            let dy = weighed[i].abs() + mean_dy;
            let x = (x_hat[i].abs() + center) * slope;
            let arithmetic = U * (6.0 * dy + 9.0 * x) + DENORMAL * x_hat[i].abs() / inverse_std;
            let of_statistics = scale * (dy + 3.0 * x) + slope * inverse_std * errors.mean[set];
            let of_sums = sums.beta[set] + (x_hat[i].abs() + center) * sums.gamma[set];
            if inverse_std == 0.0 {
                return 0.0;
            }
            inverse_std * (arithmetic + of_statistics + of_sums + DENORMAL) + DENORMAL
        });
        // Sixteen rows at most are summed up in f32.
        let [of_x_hat, _] = self.row(rows, x, parameters);
        let across = (16.0f64).min(sets.number as f64) + 2.0;
        let gamma = channels.each(
            &channels.map(|i, _| {
                dy[i].abs() * (of_x_hat[i] + across * U * (x_hat[i].abs() + of_x_hat[i]))
            }),
            |errors| errors.iter().sum::<f64>() + DENORMAL,
        );
        let beta = channels
            .each(dy, |dy| dy.iter().map(|dy| dy.abs()).sum::<f64>() * across * U + DENORMAL);
        Gradients { dx, gamma, beta }
    }

    /// Of the co-moment (`gamma`) and the mean of dy (`beta`), for one element; `spread`
    /// gives the quadratic mean of what is added up of dy.
    fn gradient_sums(
        &self,
        channels: &Channels,
        x_hat: &[f64],
        dy: &[f64],
        statistics: &Statistics,
        eps: f64,
        spread: impl Fn(&[f64]) -> f64,
    ) -> Gradients {
        let of_channel = |c: usize| {
            let dy = channels.pick(c, dy);
            let spread = spread(&dy);
            let center = U * (statistics.mean[c] * statistics.inverse_std(c, eps)).abs();
            let x_hat = root_mean_square(&channels.pick(c, x_hat)) + center;
            let co = self.growth * U * x_hat * spread + DENORMAL;
            (co, self.growth * U * spread + U_WIDE * mean(&dy).abs() + DENORMAL)
        };
        let (gamma, beta) = (0..channels.number).map(of_channel).unzip();
        Gradients { dx: Vec::new(), gamma, beta }
    }
}

/// Of `y = (x − c)·a + b` with constants that were rounded once.
pub fn affine(
    channels: &Channels,
    x: &[f64],
    statistics: &Statistics,
    parameters: &Parameters,
) -> Vec<f64> {
    let y = batch::inference(channels, x, statistics, parameters);
    channels.map(|i, c| {
        let a = (parameters.gamma[c] * statistics.inverse_std(c, parameters.eps)).abs();
        // What rounding the mean to c leaves over, and the offset b takes in.
        let rest = U * statistics.mean[c].abs();
        let rest =
            if statistics.mean[c] == f64::from(statistics.mean[c] as f32) { 0.0 } else { rest };
        let distance = (x[i] - statistics.mean[c]).abs() + rest;
        // x − c, a and their product are rounded, then b, then the sum.
        let product = distance * (3.0 * U * a + DENORMAL);
        let offset = if rest == 0.0 { 0.0 } else { U * (parameters.beta[c].abs() + a * rest) };
        product + offset + U * y[i].abs() + DENORMAL
    })
}

/// Steps that are added up in f32 before f64 takes in their sum: `CHUNK` of the kernel.
const CHUNK: usize = 16;

/// Elements of a run that one step of a fold takes in.
const STEP: usize = 8;

fn longest_chain(layout: &Layout) -> f64 {
    let mut longest = 0;
    layout.walk(&(0..layout.channels), layout.all_lines(), Order::Forwards, &mut |piece| {
        let chain = match layout.form {
            // Behind the last step a vector, and one of fewer elements, each added to one of two.
            Form::Runs => (piece.width / STEP).min(CHUNK) + 1,
            Form::Columns => piece.rows.min(CHUNK),
        };
        longest = longest.max(chain);
    });
    longest as f64
}

fn root_mean_square(values: &[f64]) -> f64 {
    let squares: Vec<_> = values.iter().map(|value| value * value).collect();
    mean(&squares).sqrt()
}

/// Fails where `got` is further from the truth than `bound`.
pub fn assert_within(what: &str, got: &[f64], truth: &[f64], bound: &[f64]) {
    assert_eq!(got.len(), truth.len());
    for i in 0..truth.len() {
        let error = (got[i] - truth[i]).abs();
        assert!(error <= bound[i], "{what}[{i}] = {} is not {} ± {}", got[i], truth[i], bound[i]);
    }
}
