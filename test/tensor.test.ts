import { inspect } from "node:util";
import { createContext, runInContext } from "node:vm";
import {
  BatchNorm,
  batchNormInference,
  batchNormTraining,
  defaultKernel,
  Moments,
  Parameter,
  Tensor,
} from "batchnorm-wasm";
import { describe, expect, test, vi } from "vitest";
import { Allocation } from "../ts/core/allocation.js";
import { values } from "./call-helpers.js";

/** 0, 1, 2, … in a shape. */
function counting(...shape: number[]): Tensor {
  const size = shape.reduce((product, size) => product * size, 1);
  return Tensor.from(
    Array.from({ length: size }, (_, i) => i),
    shape,
  );
}

describe("making", () => {
  test("bytes are taken as they are: files' and a canvas's pixels", () => {
    for (const data of [Uint8Array.of(0, 7, 255), Uint8ClampedArray.of(0, 7, 255)]) {
      expect([...Tensor.from(data).toFloat32Array()]).toEqual([0, 7, 255]);
      const red = { data, shape: [2, 1], strides: [2, 1] };
      expect([...Moments.of(red, { axis: 1 }).mean]).toEqual([127.5]);
      expect([...Moments.of(red, { axis: 1, weights: data.subarray(0, 2) }).mean]).toEqual([255]);
    }
  });

  test("zeros has its shape and zeros", () => {
    const x = Tensor.zeros([2, 3]);
    expect(x).toMatchObject({ shape: [2, 3], strides: [3, 1], offset: 0, size: 6, extent: 6 });
    expect(x.contiguous).toBe(true);
    expect(x.disposed).toBe(false);
    expect(x.kernel).toBe(defaultKernel());
    expect(values(x)).toEqual([0, 0, 0, 0, 0, 0]);
  });

  test("from copies a Float32Array, a Uint8Array and numbers, rounded to float32", () => {
    const data = Float32Array.of(1.5, -2, Number.NaN, Number.POSITIVE_INFINITY);
    const x = Tensor.from(data);
    data[0] = 9;
    expect(values(x)).toEqual([1.5, -2, Number.NaN, Number.POSITIVE_INFINITY]);
    expect(values(Tensor.from(Uint8Array.of(0, 128, 255)))).toEqual([0, 128, 255]);
    const numbers = Tensor.from([0.1, 1e39, -0, 2 ** 24 + 1]);
    expect(values(numbers)).toEqual([Math.fround(0.1), Number.POSITIVE_INFINITY, -0, 2 ** 24]);
  });

  test("from takes a part of a buffer, and a frozen array", () => {
    const buffer = Float32Array.of(0, 1, 2, 3, 4).buffer;
    expect(values(Tensor.from(new Float32Array(buffer, 4, 3)))).toEqual([1, 2, 3]);
    expect(values(Tensor.from(new Uint8Array(buffer).subarray(6, 8)))).toEqual([128, 63]);
    expect(values(Tensor.from(Object.freeze([1, 2])))).toEqual([1, 2]);
    const shared = new Float32Array(new SharedArrayBuffer(8));
    shared.set([1, 2]);
    expect(values(Tensor.from(shared))).toEqual([1, 2]);
  });

  test("the default shape is one axis as long as the data", () => {
    expect(Tensor.from([1, 2, 3]).shape).toEqual([3]);
    expect(Tensor.from([]).shape).toEqual([0]);
    expect(Tensor.from(new Uint8Array(4), [2, 2]).shape).toEqual([2, 2]);
  });

  test("the shape is a copy of the one given", () => {
    const shape = [2, 3];
    const [x, y] = [Tensor.zeros(shape), Tensor.from(new Float32Array(6), shape)];
    const z = x.reshape(shape);
    shape[0] = 100;
    for (const tensor of [x, y, z]) expect(tensor.shape).toEqual([2, 3]);
  });

  test("addresses are multiples of 64 bytes, also of the smallest", () => {
    for (const size of [0, 1, 3, 17, 1000]) expect(Tensor.zeros([size]).address % 64).toBe(0);
  });
});

