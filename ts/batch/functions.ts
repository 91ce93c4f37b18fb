/**
 * Batch normalization (Ioffe & Szegedy 2015, arXiv:1502.03167), as functions of
 * tensors, parameters and saved values. The layer over them is `layer.ts`.
 *
 * ```text
 * y  = γ·(x − μ)/√(σ² + ε) + β      μ, σ²: of the batch, or running ones
 * dβ = Σ dy      dγ = Σ dy·x̂       dx = γ/√(σ² + ε)·(dy − dβ/n − x̂·dγ/n)
 * ```
 *
 * `crate/kernel/src/norm/batch.rs` has it in full. Statistics are each channel's,
 * over all other axes.
 */

import { bringIn, portOfCall, readTensor, type Vector } from "../core/arguments.js";
import { fail } from "../core/errors.js";
import { resolveAxis } from "../core/geometry.js";
import type { NormForward } from "../core/norm-options.js";
import type { Call } from "../core/operands.js";
import { readOptions } from "../core/options.js";
import { alongAxis, backwardPass, type ForwardPass, forwardPass } from "../core/passes.js";
import type { PlainResult, PlainTensor } from "../core/plain.js";
import { runCall } from "../core/run.js";
import { savedAccessOf } from "../core/saved-access.js";
import type { SavedState } from "../core/saved-state.js";
import type { Tensor } from "../core/tensor.js";
import type { Float64Values } from "../core/values.js";
import type { View } from "../core/view.js";
import { Operation } from "../generated/abi.js";
import { activate, readSlope } from "./activation.js";
import { runByBatch, runStatistics, runWeighted } from "./calls.js";
import {
  BACKWARD_OPTIONS,
  type BatchNormBackwardOptions,
  type BatchNormGradients,
  type BatchNormInferenceOptions,
  type BatchNormStatisticsOptions,
  type BatchNormTrainingOptions,
  INFERENCE_OPTIONS,
  readRunning,
  readVariant,
  STATISTICS_OPTIONS,
  TRAINING_OPTIONS,
} from "./function-options.js";
import { backThrough } from "./gated.js";
import { readGiven } from "./given.js";
import { type BatchNormSaved, savedAccess } from "./saved.js";
import { failForSlices, failForWeight, readWeights, withWeights } from "./weights.js";

/** A forward pass with what its backward pass needs. */
export type BatchNormForward<T> = NormForward<T, BatchNormSaved>;

export const INFERENCE = {
  owner: "batchNormInference",
  operation: Operation.Forward,
  backward: "batchNormBackward",
};
const TRAINING = {
  owner: "batchNormTraining",
  operation: Operation.Forward,
  backward: "batchNormBackward",
};

/**
 * Normalizes by given statistics: `y = γ·(x − mean)/√(variance + eps) + β`.
 *
 * @param x any rank from 1 on; `{ data, shape }` is copied in, and y out
 * @returns y (`out`, or a new tensor of x's shape); with `saved: true`, `{ y, saved }`
 * @throws BatchNormError `shape-mismatch`, `invalid-option`, `dtype`, `overlap`,
 *   `disposed`, `foreign-kernel`, `out-of-memory`, `unsupported` for `saved: true` in a program
 *   that can only infer
 *
 * @example
 * batchNormInference(x, { mean, variance });   // → Tensor([2, 3]) { -1, -1, -1, 1, 1, 1 }
 * const y = batchNormInference(x, { mean, variance, weight, bias, eps: 1e-3, axis: -1 });
 * const plain = batchNormInference({ data: pixels, shape: [784, 3] }, { mean, variance });
 */
export function batchNormInference(
  x: Tensor,
  options: BatchNormInferenceOptions & { saved: true },
): BatchNormForward<Tensor>;
export function batchNormInference(
  x: PlainTensor,
  options: BatchNormInferenceOptions & { saved: true },
): BatchNormForward<PlainResult>;
export function batchNormInference(
  x: Tensor,
  options: BatchNormInferenceOptions & { saved?: BatchNormSaved | false | null | undefined },
): Tensor;
export function batchNormInference(
  x: PlainTensor,
  options: BatchNormInferenceOptions & { saved?: BatchNormSaved | false | null | undefined },
): PlainResult;
export function batchNormInference(
  x: Tensor | PlainTensor,
  options: BatchNormInferenceOptions & { saved?: BatchNormSaved | false | null | undefined },
): Tensor | PlainResult;
export function batchNormInference(
  x: Tensor | PlainTensor,
  options: BatchNormInferenceOptions,
): Tensor | PlainResult | BatchNormForward<Tensor | PlainResult> {
  return infer(INFERENCE, x, options);
}

