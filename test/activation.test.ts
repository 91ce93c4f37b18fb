/** Activations and residuals of batch norm: golden values, saved values, layers, errors. */
import {
  BatchNorm,
  BatchNorm2d,
  BatchNormalization,
  batchNormBackward,
  batchNormInference,
  batchNormTraining,
  memoryUsage,
  scope,
  Tensor,
} from "batchnorm-wasm";
import { describe, expect, it } from "vitest";
import { counting, expectError, values } from "./call-helpers.js";
import { boundOfMoved, expectSameBits, expectWithin } from "./helpers.js";
import * as reference from "./reference/batch.mjs";
import { truthOfActivated } from "./truth-of-activations.js";
import { type Step, variantCases } from "./variants.js";

interface Options {
  readonly activation: "relu" | "leaky-relu" | null;
  readonly negative_slope?: number;
  readonly residual: boolean;
  readonly statistics: "batch" | "running";
}

interface ActivationStep extends Step {
  readonly residual?: number[];
  readonly dresidual?: number[];
}

describe("golden values of activations", () => {
  const cases = variantCases<Options>("activation");

  it("has 10 cases", () => expect(cases).toHaveLength(10));

  it.each(cases)("are a layer's and the functions': %s", (_, one) => {
    const { shape, axis, weight, bias, running_mean, running_var } = one;
    const { activation, negative_slope: negativeSlope, statistics, eps, momentum } = one.options;
    const channels = reference.channelsOf(shape, axis);
    const { number } = channels;
    const count = channels.of.length / number;
    const affine = weight !== null;
    const options = { axis, eps, momentum, affine, activation, negativeSlope };
    using bn = new BatchNorm(number, { ...options, statistics });
    if (weight) bn.weight?.set(weight);
    if (bias) bn.bias?.set(bias);
    bn.runningMean?.set(running_mean);
    bn.runningVar?.set(running_var);
    const zeros = new Float64Array(number);
    let bound: reference.Statistics = { mean: zeros, variance: zeros };
    let running: reference.Statistics = {
      mean: Float64Array.from(running_mean),
      variance: Float64Array.from(running_var),
    };
    const slope = { relu: 0, "leaky-relu": negativeSlope as number, none: 1 }[activation ?? "none"];
    for (const step of one.steps as readonly ActivationStep[]) {
      const added = step.residual ?? null;
      const given = statistics === "running" ? running : null;
      const parameters = { weight, bias, eps };
      const truth = truthOfActivated(step.x, step.dy, channels, parameters, {
        ...{ residual: added, slope, given },
      });
      const [x, dy] = [Tensor.from(step.x, shape), Tensor.from(step.dy, shape)];
      const residual = added && Tensor.from(added, shape);
      const residualGrad = added && Tensor.zeros(shape);
      bn.zeroGrad();
      const y = bn.forward(x, { residual });
      const dx = bn.backward(dy, { residualGrad });
      const { bounds } = truth;
      const [dweight, dbias] = [bn.weight, bn.bias].map((one) => one?.grad?.toFloat32Array());
      expectWithin(y.toFloat32Array(), step.y, bounds.y, "y");
      expectWithin(dx.toFloat32Array(), step.dx, bounds.dx, "dx");
      expectWithin(dweight ?? [], step.dweight ?? [], bounds.dweight, "dweight");
      expectWithin(dbias ?? [], step.dbias ?? [], bounds.dbias, "dbias");
      const dresidual = residualGrad?.toFloat32Array() ?? [];
      expectWithin(dresidual, step.dresidual ?? [], truth.boundOfDv, "dresidual");

      const vectors = { weight: weight && Tensor.from(weight), bias: bias && Tensor.from(bias) };
      const all = { ...vectors, axis, eps, activation, negativeSlope, residual };
      const forward = given
        ? batchNormInference(x, {
            ...all,
            mean: Float32Array.from(given.mean),
            variance: Float32Array.from(given.variance),
            saved: true,
          })
        : batchNormTraining(x, all);
      const back = batchNormBackward(dy, { saved: forward.saved });
      const same = (a: Tensor | null | undefined, b: Tensor | null | undefined, what: string) => {
        expect(!a, `${what} exists`).toBe(!b);
        if (a && b) expectSameBits(a.toFloat32Array(), b.toFloat32Array(), what);
      };
      same(forward.y, y, "y");
      same(back.dx, dx, "dx");
      same(back.weightGrad, bn.weight?.grad, "dweight");
      same(back.biasGrad, bn.bias?.grad, "dbias");
      same(back.residualGrad, residualGrad, "dresidual");

      running = {
        mean: Float64Array.from(step.running_mean),
        variance: Float64Array.from(step.running_var),
      };
      if (given) continue;
      bound = boundOfMoved(running, bound, bounds, momentum as number, count / (count - 1));
      const [mean, variance] = [bn.runningMean, bn.runningVar].map((t) => t?.toFloat32Array());
      expectWithin(mean ?? [], running.mean, bound.mean, "running mean");
      expectWithin(variance ?? [], running.variance, bound.variance, "running variance");
    }
  });
});

