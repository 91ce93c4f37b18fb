//! The calls of group norm.

use batchnorm_kernel::Workspace;
use batchnorm_kernel::layout::Layout;
use batchnorm_kernel::norm::group;
use batchnorm_kernel::parameters::{ParameterGradients, Parameters};

use super::{needed, reserve};
use crate::abi::{Operation, Status, Word};
use crate::record::Record;

/// Each of them.
#[inline(always)]
pub fn call(
    record: Record,
    layout: &Layout,
    sets: &mut Layout,
    workspace: &mut Workspace,
) -> Result<(), Status> {
    let [eps, ..] = record.numbers;
    let [tensors, _] = record.tensors;
    let [x, y, _] = tensors;
    let groups = record.word(Word::Groups);
    if layout.channels.checked_rem(groups) != Some(0) {
        return Err(Status::BadRecord);
    }
    let number = layout.samples.checked_mul(groups).ok_or(Status::BadAddress)?;
    let saved = record.saved(number)?;
    if record.operation == Operation::GroupForward {
        let [gamma, beta] = record.pair(Word::Weight)?;
        reserve(workspace, layout)?;
        let parameters = Parameters { gamma, beta, eps };
        let room = (sets, workspace);
        group::forward(layout, [x, y], groups, &parameters, saved.as_ref(), room);
    } else {
        let saved = needed(saved)?;
        let [gamma, beta] = record.pair(Word::FirstAccumulator)?;
        group::reserve(layout, workspace).map_err(|_| Status::OutOfMemory)?;
        let gradients = ParameterGradients { gamma, beta };
        let room = (sets, workspace);
        group::backward(layout, tensors, groups, &saved, eps, &gradients, room);
    }
    Ok(())
}