/** The same, in the name of a call that may be another. */
export function infer(
  declared: ForwardPass,
  x: Tensor | PlainTensor,
  options: BatchNormInferenceOptions,
): Tensor | PlainResult | BatchNormForward<Tensor | PlainResult> {
  const { owner } = declared;
  const given = readOptions(owner, options, INFERENCE_OPTIONS);
  const { saved, mean, variance } = given;
  const wanted = saved === false ? null : saved;
  const slope = readSlope(given.activation, given.negativeSlope, owner);
  const missing = mean == null ? "mean" : variance == null && "variance";
  if (missing) fail("invalid-option", `${owner}: ${missing} is missing`);
  const float64 = readGiven(mean, variance, owner);
  const run = (call: Call<View>, saved: SavedState | null) => {
    activate(call, slope);
    call.through = float64;
    return runCall(call, saved);
  };
  const access = savedAccessOf(Operation.Forward);
  const callOf = alongAxis(declared, given.axis);
  const statistics = float64 ? null : ({ mean, variance } as { mean: Vector; variance: Vector });
  const forward = forwardPass(declared, access, x, given, wanted, callOf, run, statistics);
  return wanted === true ? (forward as BatchNormForward<Tensor | PlainResult>) : forward.y;
}

/**
 * Normalizes by the statistics of the batch itself, and moves running ones if given.
 *
 * An empty batch (no values a channel) leaves running statistics as they are. With
 * `virtualBatchSize` it is the statistics of slices of the batch, with `mask` or `weights` those of
 * the positions that count, to which the gradient goes as well; where none does, running statistics
 * normalize and stay.
 *
 * @param x any rank from 1 on; `{ data, shape }` is copied in, and y out
 * @returns y (`out`, or a new tensor of x's shape) and what {@link batchNormBackward}
 *   needs; dispose both, or use `scope`
 * @throws BatchNormError as {@link batchNormInference}; `batch-too-small` where a slice has one value
 *   a channel, or where no position counts and there are no running statistics; `unsupported` for
 *   slices where the first axis counts the channels, or beside a mask
 *
 * @example
 * const { y, saved } = batchNormTraining(x, { weight, bias, runningMean, runningVar });
 * y;             // → Tensor([2, 3]) { -1, -1, -1, 3, 3, 3 }
 * runningMean;   // → Tensor([3]) { 0.2, 0.4, 0.6 }
 * batchNormTraining(x, { activation: "relu" }).y;   // → Tensor([2, 3]) { 0, 0, 0, 1, 1, 1 }
 * batchNormTraining(x, { mask: [1, 0] }).saved.mean;   // → Float64Array [1, 2, 3]
 */
export function batchNormTraining(
  x: Tensor,
  options?: BatchNormTrainingOptions | null,
): BatchNormForward<Tensor>;
export function batchNormTraining(
  x: PlainTensor,
  options?: BatchNormTrainingOptions | null,
): BatchNormForward<PlainResult>;
export function batchNormTraining(
  x: Tensor | PlainTensor,
  options?: BatchNormTrainingOptions | null,
): BatchNormForward<Tensor | PlainResult>;
export function batchNormTraining(
  x: Tensor | PlainTensor,
  options?: BatchNormTrainingOptions | null,
): BatchNormForward<Tensor | PlainResult> {
  const { owner } = TRAINING;
  const given = readOptions(owner, options, TRAINING_OPTIONS);
  const running = readRunning(given, owner);
  const variant = readVariant(given, running, owner);
  const read = readWeights(given, owner);
  if (read && variant.virtualBatchSize !== null) failForSlices(read, owner);
  const slope = readSlope(given.activation, given.negativeSlope, owner);
  const run = (call: Call<View>, saved: SavedState | null) => {
    activate(call, slope);
    return read
      ? runWeighted(call, running, read, saved as SavedState, variant)
      : runByBatch(call, running, null, saved as SavedState, variant);
  };
  const callOf = alongAxis(TRAINING, given.axis);
  const wanted = given.saved ?? true;
  const forward = forwardPass(TRAINING, savedAccess, x, given, wanted, callOf, run);
  return forward as BatchNormForward<Tensor | PlainResult>;
}

