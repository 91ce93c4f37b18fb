/**
 * How much the positions of x count in the batch's statistics: `mask` and `weights`. A position is an
 * element of every channel, so that all channels have the same weights. What is given is read once and
 * copied, since the backward pass needs it as it was.
 */
import { Allocation } from "../core/allocation.js";
import type { Vector } from "../core/arguments.js";
import { fail, mustBe } from "../core/errors.js";
import { forEachPlace, sizeOf } from "../core/geometry.js";
import { type Call, failForKernel, Place } from "../core/operands.js";
import { isPlain, type PlainTensor, readPlain } from "../core/plain.js";
import { showShape } from "../core/show.js";
import { copyIn, viewOf } from "../core/tensor.js";
import { lengthOf } from "../core/typed-arrays.js";
import { DATA_KINDS, type Float32Values, floats, readValues } from "../core/values.js";
import { View } from "../core/view.js";
import { Contents } from "../generated/abi.js";

/** Weights of x's positions; a bare array has all of them, in row-major order. */
export type Weights = Vector | PlainTensor;

/** The same of nothing but 0 and 1, or of booleans. */
export type Mask =
  | Weights
  | readonly boolean[]
  | (Omit<PlainTensor, "data"> & { readonly data: readonly boolean[] });

/** Which positions count in the batch's statistics. All are normalized. */
export interface WeightOptions {
  /**
   * Where the batch's statistics look: 1 or `true`; what is 0 or `false` never touches them, even if
   * x is no number there. Of x's shape without the channel axis, or of one that broadcasts to it. By
   * given statistics, as in evaluation, nothing depends on it.
   */
  mask?: Mask | null | undefined;
  /** How much each position counts, finite and not negative; shapes as those of `mask`. */
  weights?: Weights | null | undefined;
}

export const WEIGHT_OPTIONS = ["mask", "weights"];

/** What was given, read. */
export interface ReadWeights {
  readonly name: "mask" | "weights";
  readonly of: View | { readonly values: Float32Values; readonly shape: readonly number[] | null };
}

/** @throws BatchNormError `invalid-option`, `dtype`, `invalid-shape`, `shape-overflow` */
export function readWeights(given: WeightOptions, owner: string): ReadWeights | null {
  const { mask, weights } = given;
  if (mask == null && weights == null) return null;
  if (mask != null && weights != null) {
    fail("invalid-option", `${owner}: mask and weights exclude each other`);
  }
  const value: unknown = mask ?? weights;
  const name = mask == null ? "weights" : "mask";
  const view = viewOf(value);
  if (view) return { name, of: view };
  const label = `${owner}: ${name}`;
  const kinds = DATA_KINDS.concat(mask == null ? [] : "boolean[]");
  const { values, shape } = isPlain(value)
    ? readPlain(value, label, kinds)
    : { values: readValues(value, label, kinds), shape: null };
  // Whatever lies in kernel memory may be detached when the first operand is copied in.
  const copy = floats(lengthOf(values), label);
  copy.set(values);
  return { name, of: { values: copy, shape } };
}

/** Weights in kernel memory. */
export interface BroughtWeights {
  /** As the kernel takes them; `null` where all count alike. */
  readonly view: View | null;
  /** Their sum as they were given. */
  readonly given: number;
  /** Whether they are what a pass has saved. */
  kept: boolean;
}

/**
 * Runs with weights in kernel memory, which are given back then, unless they are kept.
 *
 * @throws BatchNormError `shape-mismatch`, `invalid-option`, `invalid-shape`, `disposed`,
 *   `foreign-kernel`, `out-of-memory`
 */
export function withWeights<T>(
  read: ReadWeights | null,
  owner: string,
  x: View,
  axis: number,
  run: (weights: BroughtWeights | null) => T,
): T {
  // Of no elements there is nothing to weigh.
  const weights = read && x.size > 0 ? bringIn(read, owner, x, axis) : null;
  try {
    return run(weights);
  } finally {
    if (weights && !weights.kept) weights.view?.dispose();
  }
}

/** Gives a call weights. */
export function weigh(call: Call<View>, weights: BroughtWeights | null): void {
  if (weights) call.operands[Place.ELEMENT_WEIGHTS] = weights.view;
}

/** @throws BatchNormError `unsupported` */
export function failForSlices({ name }: ReadWeights, owner: string): never {
  fail(
    "unsupported",
    `${owner}: ${name} doesn't go with virtualBatchSize; call it slice by slice, with x.slice(0, …)`,
  );
}

/** @throws BatchNormError `batch-too-small` */
export function failForWeight(owner: string): never {
  fail("batch-too-small", `${owner}: no position counts, and there are no running statistics`);
}

/** Where the weights begin behind their sum, in elements. */
const BEHIND_SUM = 2;

