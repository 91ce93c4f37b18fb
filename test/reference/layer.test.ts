/** The references of layer and RMS norm and unit length: by hand, and by finite differences. */
import { describe, expect, it } from "vitest";
import { Random } from "../../scripts/random.mjs";
import { expectWithin } from "../helpers.js";
import { expectGradients } from "./differences.js";
import { layer, rms, rowsOf, unit } from "./layer.mjs";

describe("the reference of layer norm", () => {
  it("has the values of two rows by hand", () => {
    const rows = rowsOf([2, 2], [-1]);
    const [x, dy] = [
      [1, 3, 10, 30],
      [1, 2, 3, 5],
    ];
    const parameters = { weight: [1, 2], bias: [0, 1], eps: 0 };
    const own = layer.statistics(x, rows);
    expect([...own.mean, ...own.variance]).toEqual([2, 20, 1, 100]);
    expect([...layer.forward(x, rows, parameters)]).toEqual([-1, 3, -1, 3]);
    const { dx, dweight, dbias } = layer.backward(x, dy, rows, parameters);
    expect([...dweight, ...dbias]).toEqual([-4, 7, 4, 7]);
    // Of two values, what depends on their mean and their distance is all.
    expect([...dx]).toEqual([0, 0, 0, 0]);
  });

  it("numbers rows along any axes in the order of the others, and places in that of the axes", () => {
    const rows = rowsOf([2, 3, 2], [2, 0]);
    expect([...rows.sets.of]).toEqual([0, 0, 1, 1, 2, 2, 0, 0, 1, 1, 2, 2]);
    expect([...rows.channels.of]).toEqual([0, 1, 0, 1, 0, 1, 2, 3, 2, 3, 2, 3]);
    expect([rows.sets.number, rows.channels.number]).toEqual([3, 4]);
  });
});

it("the reference of RMS norm has the values of two rows by hand", () => {
  const rows = rowsOf([2, 2], [1]);
  const parameters = { weight: [1, 2], eps: 0 };
  const x = [3, 3, -5, 5];
  const own = rms.statistics(x, rows);
  expect([...own.mean, ...own.variance]).toEqual([0, 0, 9, 25]);
  expect([...rms.forward(x, rows, parameters)]).toEqual([1, 2, -1, 2]);
  const { dx, dweight } = rms.backward(x, [6, 3, 1, 1], rows, parameters);
  expect([...dweight]).toEqual([5, 4]);
  // γ·dy = 6, 6 is x̂'s direction, of which nothing depends.
  expect([dx[0], dx[1]]).toEqual([0, 0]);
});

describe("the reference of unit length", () => {
  const rows = rowsOf([2, 2], [1]);

  it("has the values of two rows by hand", () => {
    const x = [3, 4, 0, 0];
    expect([...unit.statistics(x, rows).variance]).toEqual([25, 0]);
    const eps = 0.5;
    expectWithin([...unit.forward(x, rows, { eps })], [0.6, 0.8, 0, 0], [1e-15, 1e-15, 0, 0], "y");
    // 3, 4 is x's direction, of which nothing depends; a short row is divided by a constant.
    const { dx } = unit.backward(x, [3, 4, 1, 2], rows, { eps });
    expectWithin([...dx], [0, 0, 2, 4], [1e-15, 1e-15, 0, 0], "dx");
  });

  it("is RMS norm's with γ/√m and without ε", () => {
    const random = new Random(8);
    const [x, dy] = [random.normals(4), random.normals(4)];
    const parameters = { weight: [Math.SQRT1_2, Math.SQRT1_2], eps: 0 };
    const bound = [1e-12, 1e-12, 1e-12, 1e-12];
    const y = rms.forward(x, rows, parameters);
    expectWithin([...unit.forward(x, rows, { eps: 1e-12 })], [...y], bound, "y");
    const { dx } = rms.backward(x, dy, rows, parameters);
    expectWithin([...unit.backward(x, dy, rows, { eps: 1e-12 }).dx], [...dx], bound, "dx");
  });
});

describe.each([
  ["layer norm", layer],
  ["RMS norm", rms],
])("the reference of %s", (_, reference) => {
  it.each([
    [[3, 6], [1]],
    [
      [2, 4, 5],
      [1, 2],
    ],
    [[2, 3, 2, 4], [1]],
    [[6], [0]],
    [
      [2, 4, 3],
      [0, 2],
    ],
  ])("has the gradients of finite differences, for %j along %j", (shape, axes) => {
    expectGradients(reference, rowsOf(shape, axes));
  });
});
