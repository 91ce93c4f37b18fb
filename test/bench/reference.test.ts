import { describe, expect, test } from "vitest";
import { makeData } from "../../scripts/bench/data.mjs";
import { makeReference, WRONG } from "../../scripts/bench/reference.mjs";

// One channel of mean 0 and variance 1, and one of mean 10 and variance 4.
const cell = { shape: [4, 2], axis: 1 };
const data = {
  x: Float32Array.of(-1, 8, -1, 8, 1, 12, 1, 12),
  dy: Float32Array.of(1, 1, 2, 2, 3, 3, 6, 6),
  weight: Float32Array.of(2, 1),
  bias: Float32Array.of(0, 5),
  mean: Float32Array.of(1, 0),
  variance: Float32Array.of(4, 16),
  eps: 0,
};
const training = { y: Float32Array.of(-2, 4, -2, 4, 2, 6, 2, 6) };
// dβ = 12, dγ = 6, dx = γ/σ·(dy − 3 − x̂·1.5)
const backward = {
  dx: Float32Array.of(-1, -0.25, 1, 0.25, -3, -0.75, 3, 0.75),
  dweight: Float32Array.of(6, 6),
  dbias: Float32Array.of(12, 12),
};
const { compare } = makeReference(cell, data);

describe("the reference", () => {
  test("agrees with values worked out by hand", () => {
    const inference = { y: Float32Array.of(-2, 7, -2, 7, 0, 8, 0, 8) };
    expect(compare("inference", inference).error).toBe(0);
    expect(compare("inference-in-place", inference).error).toBe(0);
    const statistics = { mean: Float32Array.of(0, 10), variance: Float32Array.of(1, 4) };
    expect(compare("training", { ...training, ...statistics }).error).toBe(0);
    expect(compare("backward", backward).error).toBe(0);
    expect(compare("forward-backward", { ...training, ...backward }).error).toBe(0);
  });

  test("tells the largest deviation over the largest value, and the array", () => {
    const dx = Float32Array.from(backward.dx);
    dx[2] = 1.75;
    expect(compare("backward", { ...backward, dx })).toEqual({ error: 0.25, array: "dx" });
    const dbias = Float32Array.of(12, 9);
    expect(compare("backward", { ...backward, dx, dbias: Float32Array.of(12, 6) })).toEqual({
      error: 0.5,
      array: "dbias",
    });
    expect(compare("backward", { ...backward, dbias })).toEqual({ error: 0.25, array: "dbias" });
  });

  test("sees wrong statistics where a contestant gives them", () => {
    const mean = Float32Array.of(0, 11);
    expect(compare("training", { ...training, mean })).toEqual({ error: 0.1, array: "mean" });
  });

  test("is not passed by NaN, by a missing array or by one that is too short", () => {
    const y = Float32Array.from(training.y).fill(Number.NaN, 3, 4);
    expect(compare("training", { y }).error).toBeNaN();
    expect(() => compare("backward", training)).toThrow("no dx");
    expect(() => compare("training", { y: training.y.subarray(1) })).toThrow("7 elements");
  });

  test("compares the first and the last channel of tensors that are large", () => {
    const inputs = makeData({ shape: [2, 5, 3], axis: 1 });
    const { compare } = makeReference({ shape: [2, 5, 3], axis: 1 }, inputs, 18);
    const y = Float32Array.from(inputs.x, (x, i) => {
      const of = (vector: Float32Array) => vector[Math.floor(i / 3) % 5] as number;
      const std = Math.sqrt(of(inputs.variance) + inputs.eps);
      return ((x - of(inputs.mean)) / std) * of(inputs.weight) + of(inputs.bias);
    });
    expect(compare("inference", { y }).error).toBeLessThan(1e-6);
    const errors = Array.from(y, (_, i) => {
      const off = Float32Array.from(y).fill(1000, i, i + 1);
      return compare("inference", { y: off }).error > WRONG;
    });
    const seen = errors.flatMap((isSeen, i) => (isSeen ? [Math.floor(i / 3) % 5] : []));
    expect(seen).toEqual([0, 0, 0, 2, 2, 2, 4, 4, 4, 0, 0, 0, 2, 2, 2, 4, 4, 4]);
  });
});

// Without a type: JavaScript that is written as people write it, not for the checker.
const loops = ["naive-loop", "flat-loop"].map(
  (file) => `../../scripts/bench/contestants/${file}.mjs`,
);

describe.each(loops)("%s", (path) => {
  test.each([
    ["channels-first", [3, 5, 3, 3], 1],
    ["channels-first", [2, 3, 4, 4], 1],
    ["channels-last", [3, 3, 3, 5], 3],
    ["NC", [9, 4], 1],
  ] as const)("is right in %s %j", async (layout, shape, axis) => {
    const { default: contestant } = await import(path);
    const { prepare } = await contestant.start();
    const inputs = makeData({ shape, axis });
    const { compare } = makeReference({ shape, axis }, inputs);
    for (const op of [
      "inference",
      "inference-in-place",
      "training",
      "backward",
      "forward-backward",
    ] as const) {
      const prepared = await prepare({ op, layout, shape, axis, name: "test" }, inputs);
      prepared.run(1);
      expect(compare(op, await prepared.outputs()).error, op).toBeLessThan(1e-6);
    }
  });
});
