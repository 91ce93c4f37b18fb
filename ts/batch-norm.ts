/**
 * Batch normalization (Ioffe & Szegedy 2015, arXiv:1502.03167), as functions of
 * tensors, parameters and saved values. The layer over them is `batch-norm-layer.ts`.
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
  checkEps,
  checkMomentum,
  checkOneOf,
  checkTensor,
  fromPlain,
  isPlain,
  type PlainResult,
  type PlainTensor,
  resolveAxis,
  takeOut,
  type Vector,
  Vectors,
} from "./arguments.js";
import {
  moveRunning,
  type RunningUpdate,
  runBackward,
  runInference,
  runStatistics,
  runTraining,
} from "./batch-norm-run.js";
import { checkNames, fail } from "./errors.js";
import { defaultKernel, type Kernel, type KernelOption } from "./kernel.js";
import { BatchNormSaved } from "./saved.js";
import { allocate, Tensor } from "./tensor.js";

/** What all batch norm functions take; defaults are PyTorch's. */
export interface BatchNormOptions extends KernelOption {
  /** γ, one a channel; 1 where absent. */
  weight?: Vector | null | undefined;
  /** β, one a channel; 0 where absent. */
  bias?: Vector | null | undefined;
  /** Added to the variance; default 1e-5. */
  eps?: number | undefined;
  /** The channel axis, negative from the end; default 1. */
  axis?: number | undefined;
  /** Where to write y: a tensor of x's shape, x itself for in place. */
  out?: Tensor | undefined;
}

/** Options of {@link batchNormInference}. */
export interface BatchNormInferenceOptions extends BatchNormOptions {
  /** μ, one a channel. */
  mean: Vector;
  /** σ², one a channel. */
  variance: Vector;
  /** A record to fill for a backward pass through these constants. */
  saved?: BatchNormSaved | undefined;
}

/** Running statistics that a batch moves. */
export interface RunningOptions {
  /** Moved towards the batch's mean, if given. */
  runningMean?: Tensor | null | undefined;
  /** Moved towards the batch's variance, if given. */
  runningVar?: Tensor | null | undefined;
  /** Weight of this batch in the running statistics, from 0 to 1; default 0.1. */
  momentum?: number | undefined;
  /** Which variance the running one follows; default `unbiased`, n/(n−1). */
  runningVariance?: "biased" | "unbiased" | undefined;
}

/** Options of {@link batchNormTraining}. */
export interface BatchNormTrainingOptions extends BatchNormOptions, RunningOptions {
  /** A record of an earlier call to overwrite, so that nothing is allocated. */
  saved?: BatchNormSaved | undefined;
}

/** Options of {@link batchNormStatistics}. */
export interface BatchNormStatisticsOptions extends KernelOption, RunningOptions {
  /** The channel axis, negative from the end; default 1. */
  axis?: number | undefined;
}

