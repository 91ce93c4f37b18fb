/** Whether numbers are right enough: for the expectations of every norm. */
import type { Gradients } from "../reference/batch.mjs";
import { Fault } from "./world.js";

/** Whether float32 arithmetic on these is ordinary: neither overflow nor denormals. */
export function ordinary(...vectors: (Float32Array | null)[]): boolean {
  return vectors.every(
    (values) =>
      values === null ||
      values.every((value) => value === 0 || (Math.abs(value) < 1e4 && Math.abs(value) > 1e-5)),
  );
}

/** Far above any rounding here, far below what a wrong element gives. */
const TOLERANCE = 2e-3;

/** Throws where what a call gave isn't near to what is right, at the scale of its terms. */
export function near(
  what: string,
  got: ArrayLike<number>,
  right: (i: number) => number,
  scale: (i: number) => number,
): void {
  for (let i = 0; i < got.length; i++) {
    const [value, wanted] = [got[i] as number, right(i)];
    const off = Math.abs(value - wanted);
    // The other way about, NaN would pass.
    if (!(off <= TOLERANCE * (1 + scale(i)))) {
      throw new Fault(`${what} is wrong`, `[${i}] is ${value}, not ${wanted}`);
    }
  }
}

/** Whether no variance is all but 0: of x − μ there, rounding is left, of what made x float32. */
export function wellConditioned(
  x: Float32Array,
  { variance }: { readonly variance: Float64Array },
  eps: number,
): boolean {
  const largest = bound(x);
  return variance.every((v) => v + eps > 1e-5 * (1e-3 + largest * largest));
}

/** A parameter's gradient before a call that adds to it, and after. */
export interface Added {
  readonly old: Float32Array;
  readonly now: Float32Array;
}

/**
 * Throws where gradients aren't near to what is right.
 *
 * @param got with respect to x, weight and bias
 * @param terms dy, a bound of x̂, and one of what scales dy
 */
export function nearGradients(
  of: string,
  right: Gradients,
  got: { readonly dx: ArrayLike<number>; readonly gradients: readonly (Added | null)[] },
  terms: { readonly dy: Float32Array; readonly xHat: number; readonly scale: number },
): void {
  const { xHat } = terms;
  const largest = bound(terms.dy);
  near(
    `dx${of}`,
    got.dx,
    (i) => right.dx[i] as number,
    () => terms.scale * largest * (1 + xHat * xHat),
  );
  const sum = largest * terms.dy.length;
  got.gradients.forEach((one, k) => {
    if (!one) return;
    const added = k === 0 ? right.dweight : right.dbias;
    const value = (i: number) => (one.old[i] as number) + (added[i] as number);
    near(
      `${k === 0 ? "dγ" : "dβ"}${of}`,
      one.now,
      value,
      (i) => Math.abs(value(i)) + sum * (1 + xHat) * 1e-2,
    );
  });
}

/** The largest magnitude. */
export function bound(values: ArrayLike<number> | null): number {
  let largest = 0;
  for (let i = 0; i < (values?.length ?? 0); i++) {
    largest = Math.max(largest, Math.abs((values as ArrayLike<number>)[i] as number));
  }
  return largest;
}
