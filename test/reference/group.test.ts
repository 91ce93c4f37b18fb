/** The reference of group norm: by hand, and by finite differences. */
import { describe, expect, it } from "vitest";
import { expectGradients } from "./differences.js";
import * as reference from "./group.mjs";

describe("the reference of group norm", () => {
  it("has the values of two samples in two groups by hand", () => {
    // [2, 4]: each pair is a set, and its x̂ is ∓1.
    const groups = reference.groupsOf([2, 4], 1, 2);
    const x = [1, 3, 10, 30, 5, 4, 0, 2];
    const parameters = { weight: [1, 2, 3, 4], bias: [0, 0, 1, 1], eps: 0 };
    const own = reference.statistics(x, groups);
    expect([...own.mean]).toEqual([2, 20, 4.5, 1]);
    expect([...own.variance]).toEqual([1, 100, 0.25, 1]);
    expect([...reference.forward(x, groups, parameters)]).toEqual([-1, 2, -2, 5, 1, -2, -2, 5]);
    const dy = [1, 1, 1, 1, 1, 2, 3, 4];
    const { dx, dweight, dbias } = reference.backward(x, dy, groups, parameters);
    expect([...dweight]).toEqual([0, -1, -4, 5]);
    expect([...dbias]).toEqual([2, 3, 4, 5]);
    // Of two values, what depends on their mean and their distance is all.
    expect([...dx]).toEqual(new Array(8).fill(0));
  });

  it.each([
    [[3, 6], 1, 2],
    [[2, 4, 5], 1, 2],
    [[2, 3, 2, 4], -1, 4],
    [[6, 5], 0, 3],
    [[2, 4, 3], 1, 1],
  ])(
    "has the gradients of finite differences, for %j along %i in %i groups",
    (shape, axis, number) => {
      expectGradients(reference, reference.groupsOf(shape, axis, number));
    },
  );
});
