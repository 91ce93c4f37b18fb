/**
 * Silent wrong numbers that users met, each with the right ones. Through the public API
 * alone, so that the file can be run against what came before.
 */
import { runInNewContext } from "node:vm";
import {
  BatchNorm,
  BatchNormalization,
  type BatchNormErrorCode,
  type BatchNormSaved,
  batchNormBackward,
  batchNormInference,
  batchNormStatistics,
  batchNormTraining,
  createKernel,
  memoryUsage,
  type PlainTensor,
  Tensor,
} from "batchnorm-wasm";
import { describe, expect, test } from "vitest";
import { counting, expectError, kernelBytes, loaded, values, wrong } from "./call-helpers.js";
import { expectWithin, type Truth, truthOfInference, truthOfTraining, U } from "./helpers.js";
import { channelsOf } from "./reference/batch.mjs";

function expectY(got: ArrayLike<number>, { y, bounds }: Truth) {
  expectWithin(got, y, bounds.y, "y");
}

describe("Keras's layer", () => {
  const dict = { gamma: [1, 1], beta: [0, 0], moving_mean: [10, 20], moving_variance: [4, 9] };
  const x = { data: [12, 23, 20, 40], shape: [2, 2] };
  const moving = { mean: Float64Array.of(10, 20), variance: Float64Array.of(4, 9) };
  const columns = channelsOf(x.shape, 1);
  const inferred = truthOfInference(x.data, x.data, columns, moving, { eps: 1e-3 });
  const trained = truthOfTraining(x.data, x.data, columns, { eps: 1e-3 });

  test("infers unless told otherwise, and leaves the averages where they are", () => {
    const keras = loaded(new BatchNormalization(), dict);
    const same = loaded(new BatchNorm(2, { preset: "keras" }), dict);
    const onnx = loaded(new BatchNorm(2, { preset: "onnx", eps: 1e-3 }), {
      ...{ scale: [1, 1], B: [0, 0], input_mean: [10, 20], input_var: [4, 9] },
    });
    for (const bn of [keras, same, onnx]) {
      expectY(bn.forward(x).data, inferred);
      expect(values(bn.runningMean as Tensor)).toEqual([10, 20]);
      expect(values(bn.runningVar as Tensor)).toEqual([4, 9]);
    }
    expectY(keras.forward(x, { training: true }).data, trained);
    // The batch's are 16 and 31.5 to the bit: one rounding is left.
    const means = [0.99 * 10 + 0.01 * 16, 0.99 * 20 + 0.01 * 31.5];
    const rounding = means.map((mean) => U * mean);
    expectWithin(keras.movingMean?.data ?? [], means, rounding, "moving mean");
  });
});

describe("backward through given statistics", () => {
  test("refuses a gradient over them, also shifted, and is right beside them", () => {
    const data = Array.from({ length: 12 }, (_, i) => i * i - 5);
    const gradient = data.map((value, i) => value - 3 * i);
    const dy = Tensor.from(gradient, [3, 4]);
    const whole = counting([16]);
    const [mean, variance] = [whole.slice(0, 4, 8), whole.slice(0, 8, 12)];
    const x = Tensor.from(data, [3, 4]);
    const { saved } = batchNormInference(x, { mean, variance, weight: [1, 1, 1, 1], saved: true });
    for (const [from, to] of [
      [3, 7],
      [4, 8],
      [5, 9],
      [7, 11],
      [9, 13],
    ] as const) {
      const shared = whole.slice(0, from, to);
      for (const options of [{ weightGrad: shared }, { biasGrad: shared }]) {
        expectError("overlap", ["overlaps"], () => batchNormBackward(dy, { saved, ...options }));
      }
    }
    const out = whole.slice(0, 2, 14).reshape([3, 4]);
    expectError("overlap", ["out overlaps"], () => batchNormBackward(dy, { saved, out }));
    const { weightGrad, biasGrad } = batchNormBackward(dy, { saved });
    const given = { mean: Float64Array.of(5, 6, 7, 8), variance: Float64Array.of(9, 10, 11, 12) };
    const channels = channelsOf([3, 4], 1);
    const want = truthOfInference(data, gradient, channels, given, { eps: 1e-5 });
    const { dweight, dbias } = want.gradients;
    expectWithin((weightGrad as Tensor).data, dweight, want.bounds.dweight, "dγ");
    expect(values(biasGrad as Tensor)).toEqual([...dbias]);
    expect(values(whole)).toEqual(values(counting([16])));
  });
});

