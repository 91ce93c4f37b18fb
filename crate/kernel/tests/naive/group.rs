//! Group normalization (Wu & He, 2018, arXiv:1803.08494).

use super::batch::{self, Gradients, Parameters, Statistics};
use super::{Channels, mean, sum};

/// Which elements share statistics, and which share γ and β in a sample.
pub struct Groups {
    /// Groups of each sample.
    pub sets: Channels,
    /// Channels of each sample.
    pub strands: Channels,
    /// Channels of all samples.
    pub channels: Channels,
    number: usize,
}

impl Groups {
    /// So many, of a shape with channels along `axis`; the first axis counts the samples, unless
    /// that is it.
    pub fn along(sizes: &[u32], axis: usize, number: usize) -> Self {
        let channels = Channels::along(sizes, axis);
        let samples = if axis == 0 { 1 } else { sizes[0] as usize };
        let strand = |element| {
            let sample = element / (channels.of.len() / samples).max(1);
            sample * channels.number + channels.of[element]
        };
        let strands: Vec<_> = (0..channels.of.len()).map(strand).collect();
        let size = channels.number / number;
        let sets = strands.iter().map(|strand| strand / size).collect();
        Self {
            sets: Channels::new(sets, samples * number),
            strands: Channels::new(strands, samples * channels.number),
            channels,
            number,
        }
    }

    /// Channels of a group.
    pub fn size(&self) -> usize {
        self.channels.number / self.number
    }

    pub fn set_of(&self, strand: usize) -> usize {
        strand / self.size()
    }

    pub fn channel_of(&self, strand: usize) -> usize {
        strand % self.channels.number
    }

    /// Values of sets, for each strand.
    pub fn of_strands(&self, values: &[f64]) -> Vec<f64> {
        (0..self.strands.number).map(|strand| values[self.set_of(strand)]).collect()
    }

    /// Sums of strands, for each channel.
    pub fn over_samples(&self, values: &[f64]) -> Vec<f64> {
        let of_channel = |channel| {
            let samples = (channel..values.len()).step_by(self.channels.number);
            sum(&samples.map(|strand| values[strand]).collect::<Vec<_>>())
        };
        (0..self.channels.number).map(of_channel).collect()
    }
}

/// Of each set.
pub fn statistics(groups: &Groups, x: &[f64]) -> Statistics {
    batch::statistics(&groups.sets, x)
}

/// y = γ·x̂ + β.
pub fn forward(groups: &Groups, x: &[f64], parameters: &Parameters) -> Vec<f64> {
    let x_hat = batch::normalized(&groups.sets, x, parameters.eps);
    batch::affine(&groups.channels, &x_hat, parameters)
}

/// γ·dy.
pub fn weighed(groups: &Groups, dy: &[f64], parameters: &Parameters) -> Vec<f64> {
    groups.channels.map(|i, c| dy[i] * parameters.gamma[c])
}

/// dx = s·(γ·dy − mean of γ·dy − x̂·(mean of γ·dy·x̂)), means over the set.
pub fn backward(groups: &Groups, x: &[f64], dy: &[f64], parameters: &Parameters) -> Gradients {
    let Groups { sets, channels, .. } = groups;
    let statistics = batch::statistics(sets, x);
    let x_hat = batch::normalized(sets, x, parameters.eps);
    let weighed = weighed(groups, dy, parameters);
    let projected = sets.map(|i, _| weighed[i] * x_hat[i]);
    let (mean_dy, slope) = (sets.each(&weighed, mean), sets.each(&projected, mean));
    let dx = sets.map(|i, set| {
        let inverse_std = statistics.inverse_std(set, parameters.eps);
        inverse_std * (weighed[i] - mean_dy[set] - x_hat[i] * slope[set])
    });
    let dy_x_hat = channels.map(|i, _| dy[i] * x_hat[i]);
    Gradients { dx, gamma: channels.each(&dy_x_hat, sum), beta: channels.each(dy, sum) }
}
