/** The golden values of the frameworks' layers, and how they are compared. */
import { readFileSync } from "node:fs";
import { expect } from "vitest";
import { expectWithin } from "./helpers.js";

export type Vector = number[] | null;

/** The cases of a file whose layers have such names. */
export function readCases<C extends { layer: string }>(file: string, layers: RegExp): C[] {
  const text = readFileSync(new URL(`fixtures/${file}`, import.meta.url), "utf8");
  const { cases } = JSON.parse(text) as { cases: C[] };
  return cases.filter(({ layer }) => layers.test(layer));
}

/** What a case is called. */
export const nameOf = (kind: string, shape: number[], options: object) =>
  `${kind}, [${shape.join(", ")}] ${JSON.stringify(options)}`;

/** Both are there and within bounds, or neither is. */
export function compare(
  got: { toFloat32Array(): Float32Array } | null | undefined,
  want: Vector | undefined,
  bound: ArrayLike<number>,
  what: string,
): void {
  expect(!got, `${what} is there`).toBe(!want);
  if (got && want) expectWithin(got.toFloat32Array(), want, bound, what);
}
