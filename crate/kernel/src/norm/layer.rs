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
use core::ops::Range;

use crate::Cells;
use crate::affine;
use crate::crew::{Work, share_out};
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
    let blocks = blocks_of(layout);
    let work = work_of(layout, slab, blocks);
    workspace.reserve(slab)?;
    workspace.crew.reserve_for(&work, slab);
    workspace.reserve_along(work.along)?;
    workspace.reserve_packed(work.packed)?;
    workspace.reserve_gradients(layout.channels)?;
    if blocks > 1 { workspace.reserve_totals(layout.channels) } else { Ok(()) }
}

/// What a pass over so many stretches of rows is to a crew, slab by slab.
fn work_of(layout: &Layout, slab: &Layout, parts: usize) -> Work {
    // γ, β, and two parts of their gradients; behind them a slab.
    let lanes = layout.channels.next_multiple_of(LANES);
    Work {
        number: layout.count,
        parts,
        elements: MAX_OPERANDS * layout.len(),
        along: 4 * lanes + slab.len(),
        packed: if layout.has_rows() { 0 } else { MAX_OPERANDS * slab.len() },
        gradients: layout.channels,
        sums: parts * 2 * lanes,
    }
}

/// Blocks of rows, each of which sums up gradients for itself: a matter of the shape, whoever does
/// them.
fn blocks_of(layout: &Layout) -> usize {
    let most = (layout.len() / layout.limits.block.max(1)).min(layout.count / TALL);
    most.clamp(1, Layout::MOST_BLOCKS)
}

/// Rows of a block, at least: adding its gradients to all others' is work, too.
const TALL: usize = 64;

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
    let visit: &Visit = &|slab, tensors, workspace, first| {
        let pass = &mut Pass::new(slab, tensors, workspace);
        let band = 0..slab.channels;
        moments::gather(pass, &band, own);
        forward.settle(pass, &band, first, 1);
        affine::apply_forward_along(pass, &band, [0, 1], [gamma, beta]);
    };
    let (slab, workspace) = room;
    let work = work_of(layout, slab, blocks_of(layout));
    let is_shared = share_out(&work, slab, workspace, &|own, _, rows, _| {
        by_slabs(layout, rows, &[x, y], own, visit);
    });
    if !is_shared {
        by_slabs(layout, 0..layout.count, &[x, y], (slab, &mut *workspace), visit);
    }
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
    let (slab, workspace) = room;
    let along = take(&mut workspace.along);
    let lanes = layout.channels.next_multiple_of(LANES);
    let [gamma, zeros]: [Cells; 2] = from_fn(|k| &along[k * lanes..][..lanes]);
    for (cell, value) in gamma.iter().zip(saved.gamma) {
        cell.set(value.get() as f32);
    }
    zeros.iter().for_each(|cell| cell.set(0.0));
    let none = &ParameterGradients { gamma: None, beta: None };
    // With what is behind γ and β, of the caller or of a desk: all else is the same.
    let visit = |beside: Cells,
                 slab: &mut Layout,
                 tensors: [Cells; MAX_OPERANDS],
                 workspace: &mut Workspace,
                 first: usize| {
        let (parts, g) = beside.split_at(2 * lanes);
        let parts = [&parts[..lanes], &parts[lanes..]];
        let band = 0..slab.channels;
        let [mean, variance] = [saved.mean, saved.variance].map(|all| &all[first..][..band.end]);
        let saved = &Saved::new([mean, variance, &[]]);
        let pass = &mut Pass::new(slab, tensors, workspace);
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
        let pass = &mut Pass::new(slab, [dy, g, dx], workspace);
        affine::apply_forward_along(pass, &band, [0, 1], [gamma, zeros]);
        slab.channel_strides = [of_x, slab.count, of_dx];
        batch::backward(slab, (&[x, g, dx], None), saved, (own, None), eps, none, workspace);
    };
    let blocks = blocks_of(layout);
    let work = work_of(layout, slab, blocks);
    let of_block = 2 * lanes;
    let is_shared = share_out(&work, slab, workspace, &|(slab, own), sums, rows, block| {
        let beside = take(&mut own.along);
        own.clear_gradients();
        by_slabs(layout, rows, &tensors, (slab, &mut *own), &|slab, tensors, workspace, first| {
            visit(&beside, slab, tensors, workspace, first);
        });
        own.leave_gradients(&sums[block * of_block..]);
        own.along = beside;
    });
    for block in 0..blocks {
        if is_shared {
            workspace.take_gradients(block * of_block);
            continue;
        }
        let rows = block * layout.count / blocks..(block + 1) * layout.count / blocks;
        let room = (&mut *slab, &mut *workspace);
        by_slabs(layout, rows, &tensors, room, &|slab, tensors, workspace, first| {
            visit(&along[2 * lanes..], slab, tensors, workspace, first);
        });
        if blocks > 1 {
            workspace.end_block(block + 1 == blocks);
        }
    }
    workspace.along = along;
    gradients.add(layout, workspace);
}

/// What is done with a slab: its layout, the tensors from there on, the number of rows before it.
type Visit<'a> = dyn Fn(&mut Layout, [Cells; MAX_OPERANDS], &mut Workspace, usize) + 'a;

/// Calls `visit` with each slab of some rows, of the tensors the last of which is written.
#[inline(never)]
fn by_slabs(
    layout: &Layout,
    rows: Range<usize>,
    tensors: &[Cells],
    (slab, workspace): Room,
    visit: &Visit,
) {
    let packed = take(&mut workspace.packed);
    let output = tensors.len() - 1;
    let mut first = rows.start;
    while first < rows.end {
        let most = rows_of_slab(layout).min(rows.end - first);
        let start = slab.rows(layout, first, most);
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