/** What a layer with ReLU has behind it: x, its y and dy. */
function passed(options: { residual?: Tensor; out?: Tensor } = {}) {
  const bn = new BatchNorm(3, { activation: "relu" });
  const [x, dy] = [counting([4, 3]), counting([4, 3], -5)];
  return { bn, x, dy, y: bn.forward(x, options) };
}

describe("what backward needs of an activation", () => {
  it("is y, which makes it stale where that was overwritten or disposed", () => {
    const { bn, y, dy } = passed();
    y.set([7], 4);
    expectError("stale", ["BatchNorm.backward: y was overwritten"], () => bn.backward(dy), [
      dy,
      bn,
    ]);
    const other = passed();
    other.y.dispose();
    expectError("stale", ["y was disposed"], () => other.bn.backward(other.dy), [other.dy]);
  });

  it("is x as well, which y in its place overwrites", () => {
    const bn = new BatchNorm(3, { activation: "relu" });
    const [x, dy] = [counting([4, 3]), counting([4, 3])];
    bn.forward(x, { out: x });
    expectError("stale", ["x was overwritten"], () => bn.backward(dy), [x, dy, bn]);
  });

  it("is not y where a residual alone was added, nor what was added", () => {
    const bn = new BatchNorm(3);
    const [x, residual, dy] = [counting([4, 3]), counting([4, 3]), counting([4, 3], -5)];
    const y = bn.forward(x, { residual, out: residual });
    y.set(values(y).fill(0));
    const residualGrad = Tensor.zeros([4, 3]);
    const dx = bn.backward(dy, { residualGrad });
    expect(values(residualGrad)).toEqual(values(dy));
    const plain = new BatchNorm(3);
    plain.forward(x);
    expect(values(dx)).toEqual(values(plain.backward(dy)));
    // No gradient is written over what was overwritten.
    expect(values(bn.backward(dy))).toEqual(values(dx));
  });

  it("stays fresh beside writes to other channels of its storage", () => {
    const whole = Tensor.zeros([4, 6]);
    const { bn, dy } = passed({ out: whole.slice(1, 0, 3) });
    whole.slice(1, 3, 6).set(counting([4, 3]));
    const dx = values(bn.backward(dy));
    const { bn: other } = passed();
    expect(dx).toEqual(values(other.backward(dy)));
    whole.slice(1, 2, 4).set(counting([4, 2]));
    expectError("stale", ["y was overwritten"], () => bn.backward(dy));
  });

  it("stays, of taken values, whatever the layer does next", () => {
    const { bn, x, dy, y } = passed();
    const dx = values(bn.backward(dy));
    using first = bn.takeSaved();
    bn.eval().forward(x, { out: Tensor.zeros([4, 3]) });
    expect(values(bn.backward(dy, { saved: first }))).toEqual(dx);
    y.set([1]);
    expectError("stale", ["y was overwritten"], () => bn.backward(dy, { saved: first }));
    bn.backward(dy);
  });

  it("is forgotten where saved values become those of a pass without", () => {
    const [x, dy] = [counting([4, 3]), counting([4, 3], -5)];
    const { y, saved } = batchNormTraining(x, { activation: "relu" });
    batchNormTraining(x, { saved });
    y.dispose();
    const { dx } = batchNormBackward(dy, { saved });
    expect(values(dx)).toEqual(
      values(batchNormBackward(dy, { saved: batchNormTraining(x).saved }).dx),
    );
  });

  it("is kept by a scope that returns the saved values", () => {
    const [x, dy] = [counting([4, 3]), counting([4, 3], -5)];
    const saved = scope(() => batchNormTraining(x, { activation: "relu" }).saved);
    expect(batchNormBackward(dy, { saved }).dx.disposed).toBe(false);
  });

  it("belongs to the saved values where x came as { data, shape }, until these end", () => {
    const before = memoryUsage().liveBytes;
    const plain = { data: Float32Array.from({ length: 3000 }, (_, i) => i % 7), shape: [1000, 3] };
    const { y, saved } = batchNormTraining(plain, { activation: "relu" });
    y.data.fill(0); // JavaScript's own
    const first = batchNormBackward(plain, { saved });
    expect(batchNormBackward(plain, { saved })).toEqual(first);
    // x, y, and three float64 a channel.
    expect(memoryUsage().liveBytes - before).toBeGreaterThanOrEqual(2 * 12_000);
    batchNormTraining(plain, { activation: "relu", saved });
    expect(memoryUsage().liveBytes - before).toBeLessThan(3 * 12_000);
    saved.dispose();
    expect(memoryUsage().liveBytes).toBe(before);

    using bn = new BatchNorm(3, { activation: "relu" });
    const ofLayer = memoryUsage().liveBytes;
    for (let i = 0; i < 3; i++) bn.forward(plain);
    expect(bn.backward(plain)).toEqual(first.dx);
    expect(memoryUsage().liveBytes - ofLayer).toBeLessThan(3 * 12_000);
  });
});

