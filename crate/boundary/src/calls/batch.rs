//! The calls of batch norm.

use batchnorm_kernel::Workspace;
use batchnorm_kernel::activation::{Activation, Gate};
use batchnorm_kernel::layout::Layout;
use batchnorm_kernel::norm::batch::{self, Given};
use batchnorm_kernel::parameters::{ParameterGradients, Parameters};
use batchnorm_kernel::statistics::Statistics;
use batchnorm_kernel::sweep::Weights;

use super::{needed, reserve};
use crate::abi::{Operation, Status, Word};
use crate::record::Record;

/// Each of them: as functions of their own, or with a record by reference, they take 60 to 100
/// bytes more of the module, gzipped.
#[inline(always)]
pub fn call(
    record: Record,
    layout: &Layout,
    gate: &Layout,
    workspace: &mut Workspace,
) -> Result<(), Status> {
    let [eps, momentum, correction, slope] = record.numbers;
    let slope = slope as f32;
    let [tensors, gated] = &record.tensors;
    let accumulators = record.pair(Word::FirstAccumulator)?;
    let mut saved = record.saved(layout.channels)?;
    if let Some(saved) = &mut saved {
        saved.renorm = record.renorm()?;
    }
    let constant = record.word(Word::Constant) != 0;
    let weights = record.weights(layout.count)?;
    let weights = weights.as_ref();
    if weights.is_some() {
        let room = workspace.reserve_packed(Weights::room(layout));
        room.map_err(|_| Status::OutOfMemory)?;
    }
    let activation = match record.operation {
        Operation::ActivatedForward => Some(Activation { slope, residual: false }),
        Operation::ResidualForward => Some(Activation { slope, residual: true }),
        _ => None,
    };
    if record.operation == Operation::Forward || activation.is_some() {
        let [gamma, beta] = record.pair(Word::Weight)?;
        let given = match record.pair(Word::Mean)? {
            [Some(mean), Some(variance)] => Some(Given::Vectors([mean, variance])),
            [None, None] if saved.is_some() => constant.then_some(Given::Saved),
            _ => return Err(Status::BadRecord),
        };
        let is_negative = match (given, &saved) {
            (Some(Given::Vectors([_, variance])), _) => variance.iter().any(|one| one.get() < 0.0),
            (Some(Given::Saved), Some(saved)) => saved.variance.iter().any(|one| one.get() < 0.0),
            _ => false,
        };
        if is_negative {
            return Err(Status::NegativeVariance);
        }
        reserve(workspace, layout)?;
        let parameters = Parameters { gamma, beta, eps };
        let walked = (tensors, activation);
        batch::forward(layout, walked, &parameters, given, weights, saved.as_ref(), workspace);
        if given.is_some() {
            return Ok(());
        }
    }
    let saved = needed(saved)?;
    match record.operation {
        Operation::Forward
        | Operation::ActivatedForward
        | Operation::ResidualForward
        | Operation::Update => {
            if let ([Some(mean), Some(variance)], false) = (accumulators, layout.is_empty()) {
                batch::update_running([mean, variance], &saved, momentum, correction);
            }
        }
        Operation::Statistics => {
            reserve(workspace, layout)?;
            batch::statistics(layout, tensors[0], weights, &saved, workspace);
        }
        Operation::Backward | Operation::ActivatedBackward => {
            reserve(workspace, layout)?;
            let gate = Gate { layout: gate, tensors: *gated, slope };
            let is_gated = record.operation == Operation::ActivatedBackward;
            if is_gated {
                reserve(workspace, gate.layout)?;
            }
            let walked = (tensors, is_gated.then_some(&gate));
            let statistics = if constant { Statistics::GIVEN } else { Statistics::BATCH };
            let [gamma, beta] = accumulators;
            let gradients = ParameterGradients { gamma, beta };
            let taken = (statistics, weights);
            batch::backward(layout, walked, &saved, taken, eps, &gradients, workspace);
        }
        // Another norm's.
        _ => return Err(Status::BadRecord),
    }
    Ok(())
}