/** Options of {@link batchNormBackward}. */
export interface BatchNormBackwardOptions {
  /** What the forward pass saved. */
  saved: BatchNormSaved;
  /** Where to write dx: a tensor of x's shape, dy itself for in place. */
  out?: Tensor | undefined;
  /** dγ is **added** to it; a new one if absent, none if `null`. */
  weightGrad?: Tensor | null | undefined;
  /** dβ is **added** to it; a new one if absent, none if `null`. */
  biasGrad?: Tensor | null | undefined;
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

const COMMON = ["weight", "bias", "eps", "axis", "out", "kernel", "saved"];
const RUNNING = ["runningMean", "runningVar", "momentum", "runningVariance"];
// Calls marked pure, not spreads: a bundler drops these where nobody uses them.
const INFERENCE = /* @__PURE__ */ COMMON.concat("mean", "variance");
const TRAINING = /* @__PURE__ */ COMMON.concat(RUNNING);
const STATISTICS = /* @__PURE__ */ RUNNING.concat("axis", "kernel");
const BACKWARD = ["saved", "out", "weightGrad", "biasGrad"];

/**
 * Normalizes by given statistics: `y = γ·(x − mean)/√(variance + eps) + β`.
 *
 * @param x any rank from 1 on; `{ data, shape }` is copied in, and y out
 * @returns `out`, or a new tensor of x's shape
 * @throws BatchNormError `shape-mismatch`, `invalid-option`, `dtype`, `overlap`,
 *   `disposed`, `foreign-kernel`, `out-of-memory`
 *
 * @example
 * const y = batchNormInference(x, { mean, variance, weight, bias, eps: 1e-3, axis: -1 });
 */
export function batchNormInference(x: Tensor, options: BatchNormInferenceOptions): Tensor;
export function batchNormInference(x: PlainTensor, options: BatchNormInferenceOptions): PlainResult;
export function batchNormInference(
  x: Tensor | PlainTensor,
  options: BatchNormInferenceOptions,
): Tensor | PlainResult {
  const owner = "batchNormInference";
  checkNames(owner, options, INFERENCE);
  if (isPlain(x)) return plainly(x, options, owner, (x) => batchNormInference(x, options));
  const { kernel, axis, channels, eps } = checkCommon(x, options, owner);
  const { out, saved } = options;
  const vectors = new Vectors(kernel, channels, owner);
  try {
    const mean = vectors.required(options.mean, "mean");
    const variance = vectors.required(options.variance, "variance");
    const weight = vectors.optional(options.weight, "weight");
    const bias = vectors.optional(options.bias, "bias");
    if (saved && vectors.copied) {
      fail("dtype", `${owner}: with saved, statistics and parameters must be tensors`);
    }
    return runInference(owner, x, axis, eps, mean, variance, weight, bias, out, saved);
  } finally {
    vectors.dispose();
  }
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
 */
export function batchNormTraining(
  x: Tensor,
  options?: BatchNormTrainingOptions,
): { y: Tensor; saved: BatchNormSaved };
export function batchNormTraining(
  x: PlainTensor,
  options?: BatchNormTrainingOptions,
): { y: PlainResult; saved: BatchNormSaved };
export function batchNormTraining(
  x: Tensor | PlainTensor,
  options: BatchNormTrainingOptions = {},
): { y: Tensor | PlainResult; saved: BatchNormSaved } {
  const owner = "batchNormTraining";
  checkNames(owner, options, TRAINING);
  if (isPlain(x)) {
    return fillingRecord(options.kernel ?? defaultKernel(), options.saved, (saved) => {
      const withRecord = { ...options, saved };
      return plainly(x, withRecord, owner, (x) => batchNormTraining(x, withRecord).y);
    });
  }
  const { kernel, axis, channels, eps } = checkCommon(x, options, owner);
  const running = runningOf(options, owner);
  const vectors = new Vectors(kernel, channels, owner);
  try {
    const weight = vectors.optional(options.weight, "weight");
    const bias = vectors.optional(options.bias, "bias");
    if (vectors.copied) {
      fail("dtype", `${owner}: weight and bias must be tensors: backward needs them again`);
    }
    return fillingRecord(kernel, options.saved, (saved) =>
      runTraining(owner, x, axis, eps, weight, bias, options.out, running, saved),
    );
  } finally {
    vectors.dispose();
  }
}

/**
 * The gradients of {@link batchNormTraining}, or of {@link batchNormInference}
 * with a record, with respect to x, weight and bias.
 *
 * @param dy of x's shape; `{ data, shape }` is copied in, and dx out
 * @returns dx (`out`, or a new tensor), and the gradients that were added to or made,
 *   `null` where there are none
 * @throws BatchNormError `stale` where x or the weight was overwritten or disposed
 *   since the forward pass; `shape-mismatch`, `overlap`, `disposed`,
 *   `foreign-kernel`, `out-of-memory`
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
): BatchNormGradients<Tensor | PlainResult> {
  const owner = "batchNormBackward";
  checkNames(owner, options, BACKWARD);
  const { saved, out } = options;
  if (!(saved instanceof BatchNormSaved)) {
    fail("invalid-option", `${owner}: saved must be what a forward pass returned`);
  }
  saved.check(owner);
  const { weight, channels } = saved;
  const { kernel } = saved.x;
  if (isPlain(dy)) {
    const copy = fromPlain(dy, out, kernel, owner, "dy");
    try {
      const gradients = batchNormBackward(copy, options);
      return { ...gradients, dx: takeOut(gradients.dx) };
    } finally {
      copy.dispose();
    }
  }
  const made: Tensor[] = [];
  const gradient = (given: Tensor | null | undefined): Tensor | null => {
    if (given !== undefined) return given;
    if (weight === null) return null;
    const vector = allocate(kernel, [channels], true, owner);
    made.push(vector);
    return vector;
  };
  try {
    const weightGrad = gradient(options.weightGrad);
    const biasGrad = gradient(options.biasGrad);
    return { dx: runBackward(owner, dy, saved, out, weightGrad, biasGrad), weightGrad, biasGrad };
  } catch (error) {
    for (const vector of made) vector.dispose();
    throw error;
  }
}

/**
 * Mean and biased variance of each channel, in float64, without normalizing; moves
 * running statistics if given ("precise" and test-time adapted batch norm do so).
 *
 * @param x any rank from 1 on; `{ data, shape }` is copied in
 * @throws BatchNormError as {@link batchNormTraining}
 */
export function batchNormStatistics(
  x: Tensor | PlainTensor,
  options: BatchNormStatisticsOptions = {},
): { mean: Float64Array; variance: Float64Array } {
  const owner = "batchNormStatistics";
  checkNames(owner, options, STATISTICS);
  if (isPlain(x)) return plainly(x, options, owner, (x) => batchNormStatistics(x, options));
  const { kernel, axis } = checkCommon(x, options, owner);
  const running = runningOf(options, owner);
  const saved = new BatchNormSaved(kernel);
  try {
    runStatistics(owner, x, axis, running, saved);
    if (running) moveRunning(running, saved);
    const { mean, variance } = saved;
    return { mean, variance };
  } finally {
    saved.dispose();
  }
}

/** Kernel, channels and what all forward passes have in common. */
function checkCommon(
  x: unknown,
  options: { kernel?: Kernel | undefined; eps?: number | undefined; axis?: number | undefined },
  owner: string,
) {
  const kernel = options.kernel ?? (x instanceof Tensor ? x.kernel : defaultKernel());
  checkTensor(x, kernel, owner, "x");
  const { eps = 1e-5 } = options;
  const axis = resolveAxis(options.axis ?? 1, x.shape.length, owner);
  checkEps(eps, owner);
  return { kernel, axis, channels: x.shape[axis] as number, eps };
}

/** Runs a forward pass on the record that was given, or on a new one that a scope owns. */
function fillingRecord<T>(
  kernel: Kernel,
  given: BatchNormSaved | undefined,
  run: (saved: BatchNormSaved) => T,
): { y: T; saved: BatchNormSaved } {
  const saved = given ?? new BatchNormSaved(kernel);
  try {
    const y = run(saved);
    if (!given) kernel.track(saved);
    return { y, saved };
  } catch (error) {
    if (!given) saved.dispose();
    throw error;
  }
}

/** What moves running statistics, if there are any. */
function runningOf(options: RunningOptions, owner: string): RunningUpdate | null {
  const { runningMean, runningVar, momentum = 0.1, runningVariance = "unbiased" } = options;
  checkMomentum(momentum, owner);
  checkOneOf(runningVariance, ["biased", "unbiased"], owner, "runningVariance");
  if (!runningMean !== !runningVar) {
    fail("invalid-option", `${owner}: runningMean and runningVar go together`);
  }
  if (!runningMean || !runningVar) return null;
  const unbiased = runningVariance === "unbiased";
  return { mean: runningMean, variance: runningVar, weight: momentum, unbiased };
}

/** Runs a function of tensors on a copy of plain data, and copies its result out. */
function plainly<T>(
  x: PlainTensor,
  options: { out?: unknown; kernel?: Kernel | undefined; saved?: BatchNormSaved | undefined },
  owner: string,
  run: (x: Tensor) => T,
): T extends Tensor ? PlainResult : T {
  const copy = fromPlain(x, options.out, options.kernel ?? defaultKernel(), owner, "x");
  let keep = false;
  try {
    const result = run(copy);
    if (options.saved) {
      options.saved.own(copy);
      keep = true;
    }
    return (result instanceof Tensor ? takeOut(result) : result) as never;
  } finally {
    if (!keep) copy.dispose();
  }
}