describe("an activation of a layer", () => {
  it("follows in every mode, as do its gradients", () => {
    const [x, residual, dy] = [counting([4, 3]), counting([4, 3], -6), counting([4, 3], -5)];
    const relu = (values: number[]) => values.map((value) => Math.max(value, 0));
    for (const options of [
      { statistics: "auto" },
      { statistics: "running" },
      { statistics: "running", updateRunningStats: true },
    ] as const) {
      for (const training of [true, false]) {
        using fused = new BatchNorm(3, { ...options, activation: "relu" });
        using plain = new BatchNorm(3, options);
        const y = fused.forward(x, { training, residual });
        const norm = plain.forward(x, { training });
        const sums = values(norm).map((v, i) => Math.fround(v + (values(residual)[i] as number)));
        expect(values(y)).toEqual(relu(sums));
        expect(fused.stateDict()).toEqual(plain.stateDict());
        const residualGrad = Tensor.zeros([4, 3]);
        const dx = fused.backward(dy, { residualGrad });
        const gated = values(dy).map((dy, i) => ((values(y)[i] as number) > 0 ? dy : 0));
        expect(values(residualGrad)).toEqual(gated);
        expect(values(dx)).toEqual(values(plain.backward(Tensor.from(gated, [4, 3]))));
        expect(fused.weight?.grad?.data).toEqual(plain.weight?.grad?.data);
      }
    }
  });

  it("is what it was made with", () => {
    expect(new BatchNorm(3)).toMatchObject({ activation: null, negativeSlope: null });
    const relu = new BatchNorm(3, { activation: "relu" });
    expect(relu).toMatchObject({ activation: "relu", negativeSlope: null });
    const leaky = new BatchNorm(3, { activation: "leaky-relu", negativeSlope: 0.25 });
    expect(leaky).toMatchObject({ activation: "leaky-relu", negativeSlope: 0.25 });
  });

  it("goes with ghost batches: slice by slice, to the bit", () => {
    const shape = [10, 3, 4];
    const tensor = (first: number) =>
      Tensor.from(
        Array.from({ length: 120 }, (_, i) => Math.sin(first + i * i)),
        shape,
      );
    const [x, residual, dy] = [tensor(0), tensor(500), tensor(900)];
    const options = { activation: "leaky-relu", negativeSlope: 0.1 } as const;
    using ghost = new BatchNorm(3, { ...options, virtualBatchSize: 4 });
    using one = new BatchNorm(3, options);
    const [y, residualGrad] = [ghost.forward(x, { residual }), Tensor.zeros(shape)];
    const dx = ghost.backward(dy, { residualGrad });
    for (const [from, to] of [
      [0, 4],
      [4, 8],
      [8, 10],
    ] as const) {
      const of = (tensor: Tensor) => tensor.slice(0, from, to);
      expect(values(of(y))).toEqual(values(one.forward(of(x), { residual: of(residual) })));
      const out = Tensor.zeros([to - from, 3, 4]);
      expect(values(of(dx))).toEqual(values(one.backward(of(dy), { residualGrad: out })));
      expect(values(of(residualGrad))).toEqual(values(out));
    }
    expect(ghost.stateDict()).toEqual(one.stateDict());
    expect(values(ghost.backward(dy))).toEqual(values(dx));
  });

  it("goes with renorm, which is of the norm before it", () => {
    const tensor = (first: number) =>
      Tensor.from(
        Array.from({ length: 24 }, (_, i) => Math.sin(first + i * i)),
        [8, 3],
      );
    const [x, residual, dy] = [tensor(0), tensor(500), tensor(900)];
    const renorm = { rMax: 1.1, dMax: 0.1 };
    using fused = new BatchNorm(3, { renorm, activation: "relu" });
    using plain = new BatchNorm(3, { renorm });
    // A second pass, whose running statistics are no 0 and 1.
    for (let pass = 0; pass < 2; pass++) {
      const norm = values(plain.forward(x));
      const y = values(fused.forward(x, { residual }));
      const sums = norm.map((v, i) => Math.fround(v + (values(residual)[i] as number)));
      expect(y).toEqual(sums.map((v) => Math.max(v, 0)));
      const gated = values(dy).map((dy, i) => ((y[i] as number) > 0 ? dy : 0));
      const residualGrad = Tensor.zeros([8, 3]);
      const dx = fused.backward(dy, { residualGrad });
      expect(values(residualGrad)).toEqual(gated);
      expect(values(dx)).toEqual(values(plain.backward(Tensor.from(gated, [8, 3]))));
      expect(fused.weight?.grad?.data).toEqual(plain.weight?.grad?.data);
    }
    expect(fused.stateDict()).toEqual(plain.stateDict());
  });

  it("is PyTorch's and Keras's only as what comes after, but any layer takes a residual", () => {
    const [x, residual] = [counting([2, 3, 1, 2]), counting([2, 3, 1, 2], 20)];
    for (const layer of [new BatchNorm2d(3), new BatchNormalization({ axis: 1 })]) {
      const [norm, sum] = [layer.forward(x), layer.forward(x, { residual })];
      const sums = values(norm).map((v, i) => Math.fround(v + (values(residual)[i] as number)));
      expect(values(sum)).toEqual(sums);
    }
  });
});

