/** Statistics that are given in float64; how near they bring y to the truth is in numerics.test.ts. */
import {
  type BatchNormErrorCode,
  batchNormBackward,
  batchNormInference,
  batchNormStatistics,
  memoryUsage,
  Tensor,
} from "batchnorm-wasm";
import { describe, expect, it } from "vitest";
import { expectError } from "./call-helpers.js";

const x = () => Tensor.from([1, 2, 3, 3, 6, 9], [2, 3]);
const float64 = { mean: Float64Array.of(2, 4, 6), variance: Float64Array.of(1, 4, 9) };
const float32 = {
  mean: Float32Array.from(float64.mean),
  variance: Float32Array.from(float64.variance),
};
const more = { weight: [2, 1, 1], bias: [0, 1, 0], eps: 0 };

describe("float64 statistics", () => {
  it("give the same bits as float32 ones where these have the same values", () => {
    for (const activation of [null, "relu"] as const) {
      const [a, b] = [float64, float32].map((given) => {
        const { y, saved } = batchNormInference(x(), {
          ...given,
          ...more,
          activation,
          saved: true,
        });
        const dy = Tensor.from([1, 1, 1, 2, 4, 6], [2, 3]);
        const { dx, weightGrad, biasGrad } = batchNormBackward(dy, { saved });
        expect(saved.statistics).toBe("running");
        expect(saved.mean).toEqual(float64.mean);
        return [y, dx, weightGrad, biasGrad].map((one) => one?.toFloat32Array());
      });
      expect(a).toEqual(b);
    }
  });

  it("leave no memory behind, and what was saved is overwritten by the next", () => {
    const [one, out] = [x(), x()];
    const { saved } = batchNormInference(one, { ...float32, saved: true, out });
    const before = memoryUsage().liveBytes;
    batchNormInference(one, { ...float64, out });
    batchNormInference(one, { ...float64, out, saved });
    expect(memoryUsage().liveBytes).toBe(before);
    expect(saved.variance).toEqual(float64.variance);
  });

  it("are read when the call begins", () => {
    const mean = float64.mean.slice();
    const options = {
      mean,
      variance: float64.variance,
      eps: 0,
      get out() {
        mean.fill(7);
        return null;
      },
    };
    expect(batchNormInference(x(), options).toFloat32Array()).toEqual(
      batchNormInference(x(), { ...float32, eps: 0 }).toFloat32Array(),
    );
  });

  it.each<[string, object, BatchNormErrorCode, string]>([
    ["beside a tensor", { ...float64, variance: Tensor.zeros([3]) }, "dtype", "variance"],
    ["of another number", { ...float64, mean: new Float64Array(4) }, "shape-mismatch", "mean"],
    ["of another number", { ...float64, variance: new Float64Array(2) }, "shape-mismatch", "[2]"],
    [
      "below zero",
      { ...float64, variance: Float64Array.of(1, -1, 1) },
      "invalid-option",
      "variance",
    ],
    ["alone", { mean: float64.mean }, "invalid-option", "variance is missing"],
  ])("%s are refused, and nothing is written", (_, given, code, word) => {
    const [one, out] = [x(), x()];
    const options = { ...given, out } as Parameters<typeof batchNormInference>[1];
    const before = memoryUsage().liveBytes;
    expectError(code, [word], () => batchNormInference(one, options), [one, out]);
    expect(memoryUsage().liveBytes).toBe(before);
  });

  it("keep a mean of a million σ as batchNormStatistics has taken it", () => {
    const far = Tensor.from(
      Float32Array.from({ length: 1000 }, (_, i) => 1e6 + Math.sin(i * i)),
      [1000, 1],
    );
    const y = batchNormInference(far, batchNormStatistics(far)).toFloat32Array();
    const mean = y.reduce((sum, one) => sum + one, 0) / 1000;
    expect(Math.abs(mean)).toBeLessThan(1e-6);
  });
});
