//! Activations in a norm's last step, and a residual before them: ReLU and its leaky kin, as
//! in post-activation residual networks (He et al., 2015, arXiv:1512.03385).
//!
//! ```text
//! v  = γ·x̂ + β + residual
//! y  = v where v > 0, else slope·v       slope: 0 of ReLU, 1 of none
//! dv = dy where y > 0, else slope·dy     the gradient of the residual, and the norm's dy
//! ```
//!
//! The sign of y is that of v, so that nothing else is kept. Where the slope is 0 nothing comes
//! through, neither −∞ nor what isn't a number of dy; a v that isn't one stays that.

use crate::Cells;
use crate::affine::forward_map;
use crate::lanes::F32x4;
use crate::layout::{Band, Layout, MAX_OPERANDS, Order};
use crate::sweep::{Pass, gate, map};
use crate::workspace::{Constants, Workspace};

/// What follows an affine map.
#[derive(Clone, Copy, Debug)]
pub struct Activation {
    /// Of what is not above 0; from 0 to 1.
    pub slope: f32,
    /// Whether a residual is added before: then it is the operand between x and y.
    pub residual: bool,
}

impl Activation {
    /// The constants of the forward map, to which its own are added. (As such they take less code
    /// than captured ones would.)
    pub fn constants(self, [center, scale, offset, ..]: Constants) -> Constants {
        // y is the larger one of v and slope·v, which is not a number where nothing is to come
        // through: then the larger one of v and 0.
        let least = if self.slope > 0.0 { f32::NEG_INFINITY } else { 0.0 };
        [center, scale, offset, self.slope, least]
    }

    /// Applies the forward map and what follows to a band.
    pub fn apply(self, pass: &mut Pass, band: &Band, order: Order) {
        if self.residual {
            map(pass, band, [0, 1], 2, order, residual_map);
        } else {
            map(pass, band, [0], 1, order, activated_map);
        }
    }
}

#[inline(always)]
fn activated_map([x]: [F32x4; 1], [center, scale, offset, slope, least]: [F32x4; 5]) -> F32x4 {
    let v = forward_map([x], [center, scale, offset]);
    v.max(least.max(v * slope))
}

#[inline(always)]
fn residual_map(
    [x, residual]: [F32x4; 2],
    [center, scale, offset, slope, least]: [F32x4; 5],
) -> F32x4 {
    let v = forward_map([x], [center, scale, offset]) + residual;
    v.max(least.max(v * slope))
}

/// Where dy is gated by the sign of y.
#[derive(Clone, Copy, Debug)]
pub struct Gate<'a> {
    /// Its operands are dy, y and what is written.
    pub layout: &'a Layout,
    /// These.
    pub tensors: [Cells<'a>; MAX_OPERANDS],
    /// As [`Activation::slope`].
    pub slope: f32,
}

impl<'a> Gate<'a> {
    /// The tensors of a ReLU, if all lie as x does: then each block can be gated right before it is
    /// folded, by the walk over x.
    pub fn by_block(&self, x: &Layout) -> Option<[Cells<'a>; MAX_OPERANDS]> {
        let alike = [self.layout, x].iter().all(|layout| layout.lies_alike());
        (self.slope == 0.0 && alike).then_some(self.tensors)
    }

    /// Gates a band.
    pub fn apply(&self, band: &Band, workspace: &mut Workspace) {
        let &Self { layout, tensors, slope } = self;
        let pass = &mut Pass::new(layout, tensors, workspace);
        if slope > 0.0 {
            pass.workspace.fill_constants(band, slope);
            map(pass, band, [0, 1], 2, Order::Backwards, gate_map);
        } else {
            gate(pass, band);
        }
    }
}

#[inline(always)]
fn gate_map([dy, y]: [F32x4; 2], [slope]: [F32x4; 1]) -> F32x4 {
    let below = (dy * slope).where_above_zero(slope, F32x4::splat(0.0));
    dy.where_above_zero(y, below)
}
