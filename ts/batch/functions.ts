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

import {
  bringIn,
  portOfCall,
  readOut,
  readTensor,
  readVector,
  roomFor,
  takeOut,
} from "../core/arguments.js";
import { checkEps } from "../core/checks.js";
import { fail, mustBe } from "../core/errors.js";
import { resolveAxis } from "../core/geometry.js";
import { type Call, newCall, Place } from "../core/operands.js";
import { readOptions } from "../core/options.js";
import type { PlainResult, PlainTensor, Read } from "../core/plain.js";
import { runCall } from "../core/run.js";
import type { SavedState } from "../core/saved-state.js";
import { allocate, checkTensor, type Tensor, tensorOf } from "../core/tensor.js";
import type { Float64Values } from "../core/values.js";
import type { View } from "../core/view.js";
import { Contents, Operation } from "../generated/abi.js";
import { NAMES, runBackward, runByBatch, runStatistics } from "./calls.js";
import {
  BACKWARD_OPTIONS,
  type BatchNormBackwardOptions,
  type BatchNormInferenceOptions,
  type BatchNormOptions,
  type BatchNormStatisticsOptions,
  type BatchNormTrainingOptions,
  INFERENCE_OPTIONS,
  readRunning,
  STATISTICS_OPTIONS,
  TRAINING_OPTIONS,
} from "./function-options.js";
import { type BatchNormSaved, savedAccess } from "./saved.js";
import { type SavedAccess, savedAccessIfAny } from "./saved-access.js";

/** A forward pass with what its backward pass needs. */
export interface BatchNormForward<T> {
  y: T;
  saved: BatchNormSaved;
}

/** What {@link batchNormBackward} returns. */
export interface BatchNormGradients<T> {
  /** With respect to x, in its shape. */
  dx: T;
  /** With respect to the weight, `[C]`. */
  weightGrad: Tensor | null;
  /** With respect to the bias, `[C]`. */
  biasGrad: Tensor | null;
}

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
  const owner = "batchNormInference";
  const given = readOptions(owner, options, INFERENCE_OPTIONS);
  const { saved } = given;
  const wanted = saved === false ? null : saved;
  const forward = runRead(owner, x, given, wanted, savedAccessIfAny, (call, saved) => {
    const { operands } = call;
    const missing = !operands[Place.MEAN] ? "mean" : !operands[Place.VARIANCE] && "variance";
    if (missing) fail("invalid-option", `${owner}: ${missing} is missing`);
    return runCall(call, saved);
  });
  return wanted === true ? (forward as BatchNormForward<Tensor | PlainResult>) : forward.y;
}

/**
 * Normalizes by the statistics of the batch itself, and moves running ones if given.
 *
 * An empty batch (no values a channel) leaves running statistics as they are.
 *
 * @param x any rank from 1 on; `{ data, shape }` is copied in, and y out
 * @returns y (`out`, or a new tensor of x's shape) and what {@link batchNormBackward}
 *   needs; dispose both, or use `scope`
 * @throws BatchNormError as {@link batchNormInference}
 *
 * @example
 * const { y, saved } = batchNormTraining(x, { weight, bias, runningMean, runningVar });
 * y;             // → Tensor([2, 3]) { -1, -1, -1, 3, 3, 3 }
 * runningMean;   // → Tensor([3]) { 0.2, 0.4, 0.6 }
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
  const owner = "batchNormTraining";
  const given = readOptions(owner, options, TRAINING_OPTIONS);
  const running = readRunning(given, owner);
  return runRead(owner, x, given, given.saved ?? true, savedAccess, (call, saved) =>
    runByBatch(call, running, saved as SavedState),
  ) as BatchNormForward<Tensor | PlainResult>;
}

/**
 * The gradients of {@link batchNormTraining}, or of {@link batchNormInference}
 * with `saved`, with respect to x, weight and bias.
 *
 * @param dy of x's shape; `{ data, shape }` is copied in, and dx out
 * @returns dx (`out`, or a new tensor), and the gradients that were added to or made,
 *   `null` where there are none
 * @throws BatchNormError `stale` where x was overwritten or disposed since the forward
 *   pass; `shape-mismatch`, `overlap`, `disposed`, `foreign-kernel`, `out-of-memory`
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
  const saved = insideOf(given.saved, savedAccess, owner);
  const made: View[] = [];
  // Made where the forward pass had such a parameter, unless told otherwise.
  const gradient = (one: unknown, name: string, parameter: View | null): View | null => {
    if (one != null) return checkTensor(one, `${owner}: ${name}`);
    if (one === null || parameter === null) return null;
    const vector = allocate(saved.port, [saved.channels], Contents.Zero);
    made.push(vector);
    return vector;
  };
  const { weightGrad: ofWeight, biasGrad: ofBias } = given;
  const read = readTensor(dy, saved.port, owner, "dy");
  const out = readOut(given.out, read, owner);
  const view = bringIn(read, saved.port);
  try {
    const pass = saved.check(owner); // of now: a getter may have overwritten the values
    const room = roomFor(view, read, owner);
    const weight = pass.operands[Place.WEIGHT] as View | null;
    const weightGrad = gradient(ofWeight, "weightGrad", weight);
    const biasGrad = gradient(ofBias, "biasGrad", pass.operands[Place.BIAS] ?? weight);
    const dx = runBackward(owner, pass, view, out, weightGrad, biasGrad);
    return {
      dx: takeOut(dx, read, room),
      weightGrad: tensorOf(weightGrad),
      biasGrad: tensorOf(biasGrad),
    };
  } catch (error) {
    for (const vector of made) vector.dispose();
    throw error;
  } finally {
    if (view !== read) view.dispose();
  }
}

/**
 * Mean and biased variance of each channel, in float64, without normalizing; moves
 * running statistics if given ("precise" and test-time adapted batch norm do so).
 *
 * @param x any rank from 1 on; `{ data, shape }` is copied in
 * @throws BatchNormError as {@link batchNormTraining}
 *
 * @example
 * const { mean, variance } = batchNormStatistics(x, { axis: -1 });
 * mean;       // → Float64Array [2, 4, 6]
 * variance;   // → Float64Array [1, 4, 9]
 */