describe("channel ranges of one tensor", () => {
  it("are normalized and activated where they lie, without copies", () => {
    const [all, channels] = [counting([4, 8, 3], -40), 5];
    const x = all.slice(1, 0, channels);
    using bn = new BatchNorm(channels, { activation: "relu" });
    using contiguous = new BatchNorm(channels, { activation: "relu" });
    const copy = Tensor.from(x.toFloat32Array(), [4, channels, 3]);
    const [out, dx] = [Tensor.zeros([4, 8, 3]), Tensor.zeros([4, 8, 3])];
    const before = memoryUsage().liveBytes;
    const y = bn.forward(x, { out: out.slice(1, 2, 2 + channels) });
    bn.backward(y, { out: dx.slice(1, 0, channels) });
    // Saved values, and a gradient of γ and β.
    expect(memoryUsage().liveBytes - before).toBeLessThan(4 * 64 + 3 * 8 * channels);
    expect(values(y)).toEqual(values(contiguous.forward(copy)));
    expect(values(dx.slice(1, 0, channels))).toEqual(values(contiguous.backward(y)));
    expect(new Set(values(out.slice(1, 0, 2)))).toEqual(new Set([0]));
    expect(new Set(values(dx.slice(1, channels, 8)))).toEqual(new Set([0]));
  });
});