function bringIn({ name, of }: ReadWeights, owner: string, x: View, axis: number): BroughtWeights {
  const { port } = x.allocation;
  const label = `${owner}: ${name}`;
  const others = x.shape.filter((_, i) => i !== axis);
  const positions = others.length > 0 ? others : [1];
  const count = sizeOf(positions);
  let from: View;
  if (of instanceof View) {
    if (of.disposed) fail("disposed", `${label} was disposed`);
    if (of.allocation.port !== port) failForKernel(owner, name);
    from = of;
  } else {
    const { values, shape } = of;
    if (!shape && values.length !== count)
      failForShape(label, positions, `${values.length} values`);
    from = copyIn(values, shape ?? positions, port, label);
  }
  let view: View | null = null;
  try {
    const strides = stridesOver(positions, from, x.shape.length, axis, label);
    const length = BEHIND_SUM + count;
    view = new View(new Allocation(port, length * 4, Contents.Arbitrary), [length]);
    // Made when all is allocated: that may grow the memory.
    const [values, all] = [from.elements, view.elements.subarray(BEHIND_SUM)];
    if (from.size === count && from.contiguous) all.set(values);
    else {
      forEachPlace(positions, strides, 0, count, (place, position) => {
        all[position] = values[place] as number;
      });
    }
    const { total, alike } = sumChecked(all, name, label);
    if (alike) return { view: null, given: total, kept: false };
    const scale = scaleOf(total / count);
    if (scale !== 1) for (let i = 0; i < count; i++) (all[i] as number) *= scale;
    new Float64Array(all.buffer, view.address, 1)[0] = total * scale;
    const brought = { view, given: total, kept: false };
    view = null;
    return brought;
  } finally {
    view?.dispose();
    if (from !== of) from.dispose();
  }
}

/** The strides of what was given over x's positions, 0 where it is repeated. */
function stridesOver(
  positions: readonly number[],
  { shape, strides }: View,
  rank: number,
  axis: number,
  label: string,
): readonly number[] {
  // Also with the channel axis, of one.
  const isOther = (_: number, i: number) => shape.length !== rank || i !== axis;
  const hasChannels = shape[axis] === 1;
  const sizes = hasChannels ? shape.filter(isOther) : shape;
  const steps = hasChannels ? strides.filter(isOther) : strides;
  const missing = positions.length - sizes.length;
  if (missing < 0 || sizes.some((size, i) => size !== 1 && size !== positions[missing + i])) {
    failForShape(label, positions, showShape(shape));
  }
  return positions.map((_, i) => (sizes[i - missing] === 1 ? 0 : (steps[i - missing] ?? 0)));
}

/** @throws BatchNormError `shape-mismatch` */
function failForShape(label: string, positions: readonly number[], got: string): never {
  fail(
    "shape-mismatch",
    `${label} must be of shape ${showShape(positions)}, or broadcast to it, got ${got}`,
  );
}

/** A float32's. */
enum Bits {
  ONE = 0x3f800000,
}

/** The sum of weights, and whether all are alike. */
interface Sum {
  /** NaN where one of them can't be one. */
  readonly total: number;
  readonly alike: boolean;
}

/** @throws BatchNormError `invalid-option` */
function sumChecked(weights: Float32Array, name: string, label: string): Sum {
  const isMask = name === "mask";
  const { buffer, byteOffset, length } = weights;
  const sum = isMask ? sumOfMask(new Int32Array(buffer, byteOffset, length)) : sumOf(weights);
  if (!Number.isNaN(sum.total)) return sum;
  const fits = (weight: number) =>
    isMask ? weight === 0 || weight === 1 : weight >= 0 && weight < Infinity;
  const wrong = weights.find((weight) => !fits(weight));
  return mustBe(
    "invalid-option",
    label,
    isMask ? "of 0 and 1, or booleans" : "finite, from 0 on",
    wrong,
  );
}

// No branch in these loops depends on a value: that would take five times as long.

/** Of a mask, by the bits of float32. */
function sumOfMask(mask: Int32Array): Sum {
  const { length } = mask;
  let [total, odd] = [0, 0];
  for (let i = 0; i < length; i++) {
    const bits = mask[i] as number;
    // Without the sign: -0 is 0.
    const [some, other] = [bits << 1, bits ^ Bits.ONE];
    // n | -n is negative unless n is 0.
    odd |= (some | -some) & (other | -other);
    total += (bits >>> 29) & 1;
  }
  return { total: odd < 0 ? Number.NaN : total, alike: total === 0 || total === length };
}

function sumOf(weights: Float32Array): Sum {
  const { length } = weights;
  const first = weights[0] as number;
  let [total, below, apart] = [0, 0, 0];
  for (let i = 0; i < length; i++) {
    const weight = weights[i] as number;
    total += weight;
    below += Math.abs(weight) - weight;
    apart += Math.abs(weight - first);
  }
  return { total: below === 0 && total < Infinity ? total : Number.NaN, alike: apart === 0 };
}

/** What weights of a mean are multiplied with, so that their products with squares are in range. */
function scaleOf(mean: number): number {
  return mean > 2 ** -40 && mean < 2 ** 40 ? 1 : 2 ** -Math.floor(Math.log2(mean));
}