export function batchNormStatistics(
  x: Tensor | PlainTensor,
  options?: BatchNormStatisticsOptions | null,
): { mean: Float64Values; variance: Float64Values } {
  const owner = "batchNormStatistics";
  const given = readOptions(owner, options, STATISTICS_OPTIONS);
  const running = readRunning(given, owner);
  const port = portOfCall(x, given, owner);
  const read = readTensor(x, port, owner, "x");
  const givenAxis = given.axis ?? 1;
  const view = bringIn(read, port);
  try {
    const axis = resolveAxis(givenAxis, view.shape.length, owner);
    return runStatistics(owner, view, axis, running);
  } finally {
    if (view !== read) view.dispose();
  }
}

/**
 * A forward pass with options that were read.
 *
 * @param wanted saved values to overwrite, or `true` for new ones
 * @param access to them, if the program has any
 */
function runRead(
  owner: string,
  x: unknown,
  given: BatchNormOptions & Partial<Pick<BatchNormInferenceOptions, "mean" | "variance">>,
  wanted: BatchNormSaved | true | null | undefined,
  access: SavedAccess | undefined,
  run: (call: Call<View>, saved: SavedState | null) => View,
): { y: Tensor | PlainResult; saved: BatchNormSaved | null } {
  const eps = given.eps ?? 1e-5;
  checkEps(eps, owner);
  const port = portOfCall(x, given, owner);
  const saved =
    wanted === true
      ? (access?.make(port) ?? fail("unsupported", "saved: true needs batchNormBackward"))
      : wanted == null
        ? null
        : insideOf(wanted, access, owner);
  // All are read before the first is copied in, which may detach views of kernel memory.
  const read = readTensor(x, port, owner, "x");
  const weight = readVector(given.weight, port, owner, "weight");
  const bias = readVector(given.bias, port, owner, "bias");
  const mean = readVector(given.mean, port, owner, "mean");
  const variance = readVector(given.variance, port, owner, "variance");
  const out = readOut(given.out, read, owner);
  const givenAxis = given.axis ?? 1;
  const copies: View[] = [];
  try {
    const bring = (read: View | Read | null) => {
      const view = read && bringIn(read, port);
      if (view !== read) copies.push(view as View);
      return view;
    };
    const view = bring(read) as View;
    const axis = resolveAxis(givenAxis, view.shape.length, owner);
    const call = newCall(NAMES, Operation.Forward, owner, view, axis);
    const { operands } = call;
    call.eps = eps;
    operands[Place.OUT] = out;
    operands[Place.WEIGHT] = bring(weight);
    operands[Place.BIAS] = bring(bias);
    operands[Place.MEAN] = bring(mean);
    operands[Place.VARIANCE] = bring(variance);
    const room = roomFor(view, read, owner);
    const y = run(call, saved);
    // The backward pass needs x.
    if (saved && view !== read) saved.copy = copies.shift() as View;
    const handle = saved?.handle as BatchNormSaved;
    if (wanted === true) port.track(handle);
    return { y: takeOut(y, read, room), saved: handle };
  } finally {
    for (const copy of copies) copy.dispose();
  }
}

/** @throws BatchNormError `invalid-option` */
function insideOf(saved: unknown, access: SavedAccess | undefined, owner: string): SavedState {
  return (
    access?.inside(saved) ??
    mustBe("invalid-option", `${owner}: saved`, "what a forward pass returned", saved)
  );
}
