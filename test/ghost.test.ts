/** Ghost batches: golden values, the bits of batch norm slice by slice, layers, errors. */
import {
  BatchNorm,
  batchNormBackward,
  batchNormInference,
  batchNormTraining,
  scope,
  Tensor,
} from "batchnorm-wasm";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { counting, expectError, values } from "./call-helpers.js";
import { boundOfMoved, expectSameBits, expectWithin, truthOfTraining, U } from "./helpers.js";
import { dataOf, holds, problems, properties } from "./properties/problems.js";
import * as reference from "./reference/batch.mjs";
import { variantCases } from "./variants.js";

/** First and last sample of each slice. */
function slicesOf(samples: number, size: number): [from: number, to: number][] {
  const number = Math.ceil(samples / size);
  return Array.from({ length: number }, (_, k) => [k * size, Math.min((k + 1) * size, samples)]);
}

interface GhostOptions {
  readonly virtual_batch_size: number;
  readonly cumulative?: boolean;
}

describe("golden values of ghost batches", () => {
  const cases = variantCases<GhostOptions>("ghost");

  it("has 9 cases", () => expect(cases).toHaveLength(9));

  it.each(cases)("are a layer's and the functions': %s", (_, one) => {
    const { shape, axis, weight, bias, steps } = one;
    const { virtual_batch_size: virtualBatchSize, cumulative, momentum, eps } = one.options;
    const channels = shape[axis] as number;
    const samples = shape[0] as number;
    const inner = shape.reduce((a, b) => a * b) / samples;
    const slices = slicesOf(samples, virtualBatchSize);
    const affine = weight !== null;
    using bn = new BatchNorm(channels, { axis, eps, momentum, affine, virtualBatchSize });
    if (weight) bn.weight?.set(weight);
    if (bias) bn.bias?.set(bias);
    bn.runningMean?.set(one.running_mean);
    bn.runningVar?.set(one.running_var);
    const zeros = new Float64Array(channels);
    let bound: reference.Statistics = { mean: zeros, variance: zeros };
    let running: reference.Statistics = {
      mean: Float64Array.from(one.running_mean),
      variance: Float64Array.from(one.running_var),
    };
    let tracked = 0;
    for (const step of steps) {
      const truths = slices.map(([from, to]) =>
        truthOfTraining(
          step.x.slice(from * inner, to * inner),
          step.dy.slice(from * inner, to * inner),
          reference.channelsOf([to - from, ...shape.slice(1)], axis),
          { weight, bias, eps },
        ),
      );
      const all = (of: (truth: (typeof truths)[number]) => Float64Array) =>
        truths.flatMap((truth) => [...of(truth)]);
      // Each slice's sum is rounded to float32, and then the sum with it.
      const added = (of: (truth: (typeof truths)[number]) => [Float64Array, Float64Array]) =>
        zeros.map((_, c) => {
          const pairs = truths.map(of).map(([sum, bound]) => [sum[c], bound[c]] as number[]);
          const size = pairs.reduce((total, [sum]) => total + Math.abs(sum as number), 0);
          const own = pairs.reduce((total, [, bound]) => total + (bound as number), 0);
          return own + U * size * truths.length;
        });
      const bounds = {
        y: all((truth) => truth.bounds.y),
        dx: all((truth) => truth.bounds.dx),
        dweight: added(({ gradients, bounds }) => [gradients.dweight, bounds.dweight]),
        dbias: added(({ gradients, bounds }) => [gradients.dbias, bounds.dbias]),
      };
      for (const [k, truth] of truths.entries()) {
        const [from, to] = slices[k] as [number, number];
        const count = ((to - from) * inner) / channels;
        const share = cumulative ? 1 / (tracked + k + 1) : (momentum as number);
        running = reference.moved(running, truth.statistics, count, share, "unbiased");
        bound = boundOfMoved(running, bound, truth.bounds, share, count / (count - 1));
      }
      tracked += slices.length;

      using x = Tensor.from(step.x, shape);
      using dy = Tensor.from(step.dy, shape);
      const y = bn.forward(x);
      const dx = bn.backward(dy);
      expectWithin(y.toFloat32Array(), step.y, bounds.y, "y");
      expectWithin(dx.toFloat32Array(), step.dx, bounds.dx, "dx");
      if (affine) {
        const [ofWeight, ofBias] = [bn.weight?.grad, bn.bias?.grad] as [Tensor, Tensor];
        expectWithin(ofWeight.toFloat32Array(), step.dweight ?? [], bounds.dweight, "dγ");
        expectWithin(ofBias.toFloat32Array(), step.dbias ?? [], bounds.dbias, "dβ");
      }
      const [mean, variance] = [bn.runningMean, bn.runningVar] as [Tensor, Tensor];
      expectWithin(mean.toFloat32Array(), step.running_mean, bound.mean, "running mean");
      expectWithin(variance.toFloat32Array(), step.running_var, bound.variance, "running variance");
      expect(bn.numBatchesTracked).toBe(tracked);
      bn.zeroGrad();

      const parameters = { weight, bias, axis, eps, virtualBatchSize };
      const again = batchNormTraining(x, parameters);
      expectSameBits(again.y.toFloat32Array(), y.toFloat32Array(), "y of the function");
      const gradients = batchNormBackward(dy, { saved: again.saved });
      expectSameBits(gradients.dx.toFloat32Array(), dx.toFloat32Array(), "dx of the function");
    }
  });
});