describe("a bias without a weight", () => {
  test("gets its gradient from the functions, as from the layer", () => {
    const [x, dy] = [counting([4, 2]), Tensor.from([1, 2, 3, 4, 5, 6, 7, 9], [4, 2])];
    const bias = [3, 5];
    const given = { mean: [0, 0], variance: [1, 1] };
    for (const { saved } of [
      batchNormTraining(x, { bias }),
      batchNormInference(x, { bias, ...given, saved: true }),
    ]) {
      const { weightGrad, biasGrad } = batchNormBackward(dy, { saved });
      expect(weightGrad).toBeNull();
      expect(values(biasGrad as Tensor)).toEqual([16, 21]);
      expect(batchNormBackward(dy, { saved, biasGrad: null }).biasGrad).toBeNull();
    }
    const { saved } = batchNormTraining(x);
    expect(batchNormBackward(dy, { saved })).toMatchObject({ weightGrad: null, biasGrad: null });
  });
});

describe("a write between forward and backward", () => {
  const data = [1, 2, 3, 5, 4, 9, 8, 1];
  const gradient = [1, 0, 0, 1, 0, 2, 1, 0];
  const dy = () => Tensor.from(gradient, [4, 2]);

  test("to γ changes no gradient of the functions either", () => {
    const weight = Tensor.from([1, 1]);
    const x = Tensor.from(data, [4, 2]);
    const { saved } = batchNormTraining(x, { weight });
    weight.set([0.5, 0.5]);
    const { gradients, bounds } = truthOfTraining(data, gradient, channelsOf([4, 2], 1), {
      eps: 1e-5,
    });
    const first = values(batchNormBackward(dy(), { saved }).dx);
    expectWithin(first, gradients.dx, bounds.dx, "dx");
    weight.data.fill(7);
    expect(values(batchNormBackward(dy(), { saved }).dx)).toEqual(first);
    weight.dispose();
    expect(values(batchNormBackward(dy(), { saved }).dx)).toEqual(first);
    expect([...(saved.weight as Float64Array)]).toEqual([1, 1]);
  });

  test("to x by set is an error, to a part of it and by a view too, and beside it is none", () => {
    const writes: ((x: Tensor) => unknown)[] = [
      (x) => x.set(data),
      (x) => x.set([1], 7),
      (x) => x.slice(1, 1).set([5]),
      (x) => x.reshape([8]).slice(0, 3, 4).set([5]),
    ];
    for (const write of writes) {
      const whole = Tensor.zeros([5, 2]);
      const x = whole.slice(0, 0, 4).set(data);
      const bn = new BatchNorm(2);
      bn.forward(x);
      whole.slice(0, 4).set([1, 2]);
      expect(bn.backward(dy()).size).toBe(8);
      write(x);
      const gradient = dy();
      expectError("stale", ["x was overwritten"], () => bn.backward(gradient));
    }
  });
});

