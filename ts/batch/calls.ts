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

/** Running statistics and how a batch moves them. */
export interface RunningUpdate {
  readonly mean: View;
  readonly variance: View;
  /** Weight of the batch, from 0 to 1. */
  readonly weight: number;
  /** Whether the running variance follows n/(n−1) times the batch's. */
  readonly unbiased: boolean;
}

/** Has the batch move running statistics. */
function move(call: Call<View>, running: RunningUpdate): void {
  const { operands } = call;
  const count = (operands[Place.X] as View).size / call.channels;
  operands[Place.FIRST_ACCUMULATOR] = running.mean;
  operands[Place.SECOND_ACCUMULATOR] = running.variance;
  call.momentum = running.weight;
  call.correction = running.unbiased ? count / Math.max(count - 1, 1) : 1;
}

/** Normalizes x by the statistics of its batch, which move running ones, if there are any. */
export function runByBatch(
  call: Call<View>,
  running: RunningUpdate | null,
  saved: SavedState,
): View {
  if (running) move(call, running);
  return runCall(call, saved);
}

/** Normalizes x by running statistics, as given ones; its batch moves them afterwards. */
export function runByRunning(call: Call<View>, running: RunningUpdate, saved: SavedState): View {
  const { owner, axis, operands } = call;
  const x = operands[Place.X] as View;
  // They are read before they are written: no overlap, and so not declared as read.
  move(call, running);
  checkCall(call);
  // Before x may be overwritten.
  const batch = takeStatistics(owner, x, axis);
  try {
    operands[Place.MEAN] = running.mean;
    operands[Place.VARIANCE] = running.variance;
    operands[Place.FIRST_ACCUMULATOR] = operands[Place.SECOND_ACCUMULATOR] = null;
    const y = runCall(call, saved);
    moveRunning(owner, x, axis, running, batch);
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
): { mean: Float64Values; variance: Float64Values } {
  const call = newCall(FORWARD_NAMES, Operation.Statistics, owner, x, axis);
  if (running) move(call, running);
  checkCall(call);
  const batch = takeStatistics(owner, x, axis);
  try {
    if (running) moveRunning(owner, x, axis, running, batch);
    const channels = x.shape[axis] as number;
    return {
      mean: readSaved(batch, SavedVector.MEAN, channels, channels),
      variance: readSaved(batch, SavedVector.VARIANCE, channels, channels),
    };
  } finally {
    batch.release();
  }
}

/** The statistics of x, as they are saved; the caller releases them. */
function takeStatistics(owner: string, x: View, axis: number): Allocation {
  const { port } = x.allocation;
  const channels = x.shape[axis] as number;
  const batch = allocateSaved(port, channels, channels);
  const call = newCall(FORWARD_NAMES, Operation.Statistics, owner, x, axis);
  call.saved = batch.address;
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
  batch: Allocation,
): void {
  if (x.size === 0) return;
  const call = newCall(FORWARD_NAMES, Operation.Update, owner, x, axis);
  move(call, running);
  call.saved = batch.address;
  x.allocation.port.record.run(call);
  running.mean.wrote();
  running.variance.wrote();
}