describe(properties("ghost batches"), { timeout: 60_000 }, () => {
  const cut = problems
    .filter(({ shape, axis }) => axis !== 0 && axis !== -shape.length)
    .chain((problem) => fc.tuple(fc.constant(problem), fc.integer({ min: 1, max: 9 })));

  it("give the bits of batch norm slice by slice, and the same in place", () => {
    holds(cut, ([problem, virtualBatchSize]) => {
      const data = dataOf(problem);
      const { shape } = problem;
      const samples = shape[0] as number;
      const each = data.x.length / samples / data.channels.number;
      const slices = slicesOf(samples, virtualBatchSize);
      const [from, to] = slices.at(-1) as [number, number];
      fc.pre((to - from) * each > 1);
      const [x, dy] = [Tensor.from(data.x, shape), Tensor.from(data.dy, shape)];
      const vector = (values: Float32Array | null) => values && Tensor.from(values);
      const running = () => ({
        runningMean: vector(data.mean) as Tensor,
        runningVar: vector(data.variance) as Tensor,
        momentum: 0.25,
      });
      const parameters = { ...data.options, weight: data.weight, bias: data.bias };
      const [own, wanted] = [running(), running()];
      const ghost = batchNormTraining(x, { ...parameters, ...own, virtualBatchSize });
      const zeros = () => vector(new Float32Array(data.channels.number)) as Tensor;
      const [weightGrad, biasGrad] = [zeros(), zeros()];
      const sums = { weightGrad: zeros(), biasGrad: zeros() };
      const back = { saved: ghost.saved, weightGrad, biasGrad };
      const { dx } = batchNormBackward(dy, back);
      const means: number[] = [];
      for (const [from, to] of slices) {
        const part = batchNormTraining(x.slice(0, from, to), { ...parameters, ...wanted });
        const gradients = batchNormBackward(dy.slice(0, from, to), { saved: part.saved, ...sums });
        const same = (got: Tensor, want: Tensor, name: string) =>
          expectSameBits(got.toFloat32Array(), want.toFloat32Array(), name);
        same(ghost.y.slice(0, from, to), part.y, "y");
        same(dx.slice(0, from, to), gradients.dx, "dx");
        means.push(...part.saved.mean);
      }
      expect([...ghost.saved.mean]).toEqual(means);
      for (const [got, want] of [
        [own.runningMean, wanted.runningMean],
        [own.runningVar, wanted.runningVar],
        [weightGrad, sums.weightGrad],
        [biasGrad, sums.biasGrad],
      ] as const) {
        expectSameBits(got.toFloat32Array(), want.toFloat32Array(), "what slices add up to");
      }
      batchNormTraining(x, { ...parameters, virtualBatchSize, out: x });
      expectSameBits(x.toFloat32Array(), ghost.y.toFloat32Array(), "y in place");
    });
  });
});

