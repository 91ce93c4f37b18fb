/**
 * The calls of the kernel's batch norm, over tensors: what the functions and the
 * layer share. Everything is checked before anything is written; positional
 * arguments, because a call on a few elements must not cost more than they do.
 */
import { checkDisjoint, checkOutput, checkTensor, checkVector } from "./arguments.js";
import { fail, show, showShape } from "./errors.js";
import { BACKWARD, FORWARD, type Kernel, STATISTICS, UPDATE } from "./kernel.js";
import type { BatchNormSaved } from "./saved.js";
import { allocate, hasShape, type Tensor } from "./tensor.js";

/** Running statistics and how a batch moves them. */
export interface RunningUpdate {
  mean: Tensor;
  variance: Tensor;
  /** Weight of the batch, from 0 to 1. */
  weight: number;
  /** Whether the running variance follows n/(n−1) times the batch's. */
  unbiased: boolean;
}

/** Normalizes x by the statistics of its batch; `saved` is overwritten. */
export function runTraining(
  owner: string,
  x: Tensor,
  axis: number,
  eps: number,
  weight: Tensor | null,
  bias: Tensor | null,
  out: Tensor | undefined,
  running: RunningUpdate | null,
  saved: BatchNormSaved,
): Tensor {
  const { kernel } = x;
  const channels = x.shape[axis] as number;
  checkRecord(saved, kernel, owner);
  checkParameters(owner, kernel, channels, weight, bias);
  if (running) checkRunning(owner, kernel, channels, running);
  if (out) checkOutput(out, x, owner, weight, bias, running?.mean, running?.variance);
  const y = out ?? allocate(kernel, x.shape, false, owner);
  try {
    const mean = saved.reserveBatch(channels);
    if (x.size > 0) {
      kernel.describe(axis, eps, weight, bias, mean, mean + channels * 8, true, x, y);
      if (running) describeUpdate(running, x, channels);
      kernel.run(FORWARD);
    }
  } catch (error) {
    saved.abandon();
    if (y !== out) y.dispose();
    throw error;
  }
  // Before the write is counted: in place, x is no more what was normalized.
  saved.set(x, weight, axis, eps, null, null);
  y.storage.wrote(y);
  if (running && x.size > 0) wroteRunning(running);
  return y;
}

/** Normalizes x by given statistics; `saved`, if any, is overwritten. */
export function runInference(
  owner: string,
  x: Tensor,
  axis: number,
  eps: number,
  mean: Tensor,
  variance: Tensor,
  weight: Tensor | null,
  bias: Tensor | null,
  out: Tensor | undefined,
  saved: BatchNormSaved | undefined,
): Tensor {
  const { kernel } = x;
  const channels = x.shape[axis] as number;
  if (saved !== undefined) checkRecord(saved, kernel, owner);
  checkVector(mean, kernel, channels, owner, "mean");
  checkVector(variance, kernel, channels, owner, "variance");
  checkParameters(owner, kernel, channels, weight, bias);
  if (out) checkOutput(out, x, owner, mean, variance, weight, bias);
  const y = out ?? allocate(kernel, x.shape, false, owner);
  try {
    if (x.size > 0) {
      kernel.describe(axis, eps, weight, bias, mean.address, variance.address, false, x, y);
      kernel.run(FORWARD);
    }
  } catch (error) {
    if (y !== out) y.dispose();
    throw error;
  }
  saved?.set(x, weight, axis, eps, mean, variance);
  y.storage.wrote(y);
  return y;
}

/** Takes the statistics of x into `saved`. */
export function runStatistics(
  owner: string,
  x: Tensor,
  axis: number,
  running: RunningUpdate | null,
  saved: BatchNormSaved,
): void {
  const { kernel } = x;
  const channels = x.shape[axis] as number;
  if (running) checkRunning(owner, kernel, channels, running);
  try {
    const mean = saved.reserveBatch(channels);
    if (x.size > 0) {
      kernel.describe(axis, 0, null, null, mean, mean + channels * 8, true, x);
      kernel.run(STATISTICS);
    }
  } catch (error) {
    saved.abandon();
    throw error;
  }
  saved.set(x, null, axis, 0, null, null);
}