describe("set", () => {
  test("takes numbers of every kind, rounded to float32", () => {
    const kinds = [Int8Array, Uint8Array, Uint8ClampedArray, Int16Array, Uint16Array, Int32Array];
    for (const Kind of [...kinds, Uint32Array, Float32Array, Float64Array]) {
      expect(values(Tensor.zeros([3]).set(Kind.of(1, 2, 100)))).toEqual([1, 2, 100]);
    }
    const numbers = [0.1, 1e39, -0, Number.NaN];
    const rounded = [Math.fround(0.1), Number.POSITIVE_INFINITY, -0, Number.NaN];
    for (const source of [numbers, Float64Array.from(numbers), Object.freeze([...numbers])]) {
      expect(values(Tensor.zeros([4]).set(source))).toEqual(rounded);
    }
    expect(values(Tensor.zeros([2]).set(runInNewContext("Float64Array.of(3, 4)")))).toEqual([3, 4]);
    const x = Tensor.zeros([1]);
    expect(x.set([2])).toBe(x);
  });

  test("writes strided views in row-major order, from an offset on, and nothing else", () => {
    const whole = Tensor.zeros([3, 4]);
    const view = whole.slice(1, 1, 3);
    view.set(Float64Array.of(7, 8, 9), 2);
    expect(values(whole)).toEqual([0, 0, 0, 0, 0, 7, 8, 0, 0, 9, 0, 0]);
    view.set([1, 2]);
    expect(values(view)).toEqual([1, 2, 7, 8, 9, 0]);
    const middle = Tensor.zeros([4, 3]).slice(0, 1, 3);
    middle.set([5, 6], 4);
    expect(values(middle)).toEqual([0, 0, 0, 0, 5, 6]);
    view.set([], 6);
    expect(values(whole).filter((value) => value > 0)).toHaveLength(5);
  });

  test("takes a tensor: strided, of another kernel, and itself overlapping", () => {
    const x = counting([3, 4]);
    const kernel = createKernel(kernelBytes);
    const far = Tensor.zeros([6], { kernel });
    far.set(x.slice(1, 1, 3));
    expect(values(far)).toEqual([2, 3, 6, 7, 10, 11]);
    x.slice(1, 0, 2).set(far);
    expect(values(x)).toEqual([2, 3, 3, 4, 6, 7, 7, 8, 10, 11, 11, 12]);
    for (const source of [
      (x: Tensor) => x.slice(0, 0, 5),
      (x: Tensor) => x.data.subarray(0, 5),
      (x: Tensor) => [...x.data.subarray(0, 5)],
    ]) {
      const moved = counting([6]);
      moved.set(source(moved), 1);
      expect(values(moved)).toEqual([1, 1, 2, 3, 4, 5]);
      const back = counting([6]);
      back.slice(0, 0, 5).set(back.slice(0, 1));
      expect(values(back)).toEqual([2, 3, 4, 5, 6, 6]);
    }
    const rows = counting([2, 2]);
    expect(values(rows.set(rows.slice(1, 1), 2))).toEqual([1, 2, 2, 4]);
  });

  test("reaches kernel memory after it grew, where a kept view does not", () => {
    const kernel = createKernel(kernelBytes);
    const x = Tensor.zeros([2], { kernel });
    const kept = x.data;
    kernel.memory.grow(1);
    expect(kept).toHaveLength(0);
    expect(values(x.set([1, 2]))).toEqual([1, 2]);
    expectError("dtype", ["detached"], () => x.set(kept));
  });

  test("refuses what does not fit or is no number, and writes nothing then", () => {
    const x = counting([2, 2]);
    const gone = counting([2]);
    gone.dispose();
    const { version } = x.storage;
    const refused: [BatchNormErrorCode, unknown, unknown?][] = [
      ["shape-mismatch", [1, 2, 3, 4, 5]],
      ["shape-mismatch", [1, 2], 3],
      ["shape-mismatch", [], 5],
      ["shape-mismatch", counting([5])],
      ["invalid-option", [1], -1],
      ["invalid-option", [1], 0.5],
      ["invalid-option", [1], Number.NaN],
      ["invalid-option", [1], "1"],
      ["invalid-option", [1], 1n],
      ["dtype", [9, "2"]],
      ["dtype", [9, 1n]],
      ["dtype", [[9, 2]]],
      ["dtype", new Array(2)],
      ["dtype", BigInt64Array.of(9n)],
      ["dtype", new DataView(new ArrayBuffer(4))],
      ["dtype", new ArrayBuffer(4)],
      ["dtype", { length: 1, 0: 9 }],
      ["dtype", new Set([9])],
      ["dtype", "9"],
      ["dtype", 9],
      ["dtype", undefined],
      ["disposed", gone],
    ];
    for (const [code, source, offset] of refused) {
      expectError(code, ["set"], () => x.set(wrong(source), wrong(offset)));
    }
    expectError("disposed", ["set"], () => gone.set([1]));
    expect(values(x)).toEqual([1, 2, 3, 4]);
    expect(x.storage.version).toBe(version);
  });
});

