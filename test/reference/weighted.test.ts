/** The reference of weighted statistics: by hand, by repeated elements and by finite differences. */
import { describe, expect, it } from "vitest";
import { Random } from "../../scripts/random.mjs";
import { expectWithin } from "../helpers.js";
import * as batch from "./batch.mjs";
import { expectGradients } from "./differences.js";
import * as reference from "./weighted.mjs";

describe("the reference of weighted batch norm", () => {
  it("has the values of four elements by hand", () => {
    const one = reference.weighted([4, 1], 1, [1, 2, 0, 1]);
    const x = [1, 3, Number.NaN, 9];
    // μ = (1 + 6 + 9)/4; σ² = (9 + 2 + 25)/4, and 1/√(9 + 7) = 1/4.
    const own = reference.statistics(x, one);
    expect([one.total, ...own.mean, ...own.variance]).toEqual([4, 4, 9]);
    const parameters = { weight: [4], bias: [1], eps: 7 };
    const y = reference.forward(x, one, parameters);
    expect([...y]).toEqual([-2, 0, Number.NaN, 6]);
    const { dx, dweight, dbias } = reference.backward([1, 3, 4, 9], [4, 0, 8, 4], one, parameters);
    // x̂ = −3/4, −1/4, 0, 5/4
    expect([...dweight, ...dbias]).toEqual([2, 16]);
    expect([...dx]).toEqual([4 - 14.5 / 4, -15.5 / 2, 8, 4 - 18.5 / 4]);
  });

  it("broadcasts weights as NumPy does, from the last axis on", () => {
    const of = (shape: number[], axis: number, weights: number[], over?: number[]) => [
      ...reference.weighted(shape, axis, weights, over).weights,
    ];
    expect(of([2, 1, 3], 1, [1, 2, 3], [3])).toEqual([1, 2, 3, 1, 2, 3]);
    expect(of([2, 2, 2], 1, [1, 2], [2, 1])).toEqual([1, 1, 1, 1, 2, 2, 2, 2]);
    expect(of([2, 2, 2], 0, [1, 2, 3, 4])).toEqual([1, 2, 3, 4, 1, 2, 3, 4]);
    expect(of([2, 2, 2], -1, [5], [1])).toEqual(new Array(8).fill(5));
  });

  it("is plain batch norm of elements that are repeated as their weights say", () => {
    const random = new Random(6);
    const weights = [2, 0, 1, 3, 1, 0, 4];
    const x = Float64Array.from(random.normals(14));
    const own = reference.statistics(x, reference.weighted([7, 2], 1, weights));
    const rows = weights.flatMap((times, row) => new Array<number>(times).fill(row));
    const often = rows.flatMap((row) => [x[2 * row], x[2 * row + 1]]) as number[];
    const plain = batch.statistics(often, batch.channelsOf([rows.length, 2], 1));
    for (const name of ["mean", "variance"] as const) {
      expectWithin(own[name], plain[name], [1e-15, 1e-15], name);
    }
  });

  it.each([
    [[5, 3], 1],
    [[4, 3, 5], 1],
    [[2, 3, 4, 2], -1],
    [[3, 6], 0],
  ])("has the gradients of finite differences, for %j along %i", (shape, axis) => {
    const along = axis < 0 ? axis + shape.length : axis;
    const count = shape.reduce((a, b) => a * b, 1) / (shape[along] as number);
    const random = new Random(8);
    const weights = Array.from({ length: count }, () => Math.max(0, random.uniform() * 3 - 0.7));
    expectGradients(reference, reference.weighted(shape, axis, weights));
  });

  it("moves running variances by W/(W − 1) of the batch's where W is above 1", () => {
    const running = { mean: Float64Array.of(1), variance: Float64Array.of(2) };
    const own = { mean: Float64Array.of(5), variance: Float64Array.of(6) };
    const moved = (weights: number[]) =>
      reference.moved(running, own, reference.weighted([2, 1], 1, weights), 0.5, "unbiased");
    expect(moved([1, 3]).variance[0]).toBe(5);
    expect(moved([1, 0]).variance[0]).toBe(4);
    expect(moved([0.25, 0.5]).variance[0]).toBe(4);
    expect(moved([1, 3]).mean[0]).toBe(3);
  });
});