/** Moves running statistics by those of a batch, unless it was empty. */
export function moveRunning(running: RunningUpdate, saved: BatchNormSaved): void {
  const { x, axis, channels } = saved;
  if (x.size === 0) return;
  const { meanAddress, varianceAddress } = saved;
  x.kernel.describe(axis, 0, null, null, meanAddress, varianceAddress, true, x);
  describeUpdate(running, x, channels);
  x.kernel.run(UPDATE);
  wroteRunning(running);
}

function describeUpdate(running: RunningUpdate, x: Tensor, channels: number): void {
  const { mean, variance, weight, unbiased } = running;
  const count = x.size / channels;
  const correction = unbiased ? count / Math.max(count - 1, 1) : 1;
  x.kernel.describeOutputs(mean, variance);
  x.kernel.describeWeights(weight, correction);
}

function wroteRunning({ mean, variance }: RunningUpdate): void {
  mean.storage.wrote(mean);
  variance.storage.wrote(variance);
}

/** The gradients of the forward pass that `saved` is of; dγ and dβ are added. */
export function runBackward(
  owner: string,
  dy: Tensor,
  saved: BatchNormSaved,
  out: Tensor | undefined,
  weightGrad: Tensor | null,
  biasGrad: Tensor | null,
): Tensor {
  const { x, weight, axis, eps } = saved;
  const { kernel } = x;
  checkTensor(dy, kernel, owner, "dy");
  if (!hasShape(dy, x.shape)) {
    fail(
      "shape-mismatch",
      `${owner}: dy must have x's shape ${showShape(x.shape)}, got ${showShape(dy.shape)}`,
    );
  }
  if (out) checkOutput(out, x, owner, weight);
  if (out) checkOutput(out, dy, owner);
  if (weightGrad) checkGradient(owner, "weightGrad", weightGrad, dy, saved, out);
  if (biasGrad) checkGradient(owner, "biasGrad", biasGrad, dy, saved, out);
  if (weightGrad && biasGrad) checkDisjoint(biasGrad, weightGrad, owner, "biasGrad");
  const dx = out ?? allocate(kernel, x.shape, false, owner);
  try {
    if (x.size > 0) {
      const { meanAddress, varianceAddress } = saved;
      const own = saved.statistics === "batch";
      // biome-ignore format: as the other calls
      kernel.describe(axis, eps, weight, null, meanAddress, varianceAddress, own, x, dy, dx);
      kernel.describeOutputs(weightGrad, biasGrad);
      kernel.run(BACKWARD);
    }
  } catch (error) {
    if (dx !== out) dx.dispose();
    throw error;
  }
  dx.storage.wrote(dx);
  weightGrad?.storage.wrote(weightGrad);
  biasGrad?.storage.wrote(biasGrad);
  return dx;
}

/**
 * Checks that a record can be overwritten. By method, not instanceof: a program that
 * only infers needs no record, and then its bundle has none.
 */
function checkRecord(saved: BatchNormSaved, kernel: Kernel, owner: string): void {
  if (typeof (saved as Partial<BatchNormSaved> | null)?.checkWritable !== "function") {
    fail("invalid-option", `${owner}: saved must be a BatchNormSaved, got ${show(saved)}`);
  }
  saved.checkWritable(kernel, owner);
}

function checkParameters(
  owner: string,
  kernel: Kernel,
  channels: number,
  weight: Tensor | null,
  bias: Tensor | null,
): void {
  if (weight) checkVector(weight, kernel, channels, owner, "weight");
  if (bias) checkVector(bias, kernel, channels, owner, "bias");
}

function checkRunning(
  owner: string,
  kernel: Kernel,
  channels: number,
  { mean, variance }: RunningUpdate,
): void {
  checkVector(mean, kernel, channels, owner, "runningMean");
  checkVector(variance, kernel, channels, owner, "runningVar");
  checkDisjoint(variance, mean, owner, "runningVar");
}

function checkGradient(
  owner: string,
  name: string,
  gradient: Tensor,
  dy: Tensor,
  { x, weight, channels }: BatchNormSaved,
  out: Tensor | undefined,
): void {
  checkVector(gradient, x.kernel, channels, owner, name);
  checkDisjoint(gradient, dy, owner, name);
  checkDisjoint(gradient, x, owner, name);
  if (weight) checkDisjoint(gradient, weight, owner, name);
  if (out) checkDisjoint(gradient, out, owner, name);
}
