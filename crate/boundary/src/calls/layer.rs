//! The calls of layer and RMS norm, and to unit length.

use batchnorm_kernel::Workspace;
use batchnorm_kernel::layout::Layout;
use batchnorm_kernel::norm::layer;
use batchnorm_kernel::parameters::{ParameterGradients, Parameters};
use batchnorm_kernel::statistics::Statistics;

use super::needed;
use crate::abi::{Operation, Status, Word};
use crate::record::Record;

/// Each of them.
#[inline(always)]
pub fn call(
    record: Record,
    layout: &Layout,
    slab: &mut Layout,
    workspace: &mut Workspace,
) -> Result<(), Status> {
    let [eps, ..] = record.numbers;
    let [tensors, _] = record.tensors;
    let [x, y, _] = tensors;
    let saved = record.saved(layout.count)?;
    let own = match record.operation {
        Operation::LayerForward | Operation::LayerBackward => Statistics::BATCH,
        Operation::UnitForward | Operation::UnitBackward => Statistics::SUMS_OF_SQUARES,
        _ => Statistics::SQUARES,
    };
    let reserved = layer::reserve(layout, (&mut *slab, &mut *workspace));
    reserved.map_err(|_| Status::OutOfMemory)?;
    let room = (slab, workspace);
    if record.operation.described().needs_saved {
        let saved = needed(saved)?;
        let [gamma, beta] = record.pair(Word::FirstAccumulator)?;
        let gradients = ParameterGradients { gamma, beta };
        layer::backward(layout, tensors, own, &saved, eps, &gradients, room);
    } else {
        let [gamma, beta] = record.pair(Word::Weight)?;
        let parameters = Parameters { gamma, beta, eps };
        layer::forward(layout, [x, y], own, &parameters, saved.as_ref(), room);
    }
    Ok(())
}