describe("virtualBatchSize", () => {
  const [x, dy] = [counting([6, 3, 2]), counting([6, 3, 2], -9)];

  it("of all samples or more is batch norm, to the bit", () => {
    scope(() => {
      const plain = batchNormTraining(x);
      for (const virtualBatchSize of [6, 7, 2 ** 30]) {
        const { y, saved } = batchNormTraining(x, { virtualBatchSize });
        expectSameBits(y.toFloat32Array(), plain.y.toFloat32Array(), "y");
        expect(saved.mean).toEqual(plain.saved.mean);
        const { dx } = batchNormBackward(dy, { saved });
        expectSameBits(
          dx.toFloat32Array(),
          batchNormBackward(dy, { saved: plain.saved }).dx.toFloat32Array(),
          "dx",
        );
      }
    });
  });

  it("takes strided views, and leaves what is between alone", () => {
    scope(() => {
      const wide = counting([6, 5, 2]);
      const view = wide.slice(1, 1, 4);
      const want = batchNormTraining(Tensor.from(values(view), [6, 3, 2]), { virtualBatchSize: 4 });
      const before = values(wide);
      batchNormTraining(view, { virtualBatchSize: 4, out: view });
      expectSameBits(view.toFloat32Array(), want.y.toFloat32Array(), "y");
      expect(values(wide.slice(1, 0, 1))).toEqual(before.filter((_, i) => i % 10 < 2));
    });
  });

  it("is of training by the batch's statistics alone", () => {
    using bn = new BatchNorm(3, { virtualBatchSize: 2 });
    expect([bn.virtualBatchSize, new BatchNorm(3).virtualBatchSize]).toEqual([2, null]);
    bn.forward(x);
    expect([bn.numBatchesTracked, bn.saved?.mean.length]).toEqual([3, 9]);
    const { runningMean: mean, runningVar: variance } = bn;
    const want = batchNormInference(x, { mean, variance } as { mean: Tensor; variance: Tensor });
    expectSameBits(bn.eval().forward(x).toFloat32Array(), want.toFloat32Array(), "y in evaluation");
    bn.statistics = "batch";
    bn.forward(x);
    expect([bn.numBatchesTracked, bn.saved?.mean.length]).toEqual([3, 3]);
    bn.virtualBatchSize = null;
    bn.train().forward(x);
    expect([bn.numBatchesTracked, bn.saved?.mean.length]).toEqual([4, 3]);
  });

  it("weighs all slices alike where momentum is null", () => {
    using bn = new BatchNorm(1, { momentum: null, virtualBatchSize: 1 });
    bn.forward(Tensor.from([0, 2, 10, 14], [2, 1, 2]));
    bn.forward(Tensor.from([3, 5], [1, 1, 2]));
    const [mean, variance] = [bn.runningMean, bn.runningVar] as [Tensor, Tensor];
    expectWithin(values(mean), [17 / 3], [4 * U * 6], "running mean");
    expectWithin(values(variance), [(2 + 8 + 2) / 3], [4 * U * 4], "running variance");
    expect(bn.numBatchesTracked).toBe(3);
  });

  it("that leaves one value a channel is an error with the remedy, and nothing is written", () => {
    using bn = new BatchNorm(3, { virtualBatchSize: 2, preset: "keras", axis: 1 }).train();
    const five = counting([5, 3]);
    const words = ["virtualBatchSize 2", "[5, 3]", "1 value per channel", "take another size"];
    expectError("batch-too-small", ["BatchNorm.forward", ...words], () => bn.forward(five), [bn]);
    const call = () => batchNormTraining(five, { virtualBatchSize: 2 });
    expectError("batch-too-small", ["batchNormTraining", ...words], call);
    const one = () => batchNormTraining(five, { virtualBatchSize: 1 });
    expectError("batch-too-small", ["virtualBatchSize 1"], one);
    // Two values a channel in the slice of one sample are enough.
    scope(() => void batchNormTraining(x, { virtualBatchSize: 5 }));
  });

  it("has no samples to cut where the first axis counts the channels", () => {
    const call = () => batchNormTraining(x, { axis: 0, virtualBatchSize: 2 });
    expectError("unsupported", ["virtualBatchSize", "axis 0 counts the channels"], call);
  });

  it("leaves nothing behind, and refuses to go back through what was overwritten", () => {
    const live = () => x.kernel.memoryUsage().liveBytes;
    const before = live();
    scope(() => {
      const own = counting([6, 3, 2]);
      const { saved } = batchNormTraining(own, { virtualBatchSize: 4 });
      batchNormBackward(dy, { saved });
      own.slice(0, 5, 6).set([0, 0, 0, 0, 0, 0]);
      expectError("stale", ["x was overwritten"], () => batchNormBackward(dy, { saved }));
      // Of another number of slices: what is saved has another size.
      batchNormTraining(x, { virtualBatchSize: 2, saved });
      expect(saved.mean).toHaveLength(9);
      batchNormTraining(x, { saved });
      expect(saved.mean).toHaveLength(3);
    });
    expect(live()).toBe(before);
  });

  it("of no elements moves nothing", () => {
    scope(() => {
      const none = Tensor.zeros([4, 3, 0]);
      const running = { runningMean: Tensor.zeros([3]), runningVar: Tensor.zeros([3]) };
      const { saved } = batchNormTraining(none, { virtualBatchSize: 2, ...running });
      expect([values(running.runningMean), [...saved.mean]]).toEqual([
        [0, 0, 0],
        [0, 0, 0, 0, 0, 0],
      ]);
    });
  });
});