/**
 * The gradients of {@link batchNormTraining}, or of {@link batchNormInference}
 * with `saved`, with respect to x, weight, bias and the residual.
 *
 * @param dy of x's shape; `{ data, shape }` is copied in, and dx out
 * @returns dx (`out`, or a new tensor), and the gradients that were added to or made,
 *   `null` where there are none
 * @throws BatchNormError `stale` where x, or y of an activation, was overwritten or disposed
 *   since the forward pass; `shape-mismatch`, `overlap`, `disposed`, `foreign-kernel`, `out-of-memory`
 *
 * @example
 * const { saved } = batchNormTraining(x, { weight, bias });
 * const { dx, weightGrad, biasGrad } = batchNormBackward(dy, { saved });
 * weightGrad;   // → Tensor([3]) { 1, 3, 5 }
 * biasGrad;     // → Tensor([3]) { 3, 5, 7 }
 */
export function batchNormBackward(
  dy: Tensor,
  options: BatchNormBackwardOptions,
): BatchNormGradients<Tensor>;
export function batchNormBackward(
  dy: PlainTensor,
  options: BatchNormBackwardOptions,
): BatchNormGradients<PlainResult>;
export function batchNormBackward(
  dy: Tensor | PlainTensor,
  options: BatchNormBackwardOptions,
): BatchNormGradients<Tensor | PlainResult>;
export function batchNormBackward(
  dy: Tensor | PlainTensor,
  options: BatchNormBackwardOptions,
): BatchNormGradients<Tensor | PlainResult> {
  const owner = "batchNormBackward";
  const given = readOptions(owner, options, BACKWARD_OPTIONS);
  const gradients = backwardPass(owner, savedAccess, dy, given, backThrough);
  return gradients as BatchNormGradients<Tensor | PlainResult>;
}

/**
 * Mean and biased variance of each channel, in float64, without normalizing; moves
 * running statistics if given ("precise" and test-time adapted batch norm do so). With `mask` or
 * `weights` they are those of the positions that count.
 *
 * @param x any rank from 1 on; `{ data, shape }` is copied in
 * @throws BatchNormError as {@link batchNormTraining}; `batch-too-small` where no position counts
 *
 * @example
 * const { mean, variance } = batchNormStatistics(x, { axis: -1 });
 * mean;       // → Float64Array [2, 4, 6]
 * variance;   // → Float64Array [1, 4, 9]
 * batchNormStatistics(x, { weights: [3, 1] }).mean;   // → Float64Array [1.5, 3, 4.5]
 */
export function batchNormStatistics(
  x: Tensor | PlainTensor,
  options?: BatchNormStatisticsOptions | null,
): { mean: Float64Values; variance: Float64Values } {
  const { mean, variance } = readStatistics("batchNormStatistics", x, options, STATISTICS_OPTIONS);
  return { mean, variance };
}

/** The same, and how many values a channel has, and x samples. */
export function readStatistics(
  owner: string,
  x: Tensor | PlainTensor,
  options: BatchNormStatisticsOptions | null | undefined,
  names: readonly string[],
): { mean: Float64Values; variance: Float64Values; count: number; samples: number } {
  const given = readOptions(owner, options, names);
  const running = readRunning(given, owner);
  const givenWeights = readWeights(given, owner);
  const port = portOfCall(x, given, owner);
  const read = readTensor(x, port, owner, "x");
  const givenAxis = given.axis ?? 1;
  const view = bringIn(read, port);
  try {
    const axis = resolveAxis(givenAxis, view.shape.length, owner);
    const taken = withWeights(givenWeights, owner, view, axis, (weights) => {
      if (weights?.given === 0) failForWeight(owner);
      const count = weights?.given ?? view.size / Math.max(view.shape[axis] as number, 1);
      return { ...runStatistics(owner, view, axis, running, weights), count };
    });
    return { ...taken, samples: axis === 0 ? 1 : (view.shape[0] as number) };
  } finally {
    if (view !== read) view.dispose();
  }
}
