/** Whether numbers are right enough: for the expectations of every norm. */
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

/** The largest magnitude. */
export function bound(values: ArrayLike<number> | null): number {
  let largest = 0;
  for (let i = 0; i < (values?.length ?? 0); i++) {
    largest = Math.max(largest, Math.abs((values as ArrayLike<number>)[i] as number));
  }
  return largest;
}
