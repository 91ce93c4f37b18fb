/**
 * The calls of the kernel's batch norm, over tensors: what the functions and the layer
 * share. Arguments were read before; here everything is checked before anything is written.
 *
 * Statistics are the *batch*'s, or *given* ones: these alone tell what normalizes. To the
 * gradient, given ones are *constant*.
 */

import type { Allocation } from "../core/allocation.js";
import { type Call, checkCall, newCall, Place } from "../core/operands.js";
import { FORWARD_NAMES } from "../core/passes.js";
import { runCall } from "../core/run.js";
import { allocateSaved, readSaved, type SavedState, SavedVector } from "../core/saved-state.js";
import type { Float64Values } from "../core/values.js";
import type { View } from "../core/view.js";
import { Operation } from "../generated/abi.js";
import { inSlices } from "./ghost.js";
import { correct, type RenormLimits, type RenormReference } from "./renorm.js";
import { move, type RunningUpdate } from "./running.js";
import {
  type BroughtWeights,
  failForWeight,
  type ReadWeights,
  weigh,
  withWeights,
} from "./weights.js";

/** What batch norm by the batch's statistics can be varied by. */
export interface Variant {
  /** Samples of a ghost batch; `null` for all. */
  readonly virtualBatchSize: number | null;
  readonly renorm: RenormLimits | null;
}

/** Without any. */
export const PLAIN: Variant = { virtualBatchSize: null, renorm: null };

/**
 * Normalizes x by the statistics of its batch, which move running ones, if there are any.
 *
 * @param towards running statistics that they are corrected towards, where `renorm` says how far
 */
export function runByBatch(
  call: Call<View>,
  running: RunningUpdate | null,
  weights: BroughtWeights | null,
  saved: SavedState,
  { virtualBatchSize, renorm }: Variant,
  towards: RenormReference | null = running,
): View {
  if (running) move(call, running, weights?.given);
  weigh(call, weights);
  if (renorm) correct(call, renorm, towards as RenormReference);
  if (virtualBatchSize !== null) inSlices(call, virtualBatchSize, running);
  const y = runCall(call, saved);
  if (weights) weights.kept = true;
  return y;
}

/** {@link runByBatch} with weights; where no position counts, x is normalized by running statistics. */
export function runWeighted(
  call: Call<View>,
  running: RunningUpdate | null,
  read: ReadWeights,
  saved: SavedState,
  variant: Variant,
): View {
  const { owner, axis, operands } = call;
  return withWeights(read, owner, operands[Place.X] as View, axis, (weights) => {
    if (weights?.given !== 0) return runByBatch(call, running, weights, saved, variant);
    return running ? runByGiven(call, running, saved) : failForWeight(owner);
  });
}

/** Normalizes x by running statistics, as given ones. */
export function runByGiven(call: Call<View>, running: RunningUpdate, saved: SavedState): View {
  const { operands } = call;
  // By these names they are checked.
  move(call, running);
  checkCall(call);
  operands[Place.MEAN] = running.mean;
  operands[Place.VARIANCE] = running.variance;
  operands[Place.FIRST_ACCUMULATOR] = operands[Place.SECOND_ACCUMULATOR] = null;
  return runCall(call, saved);
}

/** {@link runByGiven}; the batch moves them afterwards. */
export function runByRunning(
  call: Call<View>,
  running: RunningUpdate,
  weights: BroughtWeights | null,
  saved: SavedState,
): View {
  const { owner, axis, operands } = call;
  const x = operands[Place.X] as View;
  // They are read before they are written: no overlap, and so not declared as read.
  move(call, running);
  checkCall(call);
  // Before x may be overwritten.
  const batch = takeStatistics(owner, x, axis, weights);
  try {
    const y = runByGiven(call, running, saved);
    moveRunning(owner, x, axis, running, weights, batch);
    return y;
  } finally {
    batch.release();
  }
}

/** The statistics of x, which also move running ones. */
export function runStatistics(
  owner: string,
  x: View,
  axis: number,
  running: RunningUpdate | null,
  weights: BroughtWeights | null = null,
): { mean: Float64Values; variance: Float64Values } {
  const call = newCall(FORWARD_NAMES, Operation.Statistics, owner, x, axis);
  if (running) move(call, running, weights?.given);
  checkCall(call);
  const batch = takeStatistics(owner, x, axis, weights);
  try {
    if (running) moveRunning(owner, x, axis, running, weights, batch);
    return {
      mean: readSaved(batch, SavedVector.MEAN, call),
      variance: readSaved(batch, SavedVector.VARIANCE, call),
    };
  } finally {
    batch.release();
  }
}

/** The statistics of x, as they are saved; the caller releases them. */
function takeStatistics(
  owner: string,
  x: View,
  axis: number,
  weights: BroughtWeights | null,
): Allocation {
  const { port } = x.allocation;
  const call = newCall(FORWARD_NAMES, Operation.Statistics, owner, x, axis);
  const batch = allocateSaved(port, call);
  call.saved = batch.address;
  weigh(call, weights);
  try {
    port.record.run(call);
  } catch (error) {
    batch.release();
    throw error;
  }
  return batch;
}

/** Moves running statistics by those of a batch. */
function moveRunning(
  owner: string,
  x: View,
  axis: number,
  running: RunningUpdate,
  weights: BroughtWeights | null,
  batch: Allocation,
): void {
  if (x.size === 0) return;
  const call = newCall(FORWARD_NAMES, Operation.Update, owner, x, axis);
  move(call, running, weights?.given);
  call.saved = batch.address;
  x.allocation.port.record.run(call);
  running.mean.wrote();
  running.variance.wrote();
}
