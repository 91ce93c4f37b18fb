/** What the numeric tests share: random data, placements in memory, error bounds. */
import { Tensor } from "batchnorm-wasm";
import { expect } from "vitest";
import * as reference from "./reference/batch.mjs";
import { centerOf, deviationsOf, meanOf } from "./reference/sums.mjs";

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
    let [outer, place, stride] = [element, 0, 1];
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      const length = shape[axis] as number;
      place += ((outer % length) + (pads[axis]?.[0] ?? 0)) * stride;
      outer = Math.floor(outer / length);
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

/** Fails unless what both passes gave is the truth within its bounds. */
export function expectPasses(
  truth: Truth,
  statistics: { readonly mean: ArrayLike<number>; readonly variance: ArrayLike<number> },
  { y, dx, weightGrad, biasGrad }: Outputs,
): void {
  const { bounds, gradients } = truth;
  expectWithin(statistics.mean, truth.statistics.mean, bounds.mean, "mean");
  expectWithin(statistics.variance, truth.statistics.variance, bounds.variance, "variance");
  expectWithin(y.values(), truth.y, bounds.y, "y");
  expectWithin(dx.values(), gradients.dx, bounds.dx, "dx");
  expectWithin(weightGrad?.values() ?? [], gradients.dweight, bounds.dweight, "dweight");
  expectWithin(biasGrad?.values() ?? [], gradients.dbias, bounds.dbias, "dbias");
}

/** What both passes write. */
interface Outputs {
  readonly y: Placed;
  readonly dx: Placed;
  readonly weightGrad: Placed | null;
  readonly biasGrad: Placed | null;
}

/** Fails where inputs were written, or anything around outputs. */
export function expectNothingElseWritten(
  inputs: Readonly<Record<string, Placed | null>>,
  outputs: Outputs,
): void {
  for (const [name, one] of Object.entries(inputs)) one?.expectUntouched(name);
  for (const [name, one] of Object.entries(outputs)) one?.expectRestUntouched(name);
}

/**
 * Terms of the float32 sums that a term of a run ends in, one after the other, before they go
 * on in float64 (`crate/kernel/src/sweep/fold.rs`). It is in one of four lanes of one of two
 * accumulators, which takes up to 16 terms and one more of what is left over; then these two
 * are added up, the halves of that, and the neighbours. A column has no more than the first 16.
 */
const SUMS = [...Array.from({ length: 16 }, (_, i) => i + 2), 2 * 17, 4 * 17, 8 * 17];

/** Of two differences and their product, at most: what a term itself rounds. */
const OWN = 3;

/** A rounding is at most U, and its standard deviation half of that or less: four of these. */
const LAMBDA = 2;

/** |pivot − mean|/σ at most, or else the sums were taken again around the mean (`moments.rs`). */
const NEAR = 2;

/**
 * Error of the mean of n terms, in U times their quadratic mean q. A sum of j terms rounds
 * by U times itself, which is √j·U·√Σt² at most, so that all of them make, in one direction,
 * (additions + OWN)·U·q. But they go up as often as down (Higham & Mary, SIAM J. Sci. Comput.
 * 41(5), 2019), and their squares add up: the j of all its sums a term, and OWN.
 */
export function growth(n: number): number {
  const sums = SUMS.slice(0, Math.max(0, n - 1));
  const squares = sums.reduce((all, j) => all + Math.min(j, n), OWN);
  return Math.min(sums.length + OWN, LAMBDA * Math.sqrt(squares / n));
}

/** √(mean of value(i)²) over each channel's elements. */
export function quadraticMean(
  value: (i: number) => number,
  channels: reference.Channels,
): Float64Array {
  return meanOf((i) => value(i) ** 2, channels).map(Math.sqrt);
}

