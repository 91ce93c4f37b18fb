/** What calls have of our memory while tensors of tfjs are computed. */
import type { Allocation } from "../core/allocation.js";
import { fail } from "../core/errors.js";
import type { Call } from "../core/operands.js";
import { View } from "../core/view.js";
import { currentHeap, type Heap } from "./memory.js";

/** Float32 values, in tfjs's memory or ours. */
export type Values = Float32Array;

export const OWNER = "batchnorm-wasm/tfjs";

/** Each begins a cache line, of so many float32. */
const LINE = 16;
const inLines = (length: number) => Math.ceil(length / LINE) * LINE;

/** Float32 that saved values take, in float64: of each set mean and variance, then γ of each channel. */
export const savedLength = (sets: number, channels: number) => 4 * sets + 2 * channels;

/** What there is of our memory, until its end: one block, since each costs a small call its time. */
export class Scratch {
  readonly #heap: Heap;
  readonly #allocation: Allocation;
  #used = 0;

  /** @param lengths of all that will be asked for, in float32 */
  constructor(lengths: readonly number[]) {
    this.#heap = currentHeap();
    const length = lengths.reduce((sum, one) => sum + inLines(one), 0);
    this.#allocation = this.#heap.take(length * 4);
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

  /** The address of a call's saved values. */
  saved(sets: number, channels: number): number {
    return this.tensor([savedLength(sets, channels)]).address;
  }

  /** Saved values end with γ of each channel, or 1. */
  weigh(address: number, gamma: Values | null, channels: number): void {
    const weights = this.doubles(address, channels);
    if (gamma) weights.set(gamma);
    else weights.fill(1);
  }

  /** What a tensor holds, where it lies: until the memory may grow. */
  look(view: View): Values {
    const first = view.address / 4;
    return this.#heap.floats().subarray(first, first + view.size);
  }

  /** The bits of saved statistics: means and variances in float64. */
  bits(address: number, sets: number): Int32Array {
    return new Int32Array(this.#heap.port.memory.linear.buffer, address, 4 * sets);
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
    this.#heap.giveBack(this.#allocation);
  }
}

/** Runs `fn` and gives back what it took of our memory. */
export function inScratch<T>(lengths: readonly number[], fn: (scratch: Scratch) => T): T {
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
