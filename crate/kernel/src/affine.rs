//! The affine maps that a norm ends in.
//!
//! ```text
//! forward    y  = (x − c)·a + b           c = f32(mean)            a = γ·s
//!                                         b = β − a·(mean − c)     s = 1/√(var + ε)
//! backward   dx = ((dy − e) − (x − c)·k + r)·a
//!                                         e = f32(mean dy)         k = s·C/n
//!                                         r = k·(mean − c) − (mean dy − e)
//! weighted   dx = (dy − ((x − c)·k + (e − r))·w)·a      with W for n
//! by group   dx = (dy·γ − (x − c)·k + r)·s
//!                                         k = s²·ΣγC/n            r = k·(mean − c) − ΣγD/n
//! by row     y  = ((x − c)·s + o)·γ + β   o = −(mean − c)·s
//!            dγ = Σ((x − c)·s + o)·dy      dx: the backward map of γ·dy, with a = s
//! ```
//!
//! where C/n is the mean of (x̂ − mean x̂)·(dy − mean dy); ΣγC and ΣγD are a group's sums of
//! γ·(x − mean)·dy and of γ·dy. `x·a + (β − mean·a)`
//! would cancel where |mean| ≫ σ; here `x − c` is exact there, and what rounding
//! the mean to `c` leaves over is at most σ (no f32 lies nearer to the mean than
//! `c`), so that it can go into the offset. All constants are made in f64 and
//! rounded once.

use crate::Cells;
use crate::lanes::F32x4;
use crate::layout::{Band, Order};
use crate::sweep::{Pass, fold_across, map, map_along};
use crate::workspace::Constants;

/// Constants `[c, a, b]` of the forward map.
pub fn forward(mean: f64, inverse_std: f64, gamma: f64, beta: f64) -> Constants {
    let center = mean as f32;
    let scale = gamma * inverse_std;
    let off = mean - f64::from(center);
    // Not `beta - scale * off` where the mean is an f32: 0·∞ is no offset.
    let offset = if off == 0.0 { beta } else { beta - scale * off };
    [center, scale as f32, offset as f32, 0.0, 0.0]
}

/// Constants `[c, k, e, r, a]` of the backward map through batch statistics. a stands
/// apart from k: their product leaves f32's range where σ is 10²⁰ or 10⁻²⁰.
pub fn backward(
    mean: f64,
    inverse_std: f64,
    gamma: f64,
    mean_dy: f64,
    covariance: f64,
) -> Constants {
    let [center, center_dy] = [mean as f32, mean_dy as f32];
    let slope = inverse_std * covariance;
    let offset = slope * (mean - f64::from(center)) - (mean_dy - f64::from(center_dy));
    [center, slope as f32, center_dy, offset as f32, (gamma * inverse_std) as f32]
}

/// Constants `[c, k, γ, r, s]` of the backward map of a channel in a group, by the means of γ·dy
/// and of γ·(x − mean)·dy over the group.
pub fn backward_in_group(
    mean: f64,
    inverse_std: f64,
    gamma: f64,
    [mean_dy, covariance]: [f64; 2],
) -> Constants {
    let center = mean as f32;
    let slope = inverse_std * inverse_std * covariance;
    let offset = slope * (mean - f64::from(center)) - mean_dy;
    [center, slope as f32, gamma as f32, offset as f32, inverse_std as f32]
}

/// The forward map; with `c = b = 0` also the backward map through constant
/// statistics, `dx = dy·a`.
#[inline(always)]
pub(crate) fn forward_map([x]: [F32x4; 1], [center, scale, offset]: [F32x4; 3]) -> F32x4 {
    (x - center) * scale + offset
}

/// The backward map through batch statistics.
#[inline(always)]
fn backward_map(
    [x, dy]: [F32x4; 2],
    [center, slope, center_dy, offset, scale]: [F32x4; 5],
) -> F32x4 {
    ((dy - center_dy) - (x - center) * slope + offset) * scale
}

/// The backward map of a group's channels.
#[inline(always)]
fn backward_map_in_group(
    [x, dy]: [F32x4; 2],
    [center, slope, gamma, offset, scale]: [F32x4; 5],
) -> F32x4 {
    (dy * gamma - (x - center) * slope + offset) * scale
}

/// The backward map through weighted statistics.
#[inline(always)]
fn backward_map_weighted(
    [x, dy, weight]: [F32x4; 3],
    [center, slope, center_dy, offset, scale]: [F32x4; 5],
) -> F32x4 {
    let d = (x - center).where_positive(weight);
    (dy - (d * slope + (center_dy - offset)) * weight) * scale
}

/// Applies the forward map to a band, from one operand to another. (Compiled once: several norms
/// and passes end in it.)
#[inline(never)]
pub fn apply_forward(pass: &mut Pass, band: &Band, [from, to]: [usize; 2], order: Order) {
    map(pass, band, [from], to, order, forward_map);
}

/// Applies the backward map to a band, from x and dy, operands 0 and 1, to dx.
pub fn apply_backward(pass: &mut Pass, band: &Band) {
    map(pass, band, [0, 1], 2, Order::Backwards, backward_map);
}

/// Applies the backward map through weighted statistics to a band, likewise.
pub fn apply_backward_weighted(pass: &mut Pass, band: &Band) {
    map(pass, band, [0, 1], 2, Order::Backwards, backward_map_weighted);
}

/// Applies the backward map of groups to a band, from x and dy, operands 0 and 1, to dx.
pub fn apply_backward_in_group(pass: &mut Pass, band: &Band) {
    map(pass, band, [0, 1], 2, Order::Backwards, backward_map_in_group);
}

/// Applies the forward map to runs of a band, with γ and β along them.
#[inline(never)]
pub fn apply_forward_along(
    pass: &mut Pass,
    band: &Band,
    [from, to]: [usize; 2],
    parameters: [Cells; 2],
) {
    map_along(
        pass,
        band,
        [from],
        parameters,
        to,
        |[x, gamma, beta]: [F32x4; 3], constants: [F32x4; 3]| {
            forward_map([x], constants) * gamma + beta
        },
    );
}

/// Adds up the gradients of γ and β across runs of a band of x and dy, operands 0 and 1, by the
/// constants of x's forward map; `parts` are room for it, as [`fold_across`] has it.
pub fn gradients_across(pass: &mut Pass, band: &Band, parts: [Cells; 2]) {
    fold_across(pass, band, parts, |[gamma, beta]: [F32x4; 2], [x, dy], constants| {
        [gamma + forward_map([x], constants) * dy, beta + dy]
    });
}
