/**
 * Norms over values that lie in tfjs's memory: copied into ours, computed, and copied out. Nothing is
 * kept between two calls.
 */
import { Allocation } from "../core/allocation.js";
import { fail } from "../core/errors.js";
import { sizeOf } from "../core/geometry.js";
import { type Call, newCall, Place } from "../core/operands.js";
import { FORWARD_NAMES } from "../core/passes.js";
import { View } from "../core/view.js";
import { Contents, Operation } from "../generated/abi.js";
import { rowCall } from "../layer/rows.js";
import { currentHeap, type Heap } from "./memory.js";
import type { Problem } from "./problem.js";

/** Float32 values, in tfjs's memory or ours. */
export type Values = Float32Array;

const OWNER = "batchnorm-wasm/tfjs";

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

/** Each begins a cache line, of so many float32. */
const LINE = 16;
const inLines = (length: number) => Math.ceil(length / LINE) * LINE;

/** What a call has of our memory, until its end: one block, since each costs a small call its time. */
class Scratch {
  readonly #heap: Heap;
  readonly #allocation: Allocation;
  #used = 0;

  /** @param lengths of all that will be asked for, in float32 */
  constructor(lengths: readonly number[]) {
    this.#heap = currentHeap();
    const length = lengths.reduce((sum, one) => sum + inLines(one), 0);
    this.#allocation = new Allocation(this.#heap.port, length * 4, Contents.Arbitrary);
    this.#allocation.retain();
  }

