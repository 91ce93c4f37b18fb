/** A view's geometry, whoever made it: the last line before memory that is not its own. */
import { defaultKernel } from "batchnorm-wasm";
import { describe, expect, test } from "vitest";
import { Allocation } from "../ts/core/allocation.js";
import { portOf } from "../ts/core/kernel.js";
import { View } from "../ts/core/view.js";
import { Contents } from "../ts/generated/abi.js";

/** Twelve elements. */
const allocation = new Allocation(portOf(defaultKernel(), "test"), 48, Contents.Zero);

describe("a view", () => {
  test("that leaves its allocation is refused", () => {
    const leaving: [shape: number[], strides: number[] | undefined, offset: number][] = [
      [[13], undefined, 0],
      [[1, 13], undefined, 0],
      [[800], [1], 0],
      [[12], undefined, 1],
      [[3, 4], [5, 1], 0],
      [[3, 4], [4, 1], 1],
      [[2], [12], 0],
      [[1], [1], 12],
      [[0], [1], 13],
      [[1], [1], -1],
      [[4], [-1], 3],
      [[2], [1], 0.5],
      [[2], [1.5], 0],
      [[2], [1], Number.NaN],
      [[2], [Number.NaN], 0],
      [[2], [2 ** 53], 0],
      [[2], ["1" as never], 0],
      [[Number.NaN], [1], 0],
      [[2 ** 30, 2 ** 30], undefined, 0],
    ];
    for (const [shape, strides, offset] of leaving) {
      expect(() => new View(allocation, shape, strides, offset), `${shape}; ${strides}`).toThrow(
        expect.objectContaining({ code: "invalid-shape" }),
      );
    }
  });

  test("whose elements lie in each other's place is refused", () => {
    for (const [shape, strides] of [
      [
        [3, 4],
        [0, 1],
      ],
      [[2], [0]],
      [
        [3, 4],
        [3, 1],
      ],
      [
        [4, 3],
        [1, 4],
      ],
      [
        [2, 2, 2],
        [4, 1, 1],
      ],
    ] as const) {
      expect(() => new View(allocation, [...shape], [...strides]), `${shape}; ${strides}`).toThrow(
        expect.objectContaining({ code: "invalid-shape" }),
      );
    }
  });

  test("that ends with its allocation is one, and so is an empty one, however its sizes overflow", () => {
    expect(new View(allocation, [3, 4])).toMatchObject({ size: 12, extent: 12, contiguous: true });
    expect(new View(allocation, [3, 2], [4, 1], 2)).toMatchObject({
      extent: 10,
      contiguous: false,
    });
    expect(new View(allocation, [2], [11])).toMatchObject({ extent: 12, contiguous: false });
    expect(new View(allocation, [1, 1], [99, 1], 11)).toMatchObject({
      extent: 1,
      contiguous: true,
    });
    const empty = new View(allocation, [2 ** 30, 2 ** 30, 0], undefined, 12);
    expect(empty).toMatchObject({ size: 0, extent: 0, contiguous: true });
    expect(empty.elements).toHaveLength(0);
  });
});
