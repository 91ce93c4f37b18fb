/**
 * The calls of the kernel's batch norm, over tensors: what the functions and the layer
 * share. Arguments were read before; here everything is checked before anything is written.
 *
 * Statistics are the *batch*'s, or *given* ones: these alone tell what normalizes. To the
 * gradient, given ones are *constant*.
 */

import type { Allocation } from "../core/allocation.js";
import { type Call, checkCall, Place } from "../core/operands.js";
import { allocate } from "../core/tensor.js";
import type { Float64Values } from "../core/values.js";
import type { View } from "../core/view.js";
import { Contents, Operation } from "../generated/abi.js";
import type { SavedState } from "./saved-state.js";
import { allocateSaved, readSaved, SavedVector } from "./saved-values.js";

/** Running statistics and how a batch moves them. */
export interface RunningUpdate {
  readonly mean: View;
  readonly variance: View;
  /** Weight of the batch, from 0 to 1. */
  readonly weight: number;
  /** Whether the running variance follows n/(n−1) times the batch's. */
  readonly unbiased: boolean;
}

/** A call, to which its other operands and numbers are added. */
export function callOf(operation: Operation, owner: string, x: View, axis: number): Call<View> {
  return {
    owner,
    operation,
    axis,
    operands: [x, null, null, null, null, null, null, null, null],
    // Not read unless they are set. Fields that begin as integers and become fractions
    // make all calls slower by half.
    eps: Number.NaN,
    momentum: Number.NaN,
    correction: Number.NaN,
    saved: 0,
    constant: false,
  };
}

/** Has the batch move running statistics. */
function move(call: Call<View>, running: RunningUpdate): void {
  const { operands } = call;
  const { shape, size } = operands[Place.X] as View;
  const count = size / (shape[call.axis] as number);
  operands[Place.FIRST_ACCUMULATOR] = running.mean;
  operands[Place.SECOND_ACCUMULATOR] = running.variance;
  call.momentum = running.weight;
  call.correction = running.unbiased ? count / Math.max(count - 1, 1) : 1;
}

/**
 * Normalizes x by the statistics that were given, else by those of its batch; `saved`, if any,
 * is overwritten.
 */
export function runForward(call: Call<View>, saved: SavedState | null): View {
  const { operands, owner } = call;
  const x = operands[Place.X] as View;
  const out = operands[Place.OUT] as View | null;
  const { port } = x.allocation;
  saved?.checkWritable(port, owner);
  checkCall(call);
  const y = out ?? allocate(port, x.shape, Contents.Arbitrary);
  try {
    operands[Place.OUT] = y;
    if (saved) call.saved = saved.reserve(x.shape[call.axis] as number);
    port.record.run(call);
  } catch (error) {
    saved?.abandon();
    if (y !== out) y.dispose();
    throw error;
  }
  // Before the write is counted: in place, x is no more what was normalized.
  saved?.set(call);
  y.wrote();
  return y;
}

/** Normalizes x by the statistics of its batch, which move running ones, if there are any. */
export function runByBatch(
  call: Call<View>,
  running: RunningUpdate | null,
  saved: SavedState,
): View {
  if (running) move(call, running);
  const y = runForward(call, saved);
  if (running) wroteRunning(running, call.operands[Place.X] as View);
  return y;
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
    const y = runForward(call, saved);
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
  const call = callOf(Operation.Statistics, owner, x, axis);
  if (running) move(call, running);
  checkCall(call);
  const batch = takeStatistics(owner, x, axis);
  try {
    if (running) moveRunning(owner, x, axis, running, batch);
    return {
      mean: readSaved(batch, SavedVector.MEAN),
      variance: readSaved(batch, SavedVector.VARIANCE),
    };
  } finally {
    batch.release();
  }
}

/** The backward call of a forward pass that was saved, to which its other operands are added. */
export function backwardOf(owner: string, pass: Call<View>): Call<View> {
  const { operands: kept } = pass;
  const call = callOf(Operation.Backward, owner, kept[Place.X] as View, pass.axis);
  // Not read again, but nothing is to be written over them.
  for (let i = Place.WEIGHT; i <= Place.VARIANCE; i++) {
    const view = kept[i] as View | null;
    call.operands[i] = view?.disposed ? null : view;
  }
  call.eps = pass.eps;
  call.saved = pass.saved;
  call.constant = pass.constant;
  return call;
}

/** The gradient with respect to x; dγ and dβ are added to theirs, if any. */
export function runBackward(call: Call<View>): View {
  const { operands } = call;
  const x = operands[Place.X] as View;
  const out = operands[Place.OUT] as View | null;
  const { port } = x.allocation;
  checkCall(call);
  const dx = out ?? allocate(port, x.shape, Contents.Arbitrary);
  try {
    operands[Place.OUT] = dx;
    port.record.run(call);
  } catch (error) {
    if (dx !== out) dx.dispose();
    throw error;
  }
  dx.wrote();
  operands[Place.FIRST_ACCUMULATOR]?.wrote();
  operands[Place.SECOND_ACCUMULATOR]?.wrote();
  return dx;
}

/** The statistics of x, as they are saved; the caller releases them. */
function takeStatistics(owner: string, x: View, axis: number): Allocation {
  const { port } = x.allocation;
  const batch = allocateSaved(port, x.shape[axis] as number);
  const call = callOf(Operation.Statistics, owner, x, axis);
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
  const call = callOf(Operation.Update, owner, x, axis);
  move(call, running);
  call.saved = batch.address;
  x.allocation.port.record.run(call);
  wroteRunning(running, x);
}

/** An empty batch moves nothing. */
function wroteRunning({ mean, variance }: RunningUpdate, x: View): void {
  if (x.size === 0) return;
  mean.wrote();
  variance.wrote();
}
