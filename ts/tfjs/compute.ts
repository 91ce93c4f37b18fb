/**
 * Norms over values that lie in tfjs's memory: copied into ours, computed, and copied out. Nothing is
 * kept between two calls.
 */
import { Allocation } from "../core/allocation.js";
import { fail } from "../core/errors.js";
import { sizeOf } from "../core/geometry.js";
import type { Port } from "../core/kernel.js";
import { type Call, newCall, Place } from "../core/operands.js";
import { FORWARD_NAMES } from "../core/passes.js";
import { allocateSaved } from "../core/saved-state.js";
import { View } from "../core/view.js";
import { Contents, Operation } from "../generated/abi.js";
import { rowCall } from "../layer/rows.js";
import { currentPort } from "./memory.js";
import type { Problem } from "./problem.js";

/** Float32 values, in tfjs's memory or ours. */
export type Values = Float32Array;

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

/** What a call has of our memory, until its end. */
class Scratch {
  readonly port: Port = currentPort();
  readonly #made: { release(): void }[] = [];

  /** A tensor of arbitrary contents, or of these. */
  tensor(shape: readonly number[], values: Values | null): View {
    const allocation = new Allocation(this.port, sizeOf(shape) * 4, Contents.Arbitrary);
    const view = this.view(allocation, shape);
    if (values) view.elements.set(values);
    return view;
  }

  /** The first elements of an allocation. */
  view(allocation: Allocation, shape: readonly number[]): View {
    const view = new View(allocation, shape);
    this.#made.push(allocation);
    return view;
  }

  zeros(length: number): View {
    const view = this.tensor([length], null);
    view.elements.fill(0);
    return view;
  }

  /** One value a channel, if there is any. */
  vector(values: Values | null, channels: number): View | null {
    return values && this.tensor([checkLength(values, channels)], values);
  }

  /** Room for the saved values of a call, which gets its address. */
  saved(call: Call<View>): void {
    const allocation = allocateSaved(this.port, call);
    this.#made.push(allocation);
    call.saved = allocation.address;
  }

