/** What the numeric tests share: random data, placements in memory, error bounds. */
import { Tensor } from "batchnorm-wasm";
import { expect } from "vitest";
import * as reference from "./reference/batch.mjs";
import { meanOf } from "./reference/sums.mjs";

/** What rounding to float32 adds at most, relative to the value: half of ε = 2⁻²³. */
export const U = 2 ** -24;

/** The smallest float32 above 0, and the spacing of all below 2⁻¹²⁵. */
export const SMALLEST = 2 ** -149;

/** The spacing of float32 at a value. */
export function ulp(value: number): number {
  const exponent = Math.floor(Math.log2(Math.max(Math.abs(value), 2 ** -126)));
  // log2 may land on the wrong side of a power of two.
  const fits = 2 ** exponent <= Math.abs(value) || exponent === -126;
  return 2 ** ((fits ? exponent : exponent - 1) - 23);
}

/** A seeded source of numbers (mulberry32): the same on every machine. */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed | 0;
  }

  /** Uniform from 0 to before 1. */
  uniform(): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let t = Math.imul(this.#state ^ (this.#state >>> 15), this.#state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  }

  /** A whole number from 0 to before `end`. */
  below(end: number): number {
    return Math.floor(this.uniform() * end);
  }

  normal(mean = 0, std = 1): number {
    const radius = Math.sqrt(-2 * Math.log(1 - this.uniform()));
    return mean + std * radius * Math.cos(2 * Math.PI * this.uniform());
  }

  normals(length: number, mean = 0, std = 1): Float32Array {
    return Float32Array.from({ length }, () => this.normal(mean, std));
  }
}

/** Where a tensor lies: elements before, behind and between its own. */
export interface Placement {
  /** Elements in front of everything: 1 to 3 misalign it for vectors. */
  readonly lead: number;
  /** Indices of each axis of a larger tensor, before and behind the view's. */
  readonly pads: readonly (readonly [before: number, behind: number])[];
}

/** End to end, from the storage's first element on. */
export const CONTIGUOUS: Placement = { lead: 0, pads: [] };

/** Elements behind the last: more than any loop's tile. */
const TRAIL = 40;

/** A view into a larger storage, whose other elements must stay as they are. */
export class Placed {
  readonly tensor: Tensor;
  readonly #whole: Tensor;
  readonly #places: Int32Array;
  readonly #before: Uint32Array;

