//! Scale and offset of each channel, and their gradients.

use crate::Cells;

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