/**
 * Training by the batch's statistics, to first order. p and q are the pivots of x and dy,
 * d = x − p, e = dy − q, Q is the quadratic mean, and g the {@link growth} of sums.
 *
 * ```text
 * P    = |p − μ| ≤ max(2σ, U·|μ|)               the latter for float32's nearest to μ
 * Δμ   = g·U·Q(d)
 * Δσ²  = g·U·Q(d²) + 2P·Δμ                      of Σd²/n − (Σd/n)²
 * Δs/s = Δσ²/2(σ² + ε)
 * y    = (x − c)·a + b:     3 roundings of (x − c)·a, 1 of b, 1 of the sum,
 *                           and |γ|·(s·Δμ + |x̂|·Δs/s)
 * C/n  = Σx̂·(dy − mean dy)/n:                   g·U·Q(x̂·e) + s·Δμ·|q − mean dy| + Δs/s of it
 * dx   = ((dy − m) − (x − c)·k + r)·a:  5 roundings of dy − m, 7 of (x − c)·k,
 *                           and the errors of m, C, μ and s
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
  const pivot = std.map((std, c) => Math.max(NEAR * std, U * Math.abs(batch.mean[c] as number)));
  const deviations = deviationsOf(x, channels, batch);
  const ofD = std.map((std, c) => Math.hypot(std, pivot[c] as number));
  // On whichever side of the mean.
  const [above, below] = [1, -1].map((side) =>
    quadraticMean((i) => ((deviations[i] as number) + side * at(pivot, of, i)) ** 2, channels),
  ) as [Float64Array, Float64Array];
  // The mean itself is a float64.
  const dMean = ofD.map((q, c) => g * U * q + 2 ** -51 * Math.abs(batch.mean[c] as number));
  const dVariance = dMean.map((dMean, c) => {
    const ofSquares = g * U * Math.max(above[c] as number, below[c] as number);
    return ofSquares + 2 * (pivot[c] as number) * dMean;
  });
  const dScale = dVariance.map((d, c) => d / (2 * ((batch.variance[c] as number) + eps) || 1));

  const gamma = Float64Array.from({ length: number }, (_, c) => Math.abs(weight?.[c] ?? 1));
  // |x̂| as computed with the mean rounded to float32.
  const off = batch.mean.map((mean, c) => U * Math.abs(mean) * (s[c] as number));
  const X = xHat.map((xHat, i) => Math.abs(xHat) + at(off, of, i));
  const meanDy = gradients.dbias.map((sum) => Math.abs(sum) / n);
  const meanProduct = gradients.dweight.map((sum) => Math.abs(sum) / n);
  const apart = deviationsOf(dy, channels, centerOf(dy, channels)).map(Math.abs);
  const stdDy = quadraticMean((i) => apart[i] as number, channels);
  // Of samples too, but it isn't looked at again.
  const pivotDy = stdDy.map((std) => NEAR * std);
  const dMeanDy = stdDy.map((std, c) => g * U * Math.hypot(std, pivotDy[c] as number));
  const dProduct = quadraticMean(
    (i) => (X[i] as number) * ((apart[i] as number) + at(pivotDy, of, i)),
    channels,
  ).map((q, c) => {
    const ofMean = (s[c] as number) * (dMean[c] as number) * (pivotDy[c] as number);
    return g * U * q + ofMean + (dScale[c] as number) * (meanProduct[c] as number);
  });

  const boundY = y.map((y, i) => {
    const [gamma1, s1] = [at(gamma, of, i), at(s, of, i)];
    const offset = Math.abs(bias ? at(bias, of, i) : 0) + gamma1 * at(off, of, i);
    const roundings = 3 * gamma1 * (X[i] as number) + offset + Math.abs(y);
    const statistics = s1 * at(dMean, of, i) + (X[i] as number) * at(dScale, of, i);
    return U * roundings + gamma1 * statistics + 4 * SMALLEST;
  });
  const boundDx = X.map((X, i) => {
    const [s1, scale, product] = [at(s, of, i), at(dScale, of, i), at(meanProduct, of, i)];
    const magnitude = (apart[i] as number) + U * at(meanDy, of, i);
    const first = magnitude * (5 * U + scale) + at(dMeanDy, of, i) + U * U * at(meanDy, of, i);
    const second = X * product * (7 * U + 2 * scale) + X * at(dProduct, of, i);
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
      dweight: gradients.dweight.map((sum, c) => n * (dProduct[c] as number) + U * Math.abs(sum)),
      dbias: gradients.dbias.map((sum, c) => n * (dMeanDy[c] as number) + U * Math.abs(sum)),
    },
  };
}

/**
 * Inference by given statistics and its gradients, of which sums take dy as it is. `off`
 * is how far the statistics that were used may be from the ones given here, absent where
 * they are the same.
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
  const s = reference.inverseStd(given, eps);
  const xHat = reference.normalized(x, channels, given, eps).map(Math.abs);
  const gradients = reference.backwardConstant(x, dy, channels, given, parameters);
  const zero = new Float64Array(number);
  const dMean = off?.mean ?? zero;
  const dScale = given.variance.map(
    (variance, c) => (off?.variance[c] ?? 0) / (2 * (variance + eps)),
  );
  const gamma = Float64Array.from({ length: number }, (_, c) => Math.abs(weight?.[c] ?? 1));
  // The mean is taken as its nearest float32, and what that lacks from the sums.
  const lacking = given.mean.map((mean, c) => U * Math.abs(mean) * (s[c] as number));
  const product = (i: number) => (xHat[i] as number) * Math.abs(dy[i] as number);
  const meanDy = meanOf((i) => Math.abs(dy[i] as number), channels);
  const meanProduct = meanOf(product, channels);
  const ofDy = quadraticMean((i) => dy[i] as number, channels);
  const ofProduct = quadraticMean(
    (i) => ((xHat[i] as number) + at(lacking, of, i)) * (dy[i] as number),
    channels,
  );
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
      dweight: gradients.dweight.map((sum, c) => {
        const ofMean = (s[c] as number) * (dMean[c] as number) * (meanDy[c] as number);
        const statistics = ofMean + (dScale[c] as number) * (meanProduct[c] as number);
        return n * (g * U * (ofProduct[c] as number) + statistics) + U * Math.abs(sum);
      }),
      dbias: gradients.dbias.map((sum, c) => g * U * n * (ofDy[c] as number) + U * Math.abs(sum)),
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
