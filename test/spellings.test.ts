import {
  BatchNorm,
  BatchNorm1d,
  BatchNorm2d,
  BatchNorm3d,
  BatchNormalization,
  type BatchNormNdOptions,
  type Parameter,
  Tensor,
} from "batchnorm-wasm";
import { describe, expect, test } from "vitest";
import { expectWithin, U } from "./helpers.js";

/** 1 × 4, 2 × 4, … in a shape: two values or more of each channel. */
function filled(shape: number[]): Tensor {
  const size = shape.reduce((product, size) => product * size, 1);
  return Tensor.from(
    Array.from({ length: size }, (_, i) => (i * 7) % 11),
    shape,
  );
}

describe("PyTorch's layers", () => {
  const layers: [
    name: string,
    new (n: number, o?: BatchNormNdOptions) => BatchNorm,
    ranks: number[],
  ][] = [
    ["BatchNorm1d", BatchNorm1d, [2, 3]],
    ["BatchNorm2d", BatchNorm2d, [4]],
    ["BatchNorm3d", BatchNorm3d, [5]],
  ];
  const shapes = [[3], [4, 3], [2, 3, 4], [2, 3, 2, 2], [2, 3, 2, 2, 1], [2, 3, 1, 2, 1, 1]];

  for (const [name, Layer, ranks] of layers) {
    test(`${name} has PyTorch's defaults and names`, () => {
      const bn = new Layer(3);
      expect(bn).toBeInstanceOf(BatchNorm);
      expect(bn).toMatchObject({
        numFeatures: 3,
        eps: 1e-5,
        momentum: 0.1,
        axis: 1,
        runningVariance: "unbiased",
        trackRunningStats: true,
        training: true,
      });
      expect(bn.stateDict()).toEqual(new BatchNorm(3, { preset: "torch" }).stateDict());
      expect(`${bn}`).toContain(`${name}(3`);
    });

    test(`${name} takes rank ${ranks.join(" and ")} and refuses the others by its name`, () => {
      const bn = new Layer(3);
      for (const shape of shapes) {
        const x = filled(shape);
        for (const training of [true, false]) {
          if (ranks.includes(shape.length)) {
            expect(bn.forward(x, { training }).shape).toEqual(shape);
            expect(bn.backward(x).shape).toEqual(shape);
          } else {
            const before = bn.stateDict();
            const error = { code: "shape-mismatch", message: expect.stringContaining(name) };
            const call = () => bn.forward(x, { training });
            expect(call).toThrow(expect.objectContaining(error));
            expect(bn.stateDict()).toEqual(before);
          }
        }
      }
    });

    test(`${name} computes as BatchNorm does`, () => {
      for (const rank of ranks) {
        const x = filled(shapes[rank - 1] as number[]);
        const [bn, same] = [new Layer(3), new BatchNorm(3)];
        expect(bn.forward(x).toFloat32Array()).toEqual(same.forward(x).toFloat32Array());
        expect(bn.backward(x).toFloat32Array()).toEqual(same.backward(x).toFloat32Array());
        expect(bn.stateDict()).toEqual(same.stateDict());
      }
    });

    test(`${name} takes PyTorch's options, and no others`, () => {
      const bn = new Layer(3, {
        eps: 1e-3,
        momentum: null,
        affine: false,
        trackRunningStats: false,
      });
      expect(bn).toMatchObject({ eps: 1e-3, momentum: null, trackRunningStats: false });
      expect([bn.weight, bn.runningMean]).toEqual([null, null]);
      for (const option of ["preset", "axis", "scale", "statistics"]) {
        const make = () => new Layer(3, { [option]: undefined } as BatchNormNdOptions);
        const message = expect.stringMatching(new RegExp(`${name}.*"${option}"`));
        expect(make).toThrow(expect.objectContaining({ code: "unknown-option", message }));
      }
    });

    test(`${name} refuses one value per channel in training, and takes it in evaluation`, () => {
      const shape = [1, 3, ...new Array<number>((ranks[0] as number) - 2).fill(1)];
      const bn = new Layer(3);
      const call = () => bn.forward(Tensor.zeros(shape));
      expect(call).toThrow(expect.objectContaining({ code: "batch-too-small" }));
      expect(bn.eval().forward(Tensor.zeros(shape)).shape).toEqual(shape);
    });
  }
});

