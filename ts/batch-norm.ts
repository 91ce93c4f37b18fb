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
  checkDisjoint,
  checkEps,
  checkMomentum,
  checkOneOf,
  checkOutput,
  checkTensor,
  checkVector,
  fromPlain,
  isPlain,
  type PlainResult,
  type PlainTensor,
  resolveAxis,
  takeOut,
  type Vector,
  Vectors,
} from "./arguments.js";
import { checkNames, fail, showShape } from "./errors.js";
import { defaultKernel, type Kernel, type KernelOption } from "./kernel.js";
import { BatchNormSaved } from "./saved.js";
import { allocate, hasShape, Tensor } from "./tensor.js";

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
const INFERENCE = [...COMMON, "mean", "variance"];
const RUNNING = ["runningMean", "runningVar", "momentum", "runningVariance"];
const TRAINING = [...COMMON, ...RUNNING];
const STATISTICS = ["axis", "kernel", ...RUNNING];
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
    if (out) checkOutput(out, x, [x, mean, variance, weight, bias], owner);
    return writeTo(out, x, owner, (y) => {
      if (x.size > 0) {
        kernel.check(
          kernel.exports.batch_norm_inference(
            kernel.describe(axis, [x, y]),
            weight?.address ?? 0,
            bias?.address ?? 0,
            eps,
            mean.address,
            variance.address,
          ),
        );
      }
      // Before the write is counted: in place, x is no more what was normalized.
      saved?.set(x, weight, axis, eps, mean, variance);
      y.storage.wrote(y);
    });
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
    const saved = options.saved ?? trackedRecord(options.kernel ?? defaultKernel());
    const withRecord = { ...options, saved };
    const y = plainly(x, withRecord, owner, (x) => batchNormTraining(x, withRecord).y);
    return { y, saved };
  }
  const { kernel, axis, channels, eps } = checkCommon(x, options, owner);
  const { out, runningMean, runningVar } = options;
  const moveRunning = checkRunning(x, channels, options, owner);
  const vectors = new Vectors(kernel, channels, owner);
  try {
    const weight = vectors.optional(options.weight, "weight");
    const bias = vectors.optional(options.bias, "bias");
    if (vectors.copied) {
      fail("dtype", `${owner}: weight and bias must be tensors: backward needs them again`);
    }
    if (out) checkOutput(out, x, [x, weight, bias, runningMean, runningVar], owner);
    const saved = options.saved ?? trackedRecord(kernel);
    const y = writeTo(out, x, owner, (y) => {
      const [mean, variance] = saved.reserveBatch(channels);
      if (x.size > 0) {
        kernel.check(
          kernel.exports.batch_norm_training(
            kernel.describe(axis, [x, y]),
            weight?.address ?? 0,
            bias?.address ?? 0,
            eps,
            mean,
            variance,
          ),
        );
      }
      saved.set(x, weight, axis, eps);
      y.storage.wrote(y);
    });
    moveRunning(saved.addresses);
    return { y, saved };
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
  const { x, weight, axis, channels, eps, statistics } = saved;
  const { kernel } = x;
  if (isPlain(dy)) {
    if (out) fail("invalid-option", `${owner}: out needs a Tensor dy`);
    const copy = fromPlain(dy, kernel, owner, "dy");
    try {
      const gradients = batchNormBackward(copy, options);
      return { ...gradients, dx: takeOut(gradients.dx) };
    } finally {
      copy.dispose();
    }
  }
  checkTensor(dy, kernel, owner, "dy");
  if (!hasShape(dy, x.shape)) {
    fail(
      "shape-mismatch",
      `${owner}: dy must have x's shape ${showShape(x.shape)}, got ${showShape(dy.shape)}`,
    );
  }
  const made: Tensor[] = [];
  const gradient = (given: Tensor | null | undefined, wanted: boolean, name: string) => {
    if (given === null || (given === undefined && !wanted)) return null;
    if (given === undefined) {
      const vector = allocate(kernel, [channels], true, owner);
      made.push(vector);
      return vector;
    }
    checkVector(given, kernel, channels, owner, name);
    for (const other of [x, dy, weight, out]) if (other) checkDisjoint(given, other, owner, name);
    return given;
  };
  try {
    if (out) checkOutput(out, x, [x, dy, weight], owner);
    const weightGrad = gradient(options.weightGrad, weight !== null, "weightGrad");
    const biasGrad = gradient(options.biasGrad, weight !== null, "biasGrad");
    const dx = writeTo(out, x, owner, (dx) => {
      if (x.size > 0) {
        const [mean, variance] = saved.addresses;
        const run =
          statistics === "batch"
            ? kernel.exports.batch_norm_backward
            : kernel.exports.batch_norm_backward_frozen;
        kernel.check(
          run(
            kernel.describe(axis, [x, dy, dx]),
            weight?.address ?? 0,
            eps,
            mean,
            variance,
            weightGrad?.address ?? 0,
            biasGrad?.address ?? 0,
          ),
        );
      }
      for (const written of [dx, weightGrad, biasGrad]) written?.storage.wrote(written);
    });
    return { dx, weightGrad, biasGrad };
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
  const batch = takeStatistics(x, options, owner);
  try {
    batch.move();
    return { mean: batch.saved.mean, variance: batch.saved.variance };
  } finally {
    batch.dispose();
  }
}

/** @internal The statistics of x, and a function that moves running ones by them. */
export function takeStatistics(x: Tensor, options: BatchNormStatisticsOptions, owner: string) {
  const { kernel, axis, channels } = checkCommon(x, options, owner);
  const moveRunning = checkRunning(x, channels, options, owner);
  const saved = new BatchNormSaved(kernel);
  try {
    const addresses = saved.reserveBatch(channels);
    if (x.size > 0) {
      const record = kernel.describe(axis, [x]);
      kernel.check(kernel.exports.batch_norm_statistics(record, ...addresses));
    }
    saved.set(x, null, axis, 0);
    return { saved, move: () => moveRunning(addresses), dispose: () => saved.dispose() };
  } catch (error) {
    saved.dispose();
    throw error;
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

/** A record that the innermost scope owns. */
function trackedRecord(kernel: Kernel): BatchNormSaved {
  const saved = new BatchNormSaved(kernel);
  kernel.track(saved);
  return saved;
}

/** Checks what moves running statistics and returns the function that does. */
function checkRunning(x: Tensor, channels: number, options: RunningOptions, owner: string) {
  const { kernel } = x;
  const { runningMean, runningVar, momentum = 0.1, runningVariance = "unbiased" } = options;
  const count = x.size / Math.max(channels, 1);
  checkMomentum(momentum, owner);
  checkOneOf(runningVariance, ["biased", "unbiased"], owner, "runningVariance");
  if (!runningMean !== !runningVar) {
    fail("invalid-option", `${owner}: runningMean and runningVar go together`);
  }
  if (runningMean) checkVector(runningMean, kernel, channels, owner, "runningMean");
  if (runningVar) checkVector(runningVar, kernel, channels, owner, "runningVar");
  const unbiased = runningVariance === "unbiased";
  return ([mean, variance]: [mean: number, variance: number]): void => {
    if (!runningMean || !runningVar || count === 0) return;
    kernel.check(
      kernel.exports.batch_norm_update_running(
        channels,
        runningMean.address,
        runningVar.address,
        mean,
        variance,
        momentum,
        unbiased ? count / Math.max(count - 1, 1) : 1,
      ),
    );
    runningMean.storage.wrote(runningMean);
    runningVar.storage.wrote(runningVar);
  };
}

/** Runs `write` on the output, or on a new tensor that doesn't outlive a failure. */
function writeTo(
  out: Tensor | undefined,
  like: Tensor,
  owner: string,
  write: (y: Tensor) => void,
): Tensor {
  const y = out ?? allocate(like.kernel, like.shape, false, owner);
  try {
    write(y);
  } catch (error) {
    if (y !== out) y.dispose();
    throw error;
  }
  return y;
}

/** Runs a function of tensors on a copy of plain data, and copies its result out. */
function plainly<T>(
  x: PlainTensor,
  options: { out?: unknown; kernel?: Kernel | undefined; saved?: BatchNormSaved | undefined },
  owner: string,
  run: (x: Tensor) => T,
): T extends Tensor ? PlainResult : T {
  if (options.out) fail("invalid-option", `${owner}: out needs a Tensor x`);
  const copy = fromPlain(x, options.kernel ?? defaultKernel(), owner, "x");
  let keep = false;
  try {
    const result = run(copy);
    if (options.saved) {
      options.saved.ownX();
      keep = true;
    }
    return (result instanceof Tensor ? takeOut(result) : result) as never;
  } finally {
    if (!keep) copy.dispose();
  }
}
