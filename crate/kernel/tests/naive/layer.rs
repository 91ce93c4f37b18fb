//! Layer normalization (Ba, Kiros & Hinton, 2016, arXiv:1607.06450), and around 0 RMS normalization
//! (Zhang & Sennrich, 2019, arXiv:1910.07467).

use super::batch::{self, Gradients, Parameters, Statistics};
use super::{Channels, mean, sum};

/// What rows are centered around.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Around {
    /// Their means: layer norm.
    Mean,
    /// 0: RMS norm.
    Zero,
}

/// Which elements share statistics, and which γ and β.
pub struct Rows {
    pub around: Around,
    /// Rows.
    pub sets: Channels,
    /// Places in a row.
    pub channels: Channels,
}

impl Rows {
    /// Along the last dimension of a shape.
    pub fn of(sizes: &[u32], around: Around) -> Self {
        let channels = Channels::along(sizes, sizes.len() - 1);
        let of: Vec<_> = (0..channels.of.len()).map(|i| i / channels.number).collect();
        let number = channels.of.len() / channels.number;
        Self { around, sets: Channels::new(of, number), channels }
    }
}

/// Of each row.
pub fn statistics(rows: &Rows, x: &[f64]) -> Statistics {
    match rows.around {
        Around::Mean => batch::statistics(&rows.sets, x),
        Around::Zero => {
            let squares: Vec<_> = x.iter().map(|x| x * x).collect();
            Statistics {
                mean: vec![0.0; rows.sets.number],
                variance: rows.sets.each(&squares, mean),
            }
        }
    }
}

/// x̂ by each row's statistics.
pub fn normalized(rows: &Rows, x: &[f64], eps: f64) -> Vec<f64> {
    match rows.around {
        Around::Mean => batch::normalized(&rows.sets, x, eps),
        Around::Zero => batch::normalized_by(&statistics(rows, x), &rows.sets, x, eps),
    }
}

/// y = γ·x̂ + β.
pub fn forward(rows: &Rows, x: &[f64], parameters: &Parameters) -> Vec<f64> {
    batch::affine(&rows.channels, &normalized(rows, x, parameters.eps), parameters)
}

/// γ·dy.
pub fn weighed(rows: &Rows, dy: &[f64], parameters: &Parameters) -> Vec<f64> {
    rows.channels.map(|i, c| dy[i] * parameters.gamma[c])
}

/// dx = s·(γ·dy − mean of γ·dy − x̂·(mean of γ·dy·x̂)), means over the row; around 0 without the
/// first.
pub fn backward(rows: &Rows, x: &[f64], dy: &[f64], parameters: &Parameters) -> Gradients {
    let Rows { sets, channels, .. } = rows;
    let statistics = statistics(rows, x);
    let x_hat = normalized(rows, x, parameters.eps);
    let weighed = weighed(rows, dy, parameters);
    let projected = sets.map(|i, _| weighed[i] * x_hat[i]);
    let (mean_dy, slope) = (mean_of(rows, &weighed), sets.each(&projected, mean));
    let dx = sets.map(|i, set| {
        let inverse_std = statistics.inverse_std(set, parameters.eps);
        inverse_std * (weighed[i] - mean_dy[set] - x_hat[i] * slope[set])
    });
    let dy_x_hat = channels.map(|i, _| dy[i] * x_hat[i]);
    Gradients { dx, gamma: channels.each(&dy_x_hat, sum), beta: channels.each(dy, sum) }
}

/// Mean of γ·dy over each row, as far as it counts.
pub fn mean_of(rows: &Rows, weighed: &[f64]) -> Vec<f64> {
    match rows.around {
        Around::Mean => rows.sets.each(weighed, mean),
        Around::Zero => vec![0.0; rows.sets.number],
    }
}