  /**
   * @param padding what the elements around and between hold: NaN around an input
   *   shows in the result if one is read
   */
  constructor(
    values: ArrayLike<number>,
    shape: readonly number[],
    { lead, pads }: Placement = CONTIGUOUS,
    padding = Number.NaN,
  ) {
    const pad = (axis: number) => pads[axis] ?? [0, 0];
    const box = shape.map((size, axis) => pad(axis)[0] + size + pad(axis)[1]);
    const size = box.reduce((a, b) => a * b, 1);
    this.#whole = Tensor.zeros([lead + size + TRAIL]);
    let view = this.#whole.slice(0, lead, lead + size).reshape(box);
    shape.forEach((size, axis) => {
      view = view.slice(axis, pad(axis)[0], pad(axis)[0] + size);
    });
    this.tensor = view;
    this.#places = places(shape, box, pads).map((place) => lead + place);
    const data = this.#whole.data.fill(padding);
    this.#places.forEach((place, i) => {
      data[place] = values[i] as number;
    });
    this.#before = bits(this.#whole.toFloat32Array());
  }

  /** The elements in row-major order, by this class's own arithmetic. */
  values(): Float32Array {
    const { data } = this.#whole;
    return Float32Array.from(this.#places, (place) => data[place] as number);
  }

  /** Fails where an element of the storage that is not the view's has changed. */
  expectRestUntouched(name: string): void {
    const own = new Set(this.#places);
    this.#expectSame(name, (place) => own.has(place));
  }

  /** Fails where any element of the storage has changed. */
  expectUntouched(name: string): void {
    this.#expectSame(name, () => false);
  }

  #expectSame(name: string, ignored: (place: number) => boolean): void {
    const after = bits(this.#whole.toFloat32Array());
    const changed = after.findIndex((bits, i) => bits !== this.#before[i] && !ignored(i));
    if (changed >= 0) {
      expect.fail(`${name}: element ${changed} of its storage was written, which is not its own`);
    }
  }
}

/** Places in a row-major box of the elements of a smaller shape inside of it. */
function places(
  shape: readonly number[],
  box: readonly number[],
  pads: Placement["pads"],
): Int32Array {
  const size = shape.reduce((a, b) => a * b, 1);
  return Int32Array.from({ length: size }, (_, element) => {
    let [rest, place, stride] = [element, 0, 1];
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      const length = shape[axis] as number;
      place += ((rest % length) + (pads[axis]?.[0] ?? 0)) * stride;
      rest = Math.floor(rest / length);
      stride *= box[axis] as number;
    }
    return place;
  });
}

/** The bits of each element: −0 differs from 0 and NaN equals itself. */
export function bits(values: Float32Array): Uint32Array {
  return new Uint32Array(values.slice().buffer);
}

/** Fails where two results differ in any bit. */
export function expectSameBits(got: Float32Array, want: Float32Array, name: string): void {
  const [a, b] = [bits(got), bits(want)];
  expect(a.length, `${name}: length`).toBe(b.length);
  const wrong = a.findIndex((bits, i) => bits !== b[i]);
  if (wrong >= 0) expect.fail(`${name}[${wrong}]: ${got[wrong]} is not ${want[wrong]} to the bit`);
}

/** Fails where |got − want| exceeds the bound; NaN and ±∞ have to be the same. */
export function expectWithin(
  got: ArrayLike<number>,
  want: ArrayLike<number>,
  bound: ArrayLike<number>,
  name: string,
): void {
  expect(got.length, `${name}: length`).toBe(want.length);
  for (let i = 0; i < want.length; i++) {
    const [g, w, b] = [got[i] as number, want[i] as number, bound[i] as number];
    if (Object.is(g, w) || Math.abs(g - w) <= b) continue;
    const error = Math.abs(g - w);
    expect.fail(`${name}[${i}]: got ${g}, want ${w}: off by ${error}, bound ${b}`);
  }
}

/** The truth in float64 and how far from it a float32 result may be. */
export interface Truth {
  readonly statistics: reference.Statistics;
  readonly y: Float64Array;
  readonly gradients: reference.Gradients;
  readonly bounds: {
    readonly mean: Float64Array;
    readonly variance: Float64Array;
    readonly y: Float64Array;
    readonly dx: Float64Array;
    readonly dweight: Float64Array;
    readonly dbias: Float64Array;
  };
}

/**
 * Relative error, in U, of a sum of n terms in float32 lanes. No accumulator is to
 * take more than 128 additions (a block of 2048 over 16 of them) before the sum goes
 * on in float64. Roundings go up as often as down, so that k of them make λ·√k·U
 * (Higham & Mary, SIAM J. Sci. Comput. 41(5), 2019), here with λ = 4; the 4 more are
 * what a term's own operations add.
 */
function growth(n: number): number {
  return 4 * Math.sqrt(Math.min(n, 128)) + 4;
}

/**
 * Training by the batch's statistics: every operation adds U times the magnitude
 * of what it makes, to first order.
 *
 * ```text
 * P   = U·|μ| + g·U·mean|x|               how far a block's pivot is from its mean
 * Δμ  = g·U·(σ + P)        Δσ² = g·U·(σ + 2P)²         Δs/s = Δσ²/2(σ² + ε)
 * y   = (x − c)·a + b:     3 roundings of (x − c)·a, 1 of b, 1 of the sum,
 *                          and |γ|·(s·Δμ + |x̂|·Δs/s)
 * dx  = (dy − e)·a + (x − c)·q + r:       as y, with the errors of Σdy and Σdy·x̂
 * ```
 */
export function truthOfTraining(
  x: ArrayLike<number>,
  dy: ArrayLike<number>,
  channels: reference.Channels,
  parameters: reference.Parameters,
): Truth {
  const { number, of } = channels;
  const { weight, bias, eps } = parameters;
  const n = of.length / number;
  const g = growth(n);
  const batch = reference.statistics(x, channels);
  const y = reference.forward(x, channels, batch, parameters);
  const xHat = reference.normalized(x, channels, batch, eps);
  const gradients = reference.backward(x, dy, channels, parameters);

  const s = reference.inverseStd(batch, eps);
  const std = batch.variance.map(Math.sqrt);
  const meanX = meanOf((i) => Math.abs(x[i] as number), channels);
  const pivot = batch.mean.map((mean, c) => U * Math.abs(mean) + g * U * (meanX[c] as number));
  const dMean = std.map((std, c) => g * U * (std + (pivot[c] as number)));
  const dVariance = std.map((std, c) => g * U * (std + 2 * (pivot[c] as number)) ** 2);
  const dScale = dVariance.map((d, c) => d / (2 * ((batch.variance[c] as number) + eps) || 1));

  const gamma = Float64Array.from({ length: number }, (_, c) => Math.abs(weight?.[c] ?? 1));
  // |x̂| as computed with the mean rounded to float32.
  const off = batch.mean.map((mean, c) => U * Math.abs(mean) * (s[c] as number));
  const X = xHat.map((xHat, i) => Math.abs(xHat) + at(off, of, i));
  const meanDy = gradients.dbias.map((sum) => Math.abs(sum) / n);
  const meanProduct = gradients.dweight.map((sum) => Math.abs(sum) / n);
  const absDy = meanOf((i) => Math.abs(dy[i] as number), channels);
  const absProduct = meanOf(
    (i) => (X[i] as number) * (Math.abs(dy[i] as number) + at(absDy, of, i)),
    channels,
  );

  const boundY = y.map((y, i) => {
    const [gamma1, s1] = [at(gamma, of, i), at(s, of, i)];
    const offset = Math.abs(bias ? at(bias, of, i) : 0) + gamma1 * at(off, of, i);
    const roundings = 3 * gamma1 * (X[i] as number) + offset + Math.abs(y);
    const statistics = s1 * at(dMean, of, i) + (X[i] as number) * at(dScale, of, i);
    return U * roundings + gamma1 * statistics + 4 * SMALLEST;
  });
  const boundDx = X.map((X, i) => {
    const [s1, scale, product] = [at(s, of, i), at(dScale, of, i), at(meanProduct, of, i)];
    const magnitude = Math.abs(dy[i] as number) + at(meanDy, of, i);
    const dMeanDy = g * U * at(absDy, of, i);
    const dProduct = g * U * at(absProduct, of, i) + scale * product;
    const first = magnitude * (5 * U + scale) + dMeanDy;
    const second = X * product * (6 * U + 2 * scale) + X * dProduct;
    return (
      at(gamma, of, i) * s1 * (first + second + product * s1 * at(dMean, of, i)) + 4 * SMALLEST
    );
  });
  return {
    statistics: batch,
    y,
    gradients,
    bounds: {
      mean: dMean,
      variance: dVariance,
      y: boundY,
      dx: boundDx,
      dweight: gradients.dweight.map(
        (sum, c) =>
          g * U * n * (absProduct[c] as number) + (U + (dScale[c] as number)) * Math.abs(sum),
      ),
      dbias: gradients.dbias.map((sum, c) => g * U * n * (absDy[c] as number) + U * Math.abs(sum)),
    },
  };
}

/**
 * Inference by given statistics and its gradients. `off` is how far the statistics
 * that were used may be from the ones given here, absent where they are the same.
 */
export function truthOfInference(
  x: ArrayLike<number>,
  dy: ArrayLike<number>,
  channels: reference.Channels,
  given: reference.Statistics,
  parameters: reference.Parameters,
  off?: reference.Statistics,
): Truth {
  const { number, of } = channels;
  const { weight, bias, eps } = parameters;
  const n = of.length / number;
  const g = growth(n);
  const y = reference.forward(x, channels, given, parameters);
  const xHat = reference.normalized(x, channels, given, eps).map(Math.abs);
  const gradients = reference.backwardFrozen(x, dy, channels, given, parameters);
  const s = reference.inverseStd(given, eps);
  const zero = new Float64Array(number);
  const dMean = off?.mean ?? zero;
  const dScale = given.variance.map(
    (variance, c) => (off?.variance[c] ?? 0) / (2 * (variance + eps)),
  );
  const gamma = Float64Array.from({ length: number }, (_, c) => Math.abs(weight?.[c] ?? 1));
  const absDy = meanOf((i) => Math.abs(dy[i] as number), channels);
  const absX = meanOf((i) => xHat[i] as number, channels);
  const absProduct = meanOf((i) => (xHat[i] as number) * Math.abs(dy[i] as number), channels);
  return {
    statistics: given,
    y,
    gradients,
    bounds: {
      mean: dMean,
      variance: off?.variance ?? zero,
      y: y.map((y, i) => {
        const X = xHat[i] as number;
        const roundings =
          3 * at(gamma, of, i) * X + Math.abs(bias ? at(bias, of, i) : 0) + Math.abs(y);
        const statistics = at(s, of, i) * at(dMean, of, i) + X * at(dScale, of, i);
        return U * roundings + at(gamma, of, i) * statistics + 4 * SMALLEST;
      }),
      // γ·s and its product with dy are rounded.
      dx: gradients.dx.map((dx, i) => (2 * U + at(dScale, of, i)) * Math.abs(dx) + 4 * SMALLEST),
      // Σ(x̂·(dy − e)) and Σx̂·Σdy/n apart, the second of which cancels.
      dweight: gradients.dweight.map((sum, c) => {
        const [dy, x, product] = [absDy[c], absX[c], absProduct[c]] as [number, number, number];
        const statistics =
          (s[c] as number) * (dMean[c] as number) * dy + (dScale[c] as number) * product;
        return n * (2 * g * U * (product + x * dy) + statistics) + U * Math.abs(sum);
      }),
      dbias: gradients.dbias.map((sum, c) => g * U * n * (absDy[c] as number) + U * Math.abs(sum)),
    },
  };
}

/** How far running statistics may be after a step: the old error, the batch's, one rounding. */
export function boundOfMoved(
  moved: reference.Statistics,
  before: reference.Statistics,
  batch: reference.Statistics,
  share: number,
  correction: number,
): reference.Statistics {
  const bound = (value: Float64Array, before: Float64Array, batch: Float64Array, factor: number) =>
    value.map(
      (value, c) =>
        (1 - share) * (before[c] as number) +
        share * factor * (batch[c] as number) +
        U * Math.abs(value),
    );
  return {
    mean: bound(moved.mean, before.mean, batch.mean, 1),
    variance: bound(moved.variance, before.variance, batch.variance, correction),
  };
}

/** The value of element i's channel. */
function at(vector: ArrayLike<number>, of: Int32Array, i: number): number {
  return vector[of[i] as number] as number;
}