describe("refused is", () => {
  const [x, dy, residual] = [counting([4, 3]), counting([4, 3], -5), counting([4, 3], 2)];
  const vectors = { mean: [0, 0, 0], variance: [1, 1, 1] };
  const activation = "leaky-relu";

  it("a slope that is none, or of no leaky ReLU", () => {
    for (const [owner, call] of [
      ["batchNormTraining", (options: object) => batchNormTraining(x, options)],
      [
        "batchNormInference",
        (options: object) => batchNormInference(x, { ...vectors, ...options }),
      ],
      ["BatchNorm", (options: object) => new BatchNorm(3, options)],
    ] as const) {
      for (const negativeSlope of [-0.1, 1.01, Number.NaN, Infinity, "0.1", true]) {
        const words = [`${owner}: negativeSlope must be from 0 to 1`];
        expectError("invalid-option", words, () => call({ activation, negativeSlope }));
      }
      for (const other of ["relu", null, undefined]) {
        const words = [`${owner}: negativeSlope needs activation "leaky-relu"`];
        const options = { activation: other, negativeSlope: 0.1 };
        expectError("invalid-option", words, () => call(options));
        call({ activation: other, negativeSlope: null });
      }
    }
  });

  it("a residual's gradient where there was no residual", () => {
    const residualGrad = Tensor.zeros([4, 3]);
    const words = ["residualGrad needs a residual in the forward pass"];
    const { saved } = batchNormTraining(x, { activation: "relu" });
    expectError("invalid-option", words, () => batchNormBackward(dy, { saved, residualGrad }), [
      residualGrad,
      dy,
    ]);
    const bn = new BatchNorm(3, { activation: "relu" });
    bn.forward(x);
    expectError("invalid-option", words, () => bn.backward(dy, { residualGrad }), [bn, dy]);
    expect(batchNormBackward(dy, { saved, residualGrad: null }).residualGrad).toBeNull();
    expect(batchNormBackward(dy, { saved }).residualGrad).toBeNull();
  });

  it("what dy is gated into over x, which is read once more, or over another output", () => {
    const { saved } = batchNormTraining(x, { residual, activation: "relu" });
    const watched = [x, dy, residual];
    const refused = (options: object, ...words: string[]) =>
      expectError("overlap", words, () => batchNormBackward(dy, { saved, ...options }), watched);
    refused({ out: x, residualGrad: null }, "out overlaps x: only dy or y can be in place");
    refused({ residualGrad: x }, "residualGrad overlaps x: only dy or y can be in place");
    const one = Tensor.zeros([4, 3]);
    refused({ out: one, residualGrad: one }, "overlaps");
    const part = counting([5, 3]);
    refused({ residualGrad: part.slice(0, 0, 4), out: part.slice(0, 1, 5) }, "overlaps");
    refused({ residualGrad: one, weightGrad: one.slice(0, 0, 1).reshape([3]) }, "overlaps");
  });

  it("a tensor for the residual's gradient of data outside of kernel memory", () => {
    const plain = { data: [1, 2, 3, 3, 6, 9], shape: [2, 3] };
    const { saved } = batchNormTraining(plain, { residual: plain });
    const residualGrad = Tensor.zeros([2, 3]);
    const words = ["residualGrad needs a Tensor as x"];
    expectError("invalid-option", words, () => batchNormBackward(plain, { saved, residualGrad }));
    expect(batchNormBackward(plain, { saved }).residualGrad).toEqual({
      data: Float32Array.from(plain.data),
      shape: [2, 3],
    });
  });

  it("an output over a part of the residual", () => {
    const whole = counting([5, 3]);
    const options = { residual: whole.slice(0, 0, 4), out: whole.slice(0, 1, 5) };
    const words = ["out overlaps residual, not exactly in place"];
    expectError("overlap", words, () => batchNormTraining(x, options), [x, whole]);
  });
});