  end(): void {
    for (const one of this.#made) one.release();
  }
}

/** Runs `fn` and gives back what it took of our memory. */
function inScratch<T>(fn: (scratch: Scratch) => T): T {
  const scratch = new Scratch();
  try {
    return fn(scratch);
  } finally {
    scratch.end();
  }
}

/** A call over x, without its other operands. */
function callOver(operation: Operation, problem: Problem, x: View): Call<View> {
  const { norm, axes, groups } = problem;
  const owner = "batchnorm-wasm/tfjs";
  const call =
    norm === "layer" || norm === "rms"
      ? rowCall(operation, owner, x, axes)
      : newCall(
          FORWARD_NAMES,
          operation,
          owner,
          x,
          axes[0] as number,
          norm === "group" ? groups : 0,
        );
  call.eps = problem.epsilon;
  return call;
}

/** tfjs knows nothing of what our kernels need. @throws BatchNormError `shape-mismatch` */
export function checkLength(values: { readonly length: number }, length: number): number {
  if (values.length !== length) {
    fail("shape-mismatch", `batchnorm-wasm/tfjs: expected ${length} values, got ${values.length}`);
  }
  return length;
}

/** Operands are of our own making: there is nothing more to check. */
function run(call: Call<View>): void {
  (call.through ?? (call.operands[Place.X] as View).allocation.port.record).run(call);
}

/** The bits of the statistics of a call: means and variances in float64, set by set. */
function statisticsOf(call: Call<View>, port: Port): Int32Array {
  return new Int32Array(port.memory.linear.buffer, call.saved, 4 * call.sets);
}

/**
 * A forward pass by x's own statistics.
 *
 * @param take what was computed, where it lies: copies it out
 */
export function forward<T>(
  problem: Problem,
  shape: readonly number[],
  x: Values,
  gamma: Values | null,
  beta: Values | null,
  take: (y: Values, statistics: Int32Array) => T,
): T {
  return inScratch((scratch) => {
    const view = scratch.tensor(shape, x);
    const call = callOver(FORWARD[problem.norm], problem, view);
    call.operands[Place.OUT] = view;
    call.operands[Place.WEIGHT] = scratch.vector(gamma, call.channels);
    call.operands[Place.BIAS] = scratch.vector(beta, call.channels);
    scratch.saved(call);
    run(call);
    return take(view.elements, statisticsOf(call, scratch.port));
  });
}

/**
 * The backward pass of that.
 *
 * @param statistics as {@link forward} gave them, or mean and variance that are constant to the gradient
 */
export function backward<T>(
  problem: Problem,
  shape: readonly number[],
  x: Values,
  dy: Values,
  gamma: Values | null,
  statistics: Int32Array | { readonly mean: Values; readonly variance: Values },
  take: (dx: Values, dgamma: Values, dbeta: Values | null) => T,
): T {
  return inScratch((scratch) => {
    const view = scratch.tensor(shape, x);
    checkLength(dy, x.length);
    const dx = scratch.tensor(shape, dy);
    const call = callOver(BACKWARD[problem.norm], problem, view);
    const { channels } = call;
    const dgamma = scratch.zeros(channels);
    const dbeta = problem.norm === "rms" ? null : scratch.zeros(channels);
    call.operands[Place.DY] = dx;
    call.operands[Place.OUT] = dx;
    call.operands[Place.FIRST_ACCUMULATOR] = dgamma;
    call.operands[Place.SECOND_ACCUMULATOR] = dbeta;
    scratch.saved(call);
    const { buffer } = scratch.port.memory.linear;
    if ("mean" in statistics) {
      const to = new Float64Array(buffer, call.saved, 2 * channels);
      checkLength(statistics.mean, channels);
      checkLength(statistics.variance, channels);
      to.set(statistics.mean);
      to.set(statistics.variance, channels);
      call.constant = true;
    } else {
      checkLength(statistics, 4 * call.sets);
      statisticsOf(call, scratch.port).set(statistics);
    }
    const weights = new Float64Array(buffer, call.saved + call.sets * 16, channels);
    if (gamma) {
      checkLength(gamma, channels);
      weights.set(gamma);
    } else weights.fill(1);
    run(call);
    return take(dx.elements, dgamma.elements, dbeta?.elements ?? null);
  });
}

/** Parameters of {@link normalize}, one a channel. */
export interface Given {
  readonly mean: Values;
  readonly variance: Values;
  readonly gamma: Values | null;
  readonly beta: Values | null;
  readonly epsilon: number;
}

/** What of a tensor is in our memory at a time: this and what it becomes stay in the cache. */
enum Chunk {
  /** 256 KB. */
  ELEMENTS = 2 ** 16,
  /** Of each channel at least, beside which its constants are nothing. */
  OF_CHANNEL = 256,
}

/**
 * Normalizes by given statistics, piece by piece.
 *
 * @param shape sizes before, at and behind the channel axis
 * @param put takes a piece of y, where it lies, and the place of its first element
 */
export function normalize(
  [before, channels, behind]: readonly [number, number, number],
  x: Values,
  given: Given,
  put: (piece: Values, at: number) => void,
): void {
  const each = channels * behind;
  const most = Math.max(Chunk.ELEMENTS / each, Chunk.OF_CHANNEL / behind);
  const lines = Math.min(before, Math.ceil(most));
  inScratch((scratch) => {
    const { port } = scratch;
    const view = scratch.tensor([lines, channels, behind], null);
    const operands = [
      [Place.WEIGHT, scratch.vector(given.gamma, channels)],
      [Place.BIAS, scratch.vector(given.beta, channels)],
      [Place.MEAN, scratch.vector(given.mean, channels)],
      [Place.VARIANCE, scratch.vector(given.variance, channels)],
    ] as const;
    for (let first = 0; first < before; first += lines) {
      const count = Math.min(lines, before - first);
      const piece =
        count === lines ? view : scratch.view(view.allocation, [count, channels, behind]);
      const call = newCall(FORWARD_NAMES, Operation.Forward, "batchnorm-wasm/tfjs", piece, 1);
      call.eps = given.epsilon;
      call.operands[Place.OUT] = piece;
      for (const [place, operand] of operands) call.operands[place] = operand;
      // The workspace may have grown the memory.
      piece.elements.set(x.subarray(first * each, (first + count) * each));
      port.record.run(call);
      put(piece.elements, first * each);
    }
  });
}