describe("sizes and ranks", () => {
  test("a 0 makes the size 0, whatever the other axes' sizes multiply to", () => {
    expect(Tensor.zeros([...new Array(40).fill(2 ** 30), 0]).size).toBe(0);
  });

  test("every rank from 1 to 7 has row-major strides and normalizes alike", () => {
    const shapes = [[12], [4, 3], [2, 3, 2], [2, 3, 2, 1], [1, 3, 2, 2, 1], [2, 3, 1, 1, 2, 1]];
    shapes.push([1, 3, 1, 2, 1, 2, 1]);
    for (const shape of shapes) {
      const x = counting(...shape);
      const strides = shape.map((_, axis) => shape.slice(axis + 1).reduce((a, b) => a * b, 1));
      expect(x.strides).toEqual(strides);
      expect(x.extent).toBe(12);
      const axis = Math.min(1, shape.length - 1);
      const channels = shape[axis] as number;
      const mean = Array.from({ length: channels }, (_, c) => c);
      const variance = new Array<number>(channels).fill(1);
      const y = batchNormInference(x, { axis, mean, variance, eps: 0 });
      const stride = strides[axis] as number;
      const expected = values(x).map((value, i) => value - (Math.floor(i / stride) % channels));
      expect(values(y)).toEqual(expected);
    }
  });

  test("a size of 0 is a tensor without elements, whatever the others", () => {
    for (const shape of [[0], [0, 5], [5, 0], [2, 0, 3], [0, 2 ** 30], [2 ** 30, 2 ** 30, 0]]) {
      const x = Tensor.zeros(shape);
      expect(x).toMatchObject({ shape, size: 0, extent: 0, contiguous: true });
      expect(x.data).toHaveLength(0);
      expect(values(x)).toEqual([]);
      // Along the axis of 0 there are no channels.
      const axis = shape.indexOf(0);
      expect(batchNormTraining(x, { axis }).y.shape).toEqual(shape);
    }
  });

  test("an empty slice is contiguous, wherever it was cut", () => {
    const x = counting(4, 2, 3);
    for (const empty of [x.slice(0, 2, 2), x.slice(2, 3), x.slice(2, 0, 1).slice(0, 0, 0)]) {
      expect(empty.size).toBe(0);
      expect(empty.data).toHaveLength(0);
      expect(values(empty)).toEqual([]);
      expect(empty.reshape([0, 7]).shape).toEqual([0, 7]);
    }
  });
});

describe("reshape", () => {
  test("views the same elements in another shape", () => {
    const x = counting(2, 6);
    const y = x.reshape([3, 4]);
    expect(y).toMatchObject({ shape: [3, 4], strides: [4, 1], size: 12 });
    y.data[5] = 100;
    expect(x.data[5]).toBe(100);
    expect(y.storage).toBe(x.storage);
  });

  test("works out one size of −1", () => {
    const x = counting(2, 6);
    expect(x.reshape([-1]).shape).toEqual([12]);
    expect(x.reshape([3, -1]).shape).toEqual([3, 4]);
    expect(x.reshape([-1, 1, 6]).shape).toEqual([2, 1, 6]);
    expect(x.reshape([2, -1, 6]).shape).toEqual([2, 1, 6]);
    expect(Tensor.zeros([0, 3]).reshape([-1, 3]).shape).toEqual([0, 3]);
    expect(Tensor.zeros([0, 3]).reshape([-1]).shape).toEqual([0]);
  });

  test("keeps the place of a contiguous slice", () => {
    const rows = counting(4, 3).slice(0, 1, 3).reshape([6]);
    expect(rows.offset).toBe(3);
    expect(values(rows)).toEqual([3, 4, 5, 6, 7, 8]);
  });

  test("takes a slice whose only long axis is contiguous", () => {
    const row = counting(4, 3).slice(0, 1, 2);
    expect(values(row.reshape([3]))).toEqual([3, 4, 5]);
    const one = counting(4, 3).slice(1, 2, 3).slice(0, 1, 2);
    expect([...one.reshape([1]).data]).toEqual([5]);
  });
});

describe("slice", () => {
  test("takes a range of any axis, as a view", () => {
    const x = counting(2, 3, 4);
    expect(values(x.slice(0, 1, 2))).toEqual([12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23]);
    expect(values(x.slice(1, 1, 2))).toEqual([4, 5, 6, 7, 16, 17, 18, 19]);
    const last = x.slice(2, 3, 4);
    expect(last).toMatchObject({ shape: [2, 3, 1], strides: [12, 4, 1], offset: 3, extent: 21 });
    expect(values(last)).toEqual([3, 7, 11, 15, 19, 23]);
    x.data[7] = 100;
    expect(values(last)).toEqual([3, 100, 11, 15, 19, 23]);
  });

  test("counts negative axes and indices from the end", () => {
    const x = counting(2, 3);
    expect(values(x.slice(-1, -1))).toEqual([2, 5]);
    expect(values(x.slice(-2, -1))).toEqual([3, 4, 5]);
    expect(values(x.slice(1, 0, -1))).toEqual([0, 1, 3, 4]);
    expect(values(x.slice(1, -2, -1))).toEqual([1, 4]);
    expect(values(x.slice(1, -3, 3))).toEqual(values(x));
  });

  test("goes to the end without one, and is empty where it ends before it starts", () => {
    const x = counting(2, 3);
    expect(x.slice(1, 1).shape).toEqual([2, 2]);
    expect(x.slice(1, 3).shape).toEqual([2, 0]);
    expect(x.slice(1, 2, 1).shape).toEqual([2, 0]);
  });

  test("composes: a slice of a slice of a slice is cut from the first", () => {
    const x = counting(4, 5, 6);
    const inner = x.slice(0, 1, 4).slice(1, 2, 5).slice(2, 3, 6).slice(0, 1, 2).slice(2, 0, 2);
    expect(inner.shape).toEqual([1, 3, 2]);
    expect(values(inner)).toEqual([75, 76, 81, 82, 87, 88]);
  });

  test("knows which slices are contiguous", () => {
    const x = counting(4, 3, 2);
    const contiguous = [x.slice(0, 1, 3), x.slice(0, 1, 2).slice(1, 1, 3), x.slice(1, 0, 3)];
    for (const view of contiguous) expect(view.contiguous).toBe(true);
    for (const view of [x.slice(1, 0, 2), x.slice(2, 0, 1)]) expect(view.contiguous).toBe(false);
  });
});

