//! Layer normalization (Ba, Kiros & Hinton, 2016, arXiv:1607.06450), and around 0 root mean square
//! normalization (Zhang & Sennrich, 2019, arXiv:1910.07467), or to unit length.
//!
//! ```text
//! μ, σ²   mean and biased variance of a row: a *set* of m elements
//!         around 0: 0 and the mean square
//! s  = 1/√(σ² + ε)          x̂ = (x − μ)·s
//!         to unit length: 1/max(‖x‖, ε), ‖x‖² for σ² and 1 for m
//! y  = γ·x̂ + β              γ, β: of a column
//!
//! dβ = Σ dy                  dγ = Σ x̂·dy                  over the rows
//! g  = γ·dy                  C  = Σ (x − μ)·g             over a row
//! dx = s·(g − Σg/m − (x − μ)·s²·C/m)                      around 0 without Σg/m
//! ```
//!
//! The walk is by *slabs*, some rows that are near after they were gathered: batch norm's passes,
//! with rows for channels. γ and β are taken along the rows, and their gradients summed up across
//! them. g has a place of its own: dx may be x or dy.
//!
//! Rows whose elements lie apart, as the channels of channels-first images do, are packed slab by
//! slab: a dozen rows side by side are a line of the cache.

use alloc::collections::TryReserveError;
use core::array::from_fn;
use core::mem::take;

use crate::Cells;
use crate::affine;
use crate::lanes::LANES;
use crate::layout::{Layout, MAX_OPERANDS};
use crate::moments;
use crate::norm::batch;
use crate::norm::forward::Forward;
use crate::parameters::{ParameterGradients, Parameters};
use crate::statistics::{Saved, Statistics};
use crate::sweep::{CHUNK, Pass, transpose};
use crate::workspace::Workspace;

/// Elements of a slab of one tensor, where its rows are not longer.
const SLAB: usize = 1 << 15;

/// Rows of a slab, at most: each has constants and sums.
const MOST: usize = 256;

/// What a pass works with, kept from call to call: the walk of a slab, and its constants and sums.
pub type Room<'a> = (&'a mut Layout, &'a mut Workspace);

/// Makes room for a pass over a layout's rows, with gradients of γ and β.
pub fn reserve(layout: &Layout, (slab, workspace): Room) -> Result<(), TryReserveError> {
    if layout.is_empty() {
        return Ok(());
    }
    slab.rows(layout, 0, rows_of_slab(layout));
    workspace.reserve(slab)?;
    // γ, β, and two parts of their gradients; behind them a slab.
    let lanes = layout.channels.next_multiple_of(LANES);
    let packed = if layout.has_rows() { 0 } else { MAX_OPERANDS * slab.len() };
    workspace.reserve_along(4 * lanes + slab.len())?;
    workspace.reserve_packed(packed)?;
    workspace.reserve_gradients(layout.channels)
}

/// Normalizes each row, around its mean or 0 as its `own` statistics are.
///
/// The layout's operands are x and y, its channels side by side. There has to be room.
pub fn forward(
    layout: &Layout,
    [x, y]: [Cells; 2],
    own: Statistics,
    parameters: &Parameters,
    saved: Option<&Saved>,
    room: Room,
) {
    let (given, activation, weights) = (None, None, None);
    let forward = Forward { parameters: Some(parameters), given, own, activation, weights, saved };
    forward.save_what_is_known();
    if layout.is_empty() {
        return;
    }
    let along = take(&mut room.1.along);
    let (ones, zeros) = along.split_at(layout.channels);
    let &Parameters { gamma, beta, eps } = parameters;
    let [gamma, beta] = [(gamma, ones, 1.0), (beta, zeros, 0.0)].map(|(given, absent, value)| {
        given.unwrap_or_else(|| {
            absent.iter().take(layout.channels).for_each(|cell| cell.set(value));
            absent
        })
    });
    let parameters = Some(&Parameters { gamma: None, beta: None, eps });
    let forward = Forward { parameters, ..forward };
    let workspace = by_slabs(layout, &[x, y], room, &mut |slab, tensors, workspace, first| {
        let pass = &mut Pass { layout: slab, tensors, weights: None, gated: None, workspace };
        let band = 0..slab.channels;
        moments::gather(pass, &band, own);
        forward.settle(pass, &band, first, 1);
        affine::apply_forward_along(pass, &band, [0, 1], [gamma, beta]);
    });
    workspace.along = along;
}