  /** A tensor of arbitrary contents, or of these. */
  tensor(shape: readonly number[], values: Values | null = null): View {
    const view = new View(this.#allocation, shape, undefined, this.#used);
    this.#used += inLines(view.size);
    if (values) this.put(view, values);
    return view;
  }

  /** One value a channel, if there is any. */
  vector(values: Values | null, channels: number): View | null {
    return values && this.tensor([checkLength(values, channels)], values);
  }

  zeros(length: number): View {
    const view = this.tensor([length]);
    const first = view.address / 4;
    this.#heap.floats().fill(0, first, first + length);
    return view;
  }

  /** Fewer elements of a tensor, from its first on. */
  first(view: View, shape: readonly number[]): View {
    return new View(view.allocation, shape, undefined, view.offset);
  }

  put(view: View, values: Values): void {
    this.#heap.floats().set(values, view.address / 4);
  }

  /** Where the saved values of a call are: of each set mean and variance, then γ of each channel. */
  saved(call: Call<View>): void {
    call.saved = this.tensor([4 * call.sets + 2 * call.channels]).address;
  }

  /** What a tensor holds, where it lies: until the memory may grow. */
  look(view: View): Values {
    const first = view.address / 4;
    return this.#heap.floats().subarray(first, first + view.size);
  }

  /** The bits of the statistics of a call: means and variances in float64. */
  bits(call: Call<View>): Int32Array {
    return new Int32Array(this.#heap.port.memory.linear.buffer, call.saved, 4 * call.sets);
  }

  /** Numbers in float64, from an address on. */
  doubles(address: number, length: number): Float64Array {
    return new Float64Array(this.#heap.port.memory.linear.buffer, address, length);
  }

  /** Operands are of our own making: there is nothing more to check. */
  run(call: Call<View>): void {
    (call.through ?? this.#heap.port.record).run(call);
  }

  end(): void {
    // Views hold it, too, and nobody has these any more: all ends with the block.
    this.#heap.port.memory.free(this.#allocation.address, this.#allocation.bytes);
    this.#allocation.handOut();
  }
}

/** Runs `fn` and gives back what it took of our memory. */
function inScratch<T>(lengths: readonly number[], fn: (scratch: Scratch) => T): T {
  const scratch = new Scratch(lengths);
  try {
    return fn(scratch);
  } finally {
    scratch.end();
  }
}

/** tfjs knows nothing of what our kernels need. @throws BatchNormError `shape-mismatch` */
export function checkLength(values: { readonly length: number }, length: number): number {
  if (values.length !== length) {
    fail("shape-mismatch", `${OWNER}: expected ${length} values, got ${values.length}`);
  }
  return length;
}

/** How many float32 the saved values of a problem take, and how many channels there are. */
function lengthsOf(
  { norm, axes, groups }: Problem,
  shape: readonly number[],
): { saved: number; channels: number } {
  const channels = axes.reduce((product, axis) => product * (shape[axis] as number), 1);
  let sets = channels;
  if (norm === "group") sets = groups * (shape[0] as number);
  else if (norm !== "batch") sets = sizeOf(shape.filter((_, axis) => !axes.includes(axis)));
  return { saved: 4 * sets + 2 * channels, channels };
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
  const { saved, channels } = lengthsOf(problem, shape);
  return inScratch([x.length, saved, channels, channels], (scratch) => {
    const view = scratch.tensor(shape, x);
    const call = callOver(FORWARD[problem.norm], problem, view);
    call.operands[Place.OUT] = view;
    call.operands[Place.WEIGHT] = scratch.vector(gamma, channels);
    call.operands[Place.BIAS] = scratch.vector(beta, channels);
    scratch.saved(call);
    scratch.run(call);
    return take(scratch.look(view), scratch.bits(call));
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
  checkLength(dy, x.length);
  const { saved, channels } = lengthsOf(problem, shape);
  return inScratch([x.length, x.length, saved, channels, channels], (scratch) => {
    const view = scratch.tensor(shape, x);
    const dx = scratch.tensor(shape, dy);
    const call = callOver(BACKWARD[problem.norm], problem, view);
    const dgamma = scratch.zeros(channels);
    const dbeta = problem.norm === "rms" ? null : scratch.zeros(channels);
    call.operands[Place.DY] = dx;
    call.operands[Place.OUT] = dx;
    call.operands[Place.FIRST_ACCUMULATOR] = dgamma;
    call.operands[Place.SECOND_ACCUMULATOR] = dbeta;
    scratch.saved(call);
    if ("mean" in statistics) {
      const { mean, variance } = statistics;
      checkLength(mean, channels);
      checkLength(variance, channels);
      const to = scratch.doubles(call.saved, 2 * channels);
      to.set(mean);
      to.set(variance, channels);
      call.constant = true;
    } else {
      checkLength(statistics, 4 * call.sets);
      scratch.bits(call).set(statistics);
    }
    const weights = scratch.doubles(call.saved + call.sets * 16, channels);
    if (gamma) {
      checkLength(gamma, channels);
      weights.set(gamma);
    } else weights.fill(1);
    scratch.run(call);
    return take(scratch.look(dx), scratch.look(dgamma), dbeta && scratch.look(dbeta));
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
  inScratch([lines * each, channels, channels, channels, channels], (scratch) => {
    const view = scratch.tensor([lines, channels, behind]);
    const gamma = scratch.vector(given.gamma, channels);
    const beta = scratch.vector(given.beta, channels);
    const mean = scratch.vector(given.mean, channels);
    const variance = scratch.vector(given.variance, channels);
    for (let first = 0; first < before; first += lines) {
      const count = Math.min(lines, before - first);
      const piece = count === lines ? view : scratch.first(view, [count, channels, behind]);
      const call = newCall(FORWARD_NAMES, Operation.Forward, OWNER, piece, 1);
      call.eps = given.epsilon;
      call.operands[Place.OUT] = piece;
      call.operands[Place.WEIGHT] = gamma;
      call.operands[Place.BIAS] = beta;
      call.operands[Place.MEAN] = mean;
      call.operands[Place.VARIANCE] = variance;
      const isAll = lines === before;
      scratch.put(piece, isAll ? x : x.subarray(first * each, (first + count) * each));
      scratch.run(call);
      put(scratch.look(piece), first * each);
    }
  });
}