describe("reading", () => {
  test(".data is a view of kernel memory, of the tensor's elements alone", () => {
    const view = counting(4, 3).slice(0, 1, 3);
    expect(view.data.buffer).toBe(defaultKernel().memory.buffer);
    expect(view.data.byteOffset).toBe(view.address);
    expect([...view.data]).toEqual([3, 4, 5, 6, 7, 8]);
  });

  test("toFloat32Array copies, in row-major order, strided or not", () => {
    const x = counting(2, 3, 4);
    const copies = [x.toFloat32Array(), x.slice(2, 1, 3).toFloat32Array()];
    expect([...(copies[1] as Float32Array)]).toEqual([1, 2, 5, 6, 9, 10, 13, 14, 17, 18, 21, 22]);
    x.data.fill(0);
    for (const copy of copies) {
      expect(copy.some((value) => value > 0)).toBe(true);
      expect(copy.buffer).not.toBe(x.data.buffer);
      expect(copy.buffer.byteLength).toBe(copy.length * 4);
    }
  });

  test("toFloat32Array of strided views of every rank agrees with indexing", () => {
    for (const shape of [
      [6],
      [3, 4],
      [3, 2, 4],
      [2, 3, 2, 3],
      [2, 2, 3, 2, 2],
      [2, 1, 3, 1, 2, 3],
    ]) {
      const x = counting(...shape);
      const view = shape.reduce(
        (cut, size, axis) => (size > 1 ? cut.slice(axis, axis % 2, size - ((axis + 1) % 2)) : cut),
        x,
      );
      const expected: number[] = [];
      const visit = (axis: number, place: number) => {
        if (axis === shape.length) return expected.push(place);
        for (let i = 0; i < (view.shape[axis] as number); i++) {
          visit(axis + 1, place + i * (view.strides[axis] as number));
        }
        return 0;
      };
      visit(0, view.offset);
      expect(values(view)).toEqual(expected);
    }
  });
});

describe("as text", () => {
  test("toString tells the shape, and whether it was disposed", () => {
    const x = counting(4, 3);
    expect(`${x}`).toBe("Tensor([4, 3])");
    x.dispose();
    expect(`${x}`).toBe("Tensor([4, 3], disposed)");
    expect(`${new BatchNorm(3).weight}`).toBe("Parameter([3])");
    expect(`${new BatchNorm(3)}`).toBe("BatchNorm(3, eps=0.00001, momentum=0.1)");
    expect(`${new BatchNorm(null)}`).toContain("BatchNorm(?");
  });

  test("console.log shows the first elements, and … where there are more", () => {
    expect(inspect(counting(2, 2))).toBe("Tensor([2, 2]) { 0, 1, 2, 3 }");
    expect(inspect(counting(2, 4))).toBe("Tensor([2, 4]) { 0, 1, 2, 3, 4, 5, 6, 7 }");
    expect(inspect(counting(9))).toBe("Tensor([9]) { 0, 1, 2, 3, 4, 5, 6, 7, … }");
    expect(inspect(counting(4, 3).slice(1, 0, 1))).toBe("Tensor([4, 1]) { 0, 3, 6, 9 }");
    expect(inspect({ x: Tensor.from([0.1, Number.NaN]) })).toContain("{ 0.1, NaN }");
    expect(inspect(Tensor.zeros([0, 3]))).toMatch(/^Tensor\(\[0, 3\]\) \{\s*\}$/);
    const x = counting(3);
    x.dispose();
    expect(inspect(x)).toBe("Tensor([3], disposed)");
  });

  test("console.log doesn't hand the memory out", () => {
    // Else printing would turn a tensor into a leak: see the finalizers in memory.test.ts.
    const x = counting(3);
    const handOut = vi.spyOn(Allocation.prototype, "handOut");
    inspect(x);
    x.toFloat32Array();
    x.slice(0, 1);
    expect(handOut).toHaveBeenCalledTimes(0);
    expect(x.data).toHaveLength(3);
    expect(handOut).toHaveBeenCalledTimes(1);
    handOut.mockRestore();
  });
});

test("a parameter is a tensor, and its views are plain tensors", () => {
  const { weight } = new BatchNorm(4);
  expect(weight).toBeInstanceOf(Parameter);
  expect(weight).toBeInstanceOf(Tensor);
  expect(weight?.reshape([2, 2])).not.toBeInstanceOf(Parameter);
});

test("arrays and typed arrays of another realm are taken", () => {
  const context = createContext({});
  expect(values(Tensor.from(runInContext("[1, 2, 3]", context)))).toEqual([1, 2, 3]);
  // As in jsdom, a worker's vm or an iframe, whose Float32Array is another one.
  const foreign = runInContext("Float32Array.of(1, 2, 3)", context);
  expect(values(Tensor.from(foreign))).toEqual([1, 2, 3]);
});
