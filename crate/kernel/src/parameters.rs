//! Scale and offset of each channel, and their gradients.

use crate::Cells;
use crate::layout::Layout;
use crate::workspace::Workspace;

/// Scale γ (1 where absent) and offset β (0 where absent) of each channel.
#[derive(Clone, Copy, Debug)]
pub struct Parameters<'a> {
    /// Scale, PyTorch's `weight`.
    pub gamma: Option<Cells<'a>>,
    /// Offset, PyTorch's `bias`.
    pub beta: Option<Cells<'a>>,
    /// Added to the variance; not negative.
    pub eps: f64,
}

/// Where the parameters' gradients are added up.
#[derive(Clone, Copy, Debug)]
pub struct ParameterGradients<'a> {
    /// `+= dγ`.
    pub gamma: Option<Cells<'a>>,
    /// `+= dβ`.
    pub beta: Option<Cells<'a>>,
}

impl ParameterGradients<'_> {
    /// Whether one of them is wanted.
    pub fn any(&self) -> bool {
        self.gamma.is_some() || self.beta.is_some()
    }

    /// Adds what was gathered over several walks of a layout.
    pub fn add(&self, layout: &Layout, workspace: &Workspace) {
        if layout.is_empty() {
            return;
        }
        for channel in 0..layout.channels {
            let [gamma, beta] = workspace.gradients(channel);
            accumulate(self.gamma, channel, gamma);
            accumulate(self.beta, channel, beta);
        }
    }
}

/// The value of a parameter, or what stands for it where it is absent.
pub fn value_of(parameter: Option<Cells>, channel: usize, absent: f64) -> f64 {
    parameter.map_or(absent, |cells| f64::from(cells[channel].get()))
}

/// Adds to a gradient that is wanted.
pub fn accumulate(gradient: Option<Cells>, channel: usize, value: f64) {
    if let Some(gradient) = gradient {
        let cell = &gradient[channel];
        cell.set((f64::from(cell.get()) + value) as f32);
    }
}
