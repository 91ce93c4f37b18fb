/**
 * Norms over values that lie in tfjs's memory: copied into ours, computed, and copied out. No value
 * is kept between two calls.
 */
import { sizeOf } from "../core/geometry.js";
import { type Call, newCall, Place } from "../core/operands.js";
import { FORWARD_NAMES } from "../core/passes.js";
import type { View } from "../core/view.js";
import { Operation } from "../generated/abi.js";
import { rowCall } from "../layer/rows.js";
import { backwardInPieces, forwardInPieces, Pieces, type Put } from "./pieces.js";
import { aroundAxis, type Problem } from "./problem.js";
import { checkLength, inScratch, OWNER, savedLength, type Values } from "./scratch.js";

const FORWARD = {
  batch: Operation.Forward,
  group: Operation.GroupForward,
  layer: Operation.LayerForward,
  rms: Operation.RmsForward,
};
const BACKWARD = {
  batch: Operation.Backward,
  group: Operation.GroupBackward,
  layer: Operation.LayerBackward,
  rms: Operation.RmsBackward,
};

/** How many sets share statistics, and how many channels there are. */
function numbersOf(
  { norm, axes, groups }: Problem,
  shape: readonly number[],
): { sets: number; channels: number } {
  const channels = axes.reduce((product, axis) => product * (shape[axis] as number), 1);
  let sets = channels;
  if (norm === "group") sets = groups * (shape[0] as number);
  else if (norm !== "batch") sets = sizeOf(shape.filter((_, axis) => !axes.includes(axis)));
  return { sets, channels };
}

/** A call over x, without its other operands. */
function callOver(operation: Operation, problem: Problem, x: View): Call<View> {
  const { norm, axes, groups } = problem;
  const call =
    norm === "layer" || norm === "rms"
      ? rowCall(operation, OWNER, x, axes)
      : newCall(
          FORWARD_NAMES,
          operation,
          OWNER,
          x,
          axes[0] as number,
          norm === "group" ? groups : 0,
        );
  call.eps = problem.epsilon;
  return call;
}

/** From 8 MB on what was copied in leaves the caches before it is copied out. */
const LONG = 2 ** 21;

/** How x is cut, where it is batch norm's and long. */
function piecesOf({ norm, axes }: Problem, shape: readonly number[]): Pieces | null {
  if (norm !== "batch" || sizeOf(shape) < LONG) return null;
  const pieces = new Pieces(aroundAxis(shape, axes[0] as number));
  return pieces.several ? pieces : null;
}

/**
 * A forward pass by x's own statistics.
 *
 * @param put takes y, or a piece of it
 * @param take the bits of the statistics, at last: means and variances in float64
 */
export function forward<T>(
  problem: Problem,
  shape: readonly number[],
  x: Values,
  gamma: Values | null,
  beta: Values | null,
  put: Put,
  take: (statistics: Int32Array) => T,
): T {
  const { sets, channels } = numbersOf(problem, shape);
  const pieces = piecesOf(problem, shape);
  if (pieces) {
    const { epsilon } = problem;
    return forwardInPieces(pieces, x, { gamma, beta, epsilon }, put, take);
  }
  return inScratch([x.length, savedLength(sets, channels), channels, channels], (scratch) => {
    const view = scratch.tensor(shape, x);
    const call = callOver(FORWARD[problem.norm], problem, view);
    call.operands[Place.OUT] = view;
    call.operands[Place.WEIGHT] = scratch.vector(gamma, channels);
    call.operands[Place.BIAS] = scratch.vector(beta, channels);
    call.saved = scratch.saved(sets, channels);
    scratch.run(call);
    put(scratch.look(view), 0);
    return take(scratch.bits(call.saved, sets));
  });
}

/**
 * The backward pass of that.
 *
 * @param statistics as {@link forward} gave them
 * @param constant whether they are constants to the gradient
 * @param put takes dx, or a piece of it
 * @param take the other gradients, at last
 */
export function backward<T>(
  problem: Problem,
  shape: readonly number[],
  x: Values,
  dy: Values,
  gamma: Values | null,
  statistics: Int32Array,
  constant: boolean,
  put: Put,
  take: (dgamma: Values, dbeta: Values | null) => T,
): T {
  checkLength(dy, x.length);
  const { sets, channels } = numbersOf(problem, shape);
  checkLength(statistics, 4 * sets);
  const writeStatistics = (to: Float64Array) => {
    new Int32Array(to.buffer, to.byteOffset, 4 * sets).set(statistics);
    return to;
  };
  if (gamma) checkLength(gamma, channels);
  const pieces = piecesOf(problem, shape);
  if (pieces) {
    const { epsilon } = problem;
    const affine = { gamma, beta: null, epsilon };
    const known = writeStatistics(new Float64Array(2 * sets));
    return backwardInPieces(pieces, x, dy, affine, known, constant, put, take);
  }
  const lengths = [x.length, x.length, savedLength(sets, channels), channels, channels];
  return inScratch(lengths, (scratch) => {
    const view = scratch.tensor(shape, x);
    const dx = scratch.tensor(shape, dy);
    const call = callOver(BACKWARD[problem.norm], problem, view);
    const dgamma = scratch.zeros(channels);
    const dbeta = problem.norm === "rms" ? null : scratch.zeros(channels);
    call.operands[Place.DY] = dx;
    call.operands[Place.OUT] = dx;
    call.operands[Place.FIRST_ACCUMULATOR] = dgamma;
    call.operands[Place.SECOND_ACCUMULATOR] = dbeta;
    call.saved = scratch.saved(sets, channels);
    call.constant = constant;
    writeStatistics(scratch.doubles(call.saved, 2 * sets));
    scratch.weigh(call.saved + 16 * sets, gamma, channels);
    scratch.run(call);
    put(scratch.look(dx), 0);
    return take(scratch.look(dgamma), dbeta && scratch.look(dbeta));
  });
}