describe("BatchNormalization", () => {
  const x = filled([4, 2, 3]);

  test("has Keras's defaults", () => {
    const bn = new BatchNormalization();
    expect(bn).toBeInstanceOf(BatchNorm);
    expect(bn).toMatchObject({
      numFeatures: null,
      eps: 1e-3,
      momentum: 0.99,
      axis: -1,
      runningVariance: "biased",
      trainable: true,
      training: false,
    });
  });

  test("takes Keras's options", () => {
    const bn = new BatchNormalization({ axis: 1, momentum: 0.5, epsilon: 0.1 });
    expect(bn).toMatchObject({ axis: 1, momentum: 0.5, eps: 0.1 });
    bn.forward(x);
    expect(bn.numFeatures).toBe(2);
    for (const [options, gamma, beta] of [
      [{ center: false }, true, false],
      [{ scale: false }, false, true],
      [{ center: false, scale: false }, false, false],
    ] as const) {
      const layer = new BatchNormalization(options);
      layer.forward(x);
      expect([layer.gamma !== null, layer.beta !== null]).toEqual([gamma, beta]);
    }
  });

  test("learns its feature count from the first input, along its axis", () => {
    const bn = new BatchNormalization();
    expect([bn.gamma, bn.beta, bn.movingMean, bn.movingVariance]).toEqual([null, null, null, null]);
    bn.forward(x);
    expect(bn.numFeatures).toBe(3);
    expect(bn.gamma?.shape).toEqual([3]);
    const other = () => bn.forward(filled([4, 2]));
    expect(other).toThrow(expect.objectContaining({ code: "shape-mismatch" }));
  });

  test("has Keras's names for the same tensors, and in its state dict", () => {
    const bn = new BatchNormalization();
    bn.forward(x);
    expect(bn.gamma).toBe(bn.weight as Parameter);
    expect(bn.beta).toBe(bn.bias as Parameter);
    expect(bn.movingMean).toBe(bn.runningMean as Tensor);
    expect(bn.movingVariance).toBe(bn.runningVar as Tensor);
    expect(Object.keys(bn.stateDict())).toEqual([
      "gamma",
      "beta",
      "moving_mean",
      "moving_variance",
    ]);
  });

  test("computes as BatchNorm with the keras preset does", () => {
    const [bn, same] = [new BatchNormalization(), new BatchNorm(3, { preset: "keras" })];
    for (const training of [true, true, false]) {
      const y = bn.forward(x, { training });
      expect(y.toFloat32Array()).toEqual(same.forward(x, { training }).toFloat32Array());
      expect(bn.backward(x).toFloat32Array()).toEqual(same.backward(x).toFloat32Array());
    }
    expect(bn.stateDict()).toEqual(same.stateDict());
  });

  test("normalizes a batch of one", () => {
    expect([...new BatchNormalization().train().forward(filled([1, 3])).data]).toEqual([0, 0, 0]);
  });

  test("with trainable = false runs in inference in both modes, and changes nothing", () => {
    for (const set of [
      () => new BatchNormalization({ trainable: false }),
      () => Object.assign(new BatchNormalization(), { trainable: false }),
    ]) {
      const bn = set();
      expect(bn.trainable).toBe(false);
      const training = bn.train().forward(x).toFloat32Array();
      const before = bn.stateDict();
      const dx = bn.backward(x).toFloat32Array();
      expect(bn.gamma?.grad).toBeNull();
      expect(bn.beta?.grad).toBeNull();
      expect(bn.eval().forward(x).toFloat32Array()).toEqual(training);
      expect(bn.stateDict()).toEqual(before);
      // γ/√(1 + ε) with running mean 0 and variance 1, which is rounded, and its product with x.
      const scaled = Array.from(x.data, (value) => value / Math.sqrt(1 + 1e-3));
      const bounds = scaled.map((value) => 2 * U * value);
      for (const result of [training, dx]) expectWithin(result, scaled, bounds, "x scaled");
    }
  });

  test("with trainable = true again trains again", () => {
    const bn = new BatchNormalization({ trainable: false });
    bn.forward(x);
    const before = bn.stateDict();
    bn.trainable = true;
    bn.train().forward(x);
    bn.backward(x);
    expect(bn.stateDict()).not.toEqual(before);
    expect(bn.gamma?.grad).not.toBeNull();
  });
});
