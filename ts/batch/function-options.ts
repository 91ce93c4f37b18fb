/** What the batch norm functions can be told. */

import type { Vector } from "../core/arguments.js";
import { checkMomentum, checkNumber, checkOneOf } from "../core/checks.js";
import type { KernelOption } from "../core/default-kernel.js";
import { fail } from "../core/errors.js";
import {
  NORM_BACKWARD_OPTIONS,
  NORM_OPTIONS,
  type NormBackwardOptions,
  type NormGradients,
  type NormOptions,
} from "../core/norm-options.js";
import { checkTensor, type Tensor } from "../core/tensor.js";
import { ACTIVATION_OPTIONS, type ActivationOptions, type ResidualOption } from "./activation.js";
import type { Variant } from "./calls.js";
import { type RenormOptions, readRenorm } from "./renorm.js";
import type { RunningUpdate } from "./running.js";
import type { BatchNormSaved } from "./saved.js";
import { WEIGHT_OPTIONS, type WeightOptions } from "./weights.js";

/** Options of `batchNormInference`. */
export interface BatchNormInferenceOptions extends NormOptions, ActivationOptions, ResidualOption {
  /** μ, one a channel; a `Float64Array` keeps its digits, which counts where |μ| ≫ σ. */
  mean: Vector | Float64Array;
  /** σ², likewise, not negative. */
  variance: Vector | Float64Array;
  /**
   * What a backward pass through these constants needs: saved values of an earlier call to
   * overwrite, or `true` for new ones, and then `{ y, saved }` is returned.
   */
  saved?: BatchNormSaved | boolean | null | undefined;
}

/** Running statistics that a batch moves. */
interface RunningOptions {
  /** Moved towards the batch's mean, if given. */
  runningMean?: Tensor | null | undefined;
  /** Moved towards the batch's variance, if given. */
  runningVar?: Tensor | null | undefined;
  /** Weight of this batch in the running statistics, from 0 to 1; default 0.1. */
  momentum?: number | null | undefined;
  /** Which variance the running one follows; default `unbiased`, n/(n−1). */
  runningVariance?: "biased" | "unbiased" | null | undefined;
}

/** Options of `batchNormTraining`. */
export interface BatchNormTrainingOptions
  extends NormOptions,
    RunningOptions,
    WeightOptions,
    ActivationOptions,
    ResidualOption {
  /**
   * Ghost batches (Hoffer et al. 2017): consecutive slices of so many samples, along the first axis,
   * are normalized each by itself, and move running statistics one after the other. The last slice
   * may be shorter.
   */
  virtualBatchSize?: number | null | undefined;
  /**
   * Batch renormalization (Ioffe 2017): how far y is corrected towards what the running statistics,
   * which there have to be, would give; see {@link renormSchedule}.
   */
  renorm?: RenormOptions | null | undefined;
  /** Saved values of an earlier call to overwrite, so that nothing is allocated. */
  saved?: BatchNormSaved | true | null | undefined;
}

/** Options of `batchNormStatistics`. */
export interface BatchNormStatisticsOptions extends KernelOption, RunningOptions, WeightOptions {
  /** The channel axis, negative from the end; default 1. */
  axis?: number | null | undefined;
}

/** Options of `batchNormBackward`. */
export interface BatchNormBackwardOptions extends NormBackwardOptions<BatchNormSaved> {
  /**
   * Where to write the residual's gradient: a tensor of x's shape, or dy itself. If absent, a new
   * one where there was a residual; none if `null`.
   */
  residualGrad?: Tensor | null | undefined;
}

/** What `batchNormBackward` returns. */
export interface BatchNormGradients<T> extends NormGradients<T> {
  /** With respect to the residual, in x's shape; `null` where there was none. */
  residualGrad: T | null;
}

const RUNNING_OPTIONS = ["runningMean", "runningVar", "momentum", "runningVariance"];
// Calls marked pure, not spreads: a bundler drops these where nobody uses them.
// Those that most calls have come first: they are looked for one by one.
const STEP_OPTIONS = /* @__PURE__ */ ACTIVATION_OPTIONS.concat("residual");
export const INFERENCE_OPTIONS = /* @__PURE__ */ NORM_OPTIONS.concat(
  ...["mean", "variance"],
  STEP_OPTIONS,
);
export const TRAINING_OPTIONS = /* @__PURE__ */ NORM_OPTIONS.concat(
  RUNNING_OPTIONS,
  WEIGHT_OPTIONS,
  ...["virtualBatchSize", "renorm"],
  STEP_OPTIONS,
);
export const BACKWARD_OPTIONS = /* @__PURE__ */ NORM_BACKWARD_OPTIONS.concat("residualGrad");
export const STATISTICS_OPTIONS = /* @__PURE__ */ RUNNING_OPTIONS.concat(
  WEIGHT_OPTIONS,
  "axis",
  "kernel",
);

/** What moves running statistics, if there are any. */
export function readRunning(options: RunningOptions, owner: string): RunningUpdate | null {
  const { runningMean, runningVar } = options;
  const weight = options.momentum ?? 0.1;
  const variance = options.runningVariance ?? "unbiased";
  checkMomentum(weight, owner);
  checkOneOf(variance, owner, "runningVariance", ["biased", "unbiased"]);
  if ((runningMean == null) !== (runningVar == null)) {
    fail("invalid-option", `${owner}: runningMean and runningVar go together`);
  }
  if (runningMean == null) return null;
  return {
    mean: checkTensor(runningMean, `${owner}: runningMean`),
    variance: checkTensor(runningVar, `${owner}: runningVar`),
    weight,
    cumulative: false,
    unbiased: variance === "unbiased",
  };
}

/** What varies a training pass. */
export function readVariant(
  { virtualBatchSize, renorm }: BatchNormTrainingOptions,
  running: RunningUpdate | null,
  owner: string,
): Variant {
  const size = virtualBatchSize ?? null;
  if (size !== null) checkNumber(size, `${owner}: virtualBatchSize`);
  const limits = readRenorm(renorm, owner);
  if (limits && !running) {
    fail("invalid-option", `${owner}: renorm needs runningMean and runningVar`);
  }
  return { virtualBatchSize: size, renorm: limits };
}