describe("{ data, shape } that says how its elements lie", () => {
  const columns = [1, 2, 3, 10, 20, 60];
  const rows = [1, 10, 2, 20, 3, 60];
  const right = truthOfTraining(rows, rows, channelsOf([3, 2], 1), { eps: 1e-5 });
  /** [[1, 10], [2, 20], [3, 60]], each in its own way. */
  const layouts: Record<string, object> = {
    "ndarray's stride": { data: columns, shape: [3, 2], stride: [1, 3] },
    strides: { data: Float32Array.from(columns), shape: [3, 2], strides: [1, 3] },
    "npyjs's fortranOrder": { data: columns, shape: [3, 2], fortranOrder: true },
    "an offset and a stride": {
      ...{ data: [9, 9, 1, 10, 2, 20, 3, 60], shape: [3, 2], offset: 2, stride: [2, 1] },
    },
    "an offset alone": { data: [9, 9, 1, 10, 2, 20, 3, 60], shape: [3, 2], offset: 2 },
    "a negative stride": { data: [3, 2, 1, 60, 20, 10], shape: [3, 2], stride: [-1, 3], offset: 2 },
    "two negative strides": {
      ...{ data: Uint8Array.of(60, 20, 10, 3, 2, 1), shape: [3, 2] },
      ...{ strides: [-1, -3], offset: 5 },
    },
    "an offset and fortranOrder": {
      ...{ data: [0, ...columns], shape: [3, 2], offset: 1, fortranOrder: true },
    },
    "gaps between": { data: [1, 0, 10, 0, 2, 0, 20, 0, 3, 0, 60], shape: [3, 2], stride: [4, 2] },
  };

  for (const [name, layout] of Object.entries(layouts)) {
    test(`is walked so, by every function and both ways of the layer: ${name}`, () => {
      const plain = wrong(layout) as PlainTensor;
      expectY(new BatchNorm(2).forward(plain).data, right);
      const { y, saved } = batchNormTraining(plain);
      expectY(y.data, right);
      expect(values(saved.x)).toEqual(rows);
      const given = { mean: [0, 0], variance: [1, 1], eps: 0 };
      expect([...batchNormInference(plain, given).data]).toEqual(rows);
      expect([...batchNormStatistics(plain).mean]).toEqual([2, 30]);
      const bn = new BatchNorm(2);
      bn.forward({ data: rows, shape: [3, 2] });
      const dx = [...bn.backward({ data: rows, shape: [3, 2] }).data];
      expect([...bn.backward(plain).data]).toEqual(dx);
      expect([...batchNormBackward(plain, { saved }).dx.data]).toEqual(dx);
    });
  }

  test("is refused where it leaves its data, and nothing is left behind", () => {
    const before = memoryUsage().liveStorages;
    for (const layout of [
      { stride: [2, 3] },
      { stride: [1, 4] },
      { stride: [-1, 3] },
      { offset: 1 },
      { offset: -1 },
      { stride: [1, 3], offset: 1 },
      { stride: [0.5, 3] },
      { stride: [3] },
      { stride: 1 },
      { strides: "13" },
      { fortranOrder: true, offset: 3 },
    ]) {
      const plain = wrong({ data: columns, shape: [3, 2], ...layout });
      expectError("invalid-shape", ["x"], () => new BatchNorm(null).forward(plain));
    }
    expect(memoryUsage().liveStorages).toBe(before);
    const empty = { data: [], shape: [0, 2], stride: [1, 3] };
    expect(new BatchNorm(2).forward(empty).data).toHaveLength(0);
  });
});

describe("a negative variance", () => {
  test("is refused as an argument, and by a layer that holds one, before anything is written", () => {
    const x = counting([3, 2]);
    const before = memoryUsage().liveStorages;
    for (const value of [-9e-6, -1, Number.NEGATIVE_INFINITY]) {
      const variance = [1, value];
      const call = () => batchNormInference(x, { mean: [0, 0], variance });
      expectError("invalid-option", ["variance", "negative"], call);
      const plain = { data: values(x), shape: [3, 2] };
      expectError("invalid-option", ["negative"], () =>
        batchNormInference(plain, { mean: [0, 0], variance, eps: 2, saved: true }),
      );
    }
    expect(memoryUsage().liveStorages).toBe(before);
    const out = counting([3, 2]);
    const frozen = new BatchNorm(2, { statistics: "running", updateRunningStats: true });
    for (const bn of [new BatchNorm(2).eval(), frozen]) {
      (bn.runningVar as Tensor).set([1, -9e-6]);
      expectError("invalid-option", ["negative"], () => bn.forward(x, { out }));
      expect(values(out)).toEqual(values(x));
      expect(values(bn.runningMean as Tensor)).toEqual([0, 0]);
      expect([bn.numBatchesTracked, bn.saved]).toEqual([0, null]);
    }
    const zero = batchNormInference(x, { mean: [1, 2], variance: [0, -0], eps: 1 });
    expect(values(zero)).toEqual([0, 0, 2, 2, 4, 4]);
  });
});

describe("an empty batch in a record that is used again", () => {
  test("leaves statistics of zero there, of layers and functions", () => {
    const { saved } = batchNormTraining(counting([4, 2]));
    batchNormTraining(Tensor.zeros([0, 2]), { saved });
    expect([...saved.mean, ...saved.variance]).toEqual([0, 0, 0, 0]);
    const bn = new BatchNorm(2);
    bn.forward(counting([4, 2]));
    bn.forward(Tensor.zeros([0, 2]));
    const { mean, variance } = bn.saved as BatchNormSaved;
    expect([...mean, ...variance]).toEqual([0, 0, 0, 0]);
  });
});
