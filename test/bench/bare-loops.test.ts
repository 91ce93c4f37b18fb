/** The bare loops compute what they say, every element of it: a loop that skipped would be no limit. */
import { describe, expect, test } from "vitest";
import { OPS } from "../../scripts/bench/cells.mjs";
import { compileLoops, prepare } from "../../scripts/bench/contestants/bare-loops.mjs";
import { makeData, normals } from "../../scripts/bench/data.mjs";
import { digestOf } from "../../scripts/bench/limits/digest.mjs";
import { DIGEST } from "../../scripts/bench/limits/generated.mjs";
import { TEXT, TURN } from "../../scripts/bench/limits/text.mjs";

const f = Math.fround;
const module = await compileLoops();
/** Bytes of a guarded place; sums lie below x. */
const [SUMS, X, DY, TO] = [0, 256, 4096, 8192];
const lengths = [1, 2, 5, 32].map((turns) => (turns * TURN) / 4);

type Loop = (...given: number[]) => void;
type Exports = { memory: WebAssembly.Memory } & Record<"map1" | "map2" | "fold1" | "fold2", Loop>;

function loops(length: number) {
  const exports = new WebAssembly.Instance(module).exports as Exports;
  exports.memory.grow(1);
  const all = new Float32Array(exports.memory.buffer).fill(Number.NaN);
  const place = (at: number) => all.subarray(at / 4, at / 4 + length);
  const [x, dy, to] = [place(X), place(DY), place(TO)];
  x.set(normals(length, 1));
  dy.set(normals(length, 2));
  return { ...exports, all, x, dy, to, bytes: 4 * length };
}

/** The two sums of a fold that stores two vectors of each. */
function sumsOf({ all }: { all: Float32Array }) {
  const stored = Array.from(all.subarray(SUMS / 4, SUMS / 4 + 16));
  const sum = (values: number[]) => values.reduce((a, b) => a + b, 0);
  return [sum(stored.slice(0, 8)), sum(stored.slice(8))] as const;
}

/** Rounding of n additions of terms in f32, n times a half unit of the sum of their sizes. */
function expectSum(actual: number, terms: readonly number[]) {
  const exact = terms.reduce((a, b) => a + b, 0);
  const bound = 2 ** -24 * (terms.length + 3) * terms.reduce((a, b) => a + Math.abs(b), 0);
  expect(Math.abs(actual - exact)).toBeLessThanOrEqual(bound);
}

test("the bytes are of the text as it is now", () => {
  // If this fails: npm run bench:assemble
  expect(DIGEST).toBe(digestOf(TEXT));
});

describe.each(lengths)("over %i elements", (length) => {
  test("map1 is x·a + b to the bit, and writes nothing else", () => {
    const { map1, x, to, all, bytes } = loops(length);
    map1(X, TO, bytes, 1.5, -0.25);
    expect([...to]).toEqual([...x].map((value) => f(f(value * 1.5) - 0.25)));
    expect(all[TO / 4 - 1]).toBeNaN();
    expect(all[TO / 4 + length]).toBeNaN();
  });

  test("map1 goes in place", () => {
    const { map1, x, bytes } = loops(length);
    const before = [...x];
    map1(X, X, bytes, 0.5, 0.5);
    expect([...x]).toEqual(before.map((value) => f(f(value * 0.5) + 0.5)));
  });

  test("map2 is the gradient's map to the bit", () => {
    const { map2, x, dy, to, all, bytes } = loops(length);
    const [c, k, e, r, a] = [f(0.3), f(0.7), f(-0.2), f(0.05), f(1.25)] as const;
    map2(X, DY, TO, bytes, c, k, e, r, a);
    const expected = Array.from(x, (value, i) => {
      const slope = f(f(value - c) * k);
      const deviation = f((dy[i] as number) - e);
      return f(f(f(deviation - slope) + r) * a);
    });
    expect([...to]).toEqual(expected);
    expect(all[TO / 4 + length]).toBeNaN();
  });

  test("fold1 adds up deviations and their squares", () => {
    const made = loops(length);
    made.fold1(X, SUMS, made.bytes, 0.25);
    const deviations = Array.from(made.x, (value) => f(value - 0.25));
    const [sum, squares] = sumsOf(made);
    expectSum(sum, deviations);
    expectSum(
      squares,
      deviations.map((d) => d * d),
    );
  });

  test("fold2 adds up deviations and products", () => {
    const made = loops(length);
    made.fold2(X, DY, SUMS, made.bytes, 0.25, -0.5);
    const [sum, products] = sumsOf(made);
    const deviations = Array.from(made.dy, (value) => f(value + 0.5));
    expectSum(sum, deviations);
    expectSum(
      products,
      deviations.map((d, i) => d * f((made.x[i] as number) - 0.25)),
    );
  });

  test("no element is left out of a fold", () => {
    for (let i = 0; i < length; i++) {
      const made = loops(length);
      made.x.fill(0);
      made.dy.fill(0);
      made.x[i] = 2;
      made.dy[i] = 3;
      made.fold1(X, SUMS, made.bytes, 0);
      expect(sumsOf(made)).toEqual([2, 4]);
      made.fold2(X, DY, SUMS, made.bytes, 0, 0);
      expect(sumsOf(made)).toEqual([3, 6]);
    }
  });
});

describe("as a contestant they map a cell's whole tensor", () => {
  // Not a multiple of a turn, and more than two pieces of a megabyte.
  const shape = [3, 5, 7, 71, 71];

  test.each(OPS)("%s", async (op) => {
    const cell = { op, layout: "channels-first", shape, axis: 1, name: "test" } as const;
    const { x, dy } = makeData(cell);
    const prepared = prepare(module, cell, makeData(cell));
    await prepared.run(1);
    const { y, dx } = await prepared.outputs();
    const off = (actual: Float32Array, at: (i: number) => number) =>
      actual.findIndex((value, i) => Math.abs(value - at(i)) > 1e-6);
    const given = (tensor: Float32Array, i: number) => tensor[i] as number;
    expect(y !== undefined).toBe(op !== "backward");
    expect(dx !== undefined).toBe(op.endsWith("backward"));
    if (y) expect(off(y, (i) => given(x, i) / 2 + 0.5)).toBe(-1);
    const gradient = (i: number) => (given(dy, i) - 0.25 - (given(x, i) - 0.5) / 8 + 0.5) / 2;
    if (dx) expect(off(dx, gradient)).toBe(-1);
  });
});