/// The gradients of [`forward`], by what it `saved`, and its ε.
///
/// The layout's operands are x, dy and dx, its channels side by side. There has to be room.
pub fn backward(
    layout: &Layout,
    tensors: [Cells; MAX_OPERANDS],
    own: Statistics,
    saved: &Saved,
    eps: f64,
    gradients: &ParameterGradients,
    room: Room,
) {
    if layout.is_empty() {
        return;
    }
    let along = take(&mut room.1.along);
    let lanes = layout.channels.next_multiple_of(LANES);
    let [gamma, zeros, parts @ ..]: [Cells; 4] = from_fn(|k| &along[k * lanes..][..lanes]);
    let g = &along[4 * lanes..];
    for (cell, value) in gamma.iter().zip(saved.gamma) {
        cell.set(value.get() as f32);
    }
    zeros.iter().for_each(|cell| cell.set(0.0));
    let none = &ParameterGradients { gamma: None, beta: None };
    let workspace = by_slabs(layout, &tensors, room, &mut |slab, tensors, workspace, first| {
        let band = 0..slab.channels;
        let [mean, variance] = [saved.mean, saved.variance].map(|all| &all[first..][..band.end]);
        let saved = &Saved::new([mean, variance, &[]]);
        let pass = &mut Pass { layout: slab, tensors, weights: None, gated: None, workspace };
        if gradients.any() {
            for set in band.clone() {
                let inverse_std = own.inverse_std(variance[set].get(), eps);
                let constants = affine::forward(mean[set].get(), inverse_std, 1.0, 0.0);
                pass.workspace.set_constants(set, constants);
            }
            affine::gradients_across(pass, &band, parts);
        }
        for set in band.clone() {
            pass.workspace.set_constants(set, affine::forward(0.0, 1.0, 1.0, 0.0));
        }
        let ([x, dy, dx], [of_x, of_dy, of_dx]) = (tensors, slab.channel_strides);
        slab.channel_strides = [of_dy, slab.count, of_dx];
        let pass =
            &mut Pass { layout: slab, tensors: [dy, g, dx], weights: None, gated: None, workspace };
        affine::apply_forward_along(pass, &band, [0, 1], [gamma, zeros]);
        slab.channel_strides = [of_x, slab.count, of_dx];
        batch::backward(slab, (&[x, g, dx], None), saved, (own, None), eps, none, workspace);
    });
    workspace.along = along;
    gradients.add(layout, workspace);
}

/// What is done with a slab: its layout, the tensors from there on, the number of rows before it.
type Visit<'a> = dyn FnMut(&mut Layout, [Cells; MAX_OPERANDS], &mut Workspace, usize) + 'a;

/// Calls `visit` with each slab, of the tensors the last of which is written; gives the workspace
/// back.
fn by_slabs<'a>(
    layout: &Layout,
    tensors: &[Cells],
    (slab, workspace): Room<'a>,
    visit: &mut Visit,
) -> &'a mut Workspace {
    let packed = take(&mut workspace.packed);
    let output = tensors.len() - 1;
    let mut first = 0;
    while first < layout.count {
        let start = slab.rows(layout, first, rows_of_slab(layout));
        let here: [Cells; MAX_OPERANDS] =
            from_fn(|k| tensors.get(k).and_then(|cells| cells.get(start[k]..)).unwrap_or(&[]));
        let rows = slab.channels;
        if layout.has_rows() {
            visit(slab, here, workspace, first);
        } else {
            let len = slab.len();
            let sizes = [slab.count, rows];
            let apart: [[usize; 2]; MAX_OPERANDS] =
                from_fn(|k| [layout.channel_strides[k], slab.channel_strides[k]]);
            let whole: [Cells; MAX_OPERANDS] = from_fn(|k| &packed[k * len..][..len]);
            for k in 0..output {
                carry(sizes, (here[k], apart[k]), (whole[k], [1, slab.count]));
            }
            slab.channel_strides = [slab.count; MAX_OPERANDS];
            visit(slab, whole, workspace, first);
            carry(sizes, (whole[output], [1, slab.count]), (here[output], apart[output]));
        }
        first += rows;
    }
    workspace.packed = packed;
    workspace
}

/// Copies rows of so many elements, which lie by strides from one element of a row to the next and
/// from one row to the next.
#[inline(never)]
fn carry(
    [elements, rows]: [usize; 2],
    (from, from_strides): (Cells, [usize; 2]),
    (to, to_strides): (Cells, [usize; 2]),
) {
    match (from_strides, to_strides) {
        ([stride, 1], [1, to_stride]) => {
            transpose([elements, rows], (from, stride), (to, to_stride))
        }
        ([1, stride], [to_stride, 1]) => {
            transpose([rows, elements], (from, stride), (to, to_stride))
        }
        _ => {
            let place = |of: [usize; 2], element, row| of[0] * element + of[1] * row;
            for element in 0..elements {
                for row in 0..rows {
                    let value = from[place(from_strides, element, row)].get();
                    to[place(to_strides, element, row)].set(value);
                }
            }
        }
    }
}

fn rows_of_slab(layout: &Layout) -> usize {
    let rows = (SLAB / layout.channels.max(1)).clamp(1, MOST);
    // Whole chunks of a fold across them.
    if rows < CHUNK { rows } else { rows - rows % CHUNK }
}
