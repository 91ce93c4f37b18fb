/** What `mask` and `weights` do beside the numbers, which `properties/weighted.test.ts` compares. */
import {
  BatchNorm,
  BatchNormalization,
  batchNormBackward,
  batchNormStatistics,
  batchNormTraining,
  memoryUsage,
  preciseBatchNorm,
  Tensor,
} from "batchnorm-wasm";
import { describe, expect, test } from "vitest";
import { Random } from "../scripts/random.mjs";
import { counting, expectError, values } from "./call-helpers.js";
import { expectSameBits } from "./helpers.js";
import * as reference from "./reference/batch.mjs";
import * as weighted from "./reference/weighted.mjs";

const MASK = [1, 0, 1, 1];
const NONE = [0, 0, 0, 0];

/** A layer of three channels whose running statistics are none that a batch has. */
function layer(options: ConstructorParameters<typeof BatchNorm>[1] = {}) {
  const bn = new BatchNorm(3, options);
  bn.runningMean?.set([1, 2, 3]);
  bn.runningVar?.set([4, 5, 6]);
  return bn;
}

const stateOf = ({ runningMean, runningVar, numBatchesTracked }: BatchNorm) => ({
  mean: runningMean && values(runningMean),
  variance: runningVar && values(runningVar),
  numBatchesTracked,
});

describe("where no position counts", () => {
  test("a layer normalizes by its running statistics, which stay, and counts no batch", () => {
    const bn = layer();
    const x = counting([4, 3]);
    const before = stateOf(bn);
    const y = values(bn.forward(x, { mask: NONE }));
    expect(bn.saved?.statistics).toBe("running");
    expect(stateOf(bn)).toEqual(before);
    expect(y).toEqual(values(bn.eval().forward(x)));
    // To the gradient they are constants.
    bn.train().forward(x, { weights: NONE });
    const dx = values(bn.backward(counting([4, 3])));
    bn.eval().forward(x);
    expect(dx).toEqual(values(bn.backward(counting([4, 3]))));
  });

  test("a layer that tells its batch alone to move them moves nothing", () => {
    const bn = layer({ statistics: "running", updateRunningStats: true });
    const before = stateOf(bn);
    bn.forward(counting([4, 3]), { mask: NONE });
    expect(stateOf(bn)).toEqual(before);
    bn.forward(counting([4, 3]), { mask: MASK });
    expect(stateOf(bn).numBatchesTracked).toBe(1);
  });

  test("there is an error where there are no running statistics, and nothing else", () => {
    const x = counting([4, 3]);
    const words = ["no position counts", "no running statistics"];
    for (const none of [{ mask: NONE }, { weights: NONE }, { mask: NONE.map(Boolean) }]) {
      expectError("batch-too-small", words, () => batchNormTraining(x, none), [x]);
      expectError("batch-too-small", words, () => batchNormStatistics(x, none), [x]);
      const bn = layer({ trackRunningStats: false });
      expectError("batch-too-small", words, () => bn.forward(x, none), [x, bn]);
      expectError("batch-too-small", words, () => bn.eval().forward(x, none), [x]);
    }
    // A layer that learns its channels has learned nothing.
    const bn = new BatchNorm(null, { trackRunningStats: false });
    expectError("batch-too-small", words, () => bn.forward(x, { mask: NONE }), [x]);
    expect(bn.numFeatures).toBeNull();
  });

  test("statistics alone are none, and running ones stay", () => {
    const [runningMean, runningVar] = [counting([3]), counting([3])];
    const moving = { runningMean, runningVar, mask: NONE };
    const x = counting([4, 3]);
    const call = () => batchNormStatistics(x, moving);
    expectError("batch-too-small", ["batchNormStatistics"], call, [runningMean, runningVar]);
  });
});

describe("in evaluation a mask", () => {
  test("changes nothing, in any preset", () => {
    const x = counting([4, 3]);
    for (const preset of ["torch", "keras", "onnx", "flax"] as const) {
      const bn = layer({ preset });
      const y = values(bn.forward(x, { mask: MASK, training: false }));
      expect(y, preset).toEqual(values(bn.forward(x, { training: false })));
      expect(stateOf(bn)).toEqual(stateOf(layer({ preset })));
    }
    const frozen = new BatchNormalization({ trainable: false });
    const y = values(frozen.forward(x, { mask: MASK, training: true }));
    expect(y).toEqual(values(frozen.forward(x)));
  });

  test("that is none is refused all the same", () => {
    const bn = layer().eval();
    const x = counting([4, 3]);
    const call = (mask: number[]) => () => bn.forward(x, { mask });
    expectError("invalid-option", ["mask", "got 2"], call([1, 2, 0, 1]), [bn]);
    expectError("shape-mismatch", ["mask", "[4]", "3 values"], call([1, 0, 1]), [bn]);
  });

  test("counts where the batch's statistics normalize", () => {
    const bn = layer({ trackRunningStats: false }).eval();
    const x = counting([4, 3]);
    const y = values(bn.forward(x, { mask: MASK }));
    expect(y).toEqual(values(batchNormTraining(x, { mask: MASK }).y));
  });
});

test("running statistics that normalize are moved by what counts of the batch", () => {
  const options = { statistics: "running", updateRunningStats: true } as const;
  const bn = layer(options);
  const x = counting([4, 3]);
  const y = values(bn.forward(x, { weights: [2, 0, 1, 1] }));
  expect(y).toEqual(values(layer(options).forward(x)));
  const [runningMean, runningVar] = [Tensor.from([1, 2, 3]), Tensor.from([4, 5, 6])];
  batchNormStatistics(x, { runningMean, runningVar, weights: [2, 0, 1, 1] });
  expect(stateOf(bn)).toEqual({
    mean: values(runningMean),
    variance: values(runningVar),
    numBatchesTracked: 1,
  });
});

describe("the weights of a forward pass", () => {
  test("are kept: what happens to the mask after it changes no gradient", () => {
    const [x, dy] = [counting([4, 3]), counting([4, 3], 3)];
    const mask = Tensor.from(MASK);
    const { saved } = batchNormTraining(x, { mask });
    const dx = values(batchNormBackward(dy, { saved }).dx);
    mask.set([0, 1, 1, 0]);
    expect(values(batchNormBackward(dy, { saved }).dx)).toEqual(dx);
    mask.dispose();
    expect(values(batchNormBackward(dy, { saved }).dx)).toEqual(dx);
  });

  test("are those of that pass alone: the next one through the same values has its own", () => {
    const [x, dy] = [counting([4, 3]), Tensor.from([1, 0, 2, 5, 3, 1, 0, 0, 4, 2, 2, 7], [4, 3])];
    const one = batchNormTraining(x, { mask: MASK }).saved;
    const passes = [{}, { weights: [1, 2, 3, 4] }, { mask: MASK }, {}, { mask: [1, 1, 1, 1] }];
    for (const pass of passes) {
      batchNormTraining(x, { ...pass, saved: one });
      const dx = values(batchNormBackward(dy, { saved: one }).dx);
      const { saved } = batchNormTraining(x, pass);
      expect(dx).toEqual(values(batchNormBackward(dy, { saved }).dx));
    }
  });

  test("a pass that fails leaves the values of the one before as they were", () => {
    const [x, dy] = [counting([4, 3]), counting([4, 3], 3)];
    const { saved } = batchNormTraining(x, { mask: MASK });
    const dx = values(batchNormBackward(dy, { saved }).dx);
    const out = counting([3, 3]);
    const call = () => batchNormTraining(x, { weights: [1, 2, 3, 4], saved, out });
    expectError("shape-mismatch", ["out"], call, [x, saved, out]);
    expect(values(batchNormBackward(dy, { saved }).dx)).toEqual(dx);
  });

  test("are given back with what the layer saved, and taken with it", () => {
    const [x, dy] = [counting([4, 3]), counting([4, 3], 3)];
    const bn = layer();
    bn.forward(x, { mask: MASK }).dispose();
    const { liveBytes } = memoryUsage();
    for (let i = 0; i < 5; i++) bn.forward(x, { mask: MASK, out: counting([4, 3]) });
    expect(memoryUsage().liveBytes).toBe(liveBytes + 5 * 48);
    const taken = bn.takeSaved();
    const dx = values(bn.backward(dy));
    bn.forward(counting([4, 3], 9), { weights: [4, 3, 2, 1] });
    expect(values(bn.backward(dy, { saved: taken }))).toEqual(dx);
    taken.dispose();
  });

  test("of plain data go with the copy of it", () => {
    const plain = { data: Float32Array.from({ length: 12 }, (_, i) => i * i), shape: [4, 3] };
    const before = memoryUsage().liveBytes;
    const { y, saved } = batchNormTraining(plain, { mask: MASK });
    const x = Tensor.from(plain.data, [4, 3]);
    const want = batchNormTraining(x, { mask: MASK });
    expect([...y.data]).toEqual(values(want.y));
    const dy = counting([4, 3], 2);
    const [a, b] = [saved, want.saved].map((saved) => batchNormBackward(dy, { saved }).dx);
    expect(values(a as Tensor)).toEqual(values(b as Tensor));
    for (const one of [saved, x, want.y, want.saved, dy, a, b]) one?.dispose();
    expect(memoryUsage().liveBytes).toBe(before);
  });

  test("may lie in kernel memory as a bare array, which may grow meanwhile", () => {
    const own = Tensor.from(MASK);
    const { saved } = batchNormTraining(
      { data: new Float32Array(12).map((_, i) => i * i), shape: [4, 3] },
      { mask: own.data as Float32Array },
    );
    expect([...saved.mean]).toEqual([(0 + 36 + 81) / 3, (1 + 49 + 100) / 3, (4 + 64 + 121) / 3]);
  });
});

test("a batch without elements asks nothing of a mask, and moves nothing", () => {
  const bn = layer();
  const before = stateOf(bn);
  expect(bn.forward(Tensor.zeros([0, 3]), { mask: [] }).shape).toEqual([0, 3]);
  expect(stateOf(bn)).toEqual(before);
});

test("of a vector there is one position, which counts or doesn't", () => {
  const x = counting([3]);
  for (const mask of [[true], [1], Tensor.from([1]), { data: [1], shape: [1] }]) {
    const { y, saved } = batchNormTraining(x, { axis: 0, mask });
    expect([values(y), [...saved.mean]]).toEqual([
      [0, 0, 0],
      [1, 2, 3],
    ]);
  }
});

describe("beside the other variants", () => {
  test("precise statistics count what the masks of their batches count", async () => {
    const bn = layer();
    const batches = [
      { x: counting([4, 3]), mask: MASK },
      { x: counting([4, 3], 50), mask: NONE },
      { x: counting([2, 3], 30), mask: [1, 1] },
    ];
    await preciseBatchNorm([bn], batches, ({ x, mask }) => bn.forward(x, { mask }));
    const rows = [0, 2, 3].map((row) => 1 + 3 * row).concat(30, 33);
    const alone = rows.flatMap((first) => [first, first + 1, first + 2]);
    const want = layer();
    await preciseBatchNorm([want], [Tensor.from(alone, [5, 3])], (x) => want.forward(x));
    const [a, b] = [stateOf(bn), stateOf(want)];
    a.mean?.forEach((value, c) => {
      expect(value).toBeCloseTo(b.mean?.[c] as number, 5);
      expect(a.variance?.[c]).toBeCloseTo(b.variance?.[c] as number, 4);
    });
  });

  test("ghost batches are refused, with what to do instead", () => {
    const x = counting([4, 3]);
    const words = ["mask", "virtualBatchSize", "slice by slice"];
    const call = () => batchNormTraining(x, { mask: MASK, virtualBatchSize: 2 });
    expectError("unsupported", words, call, [x]);
    const bn = layer({ virtualBatchSize: 2 });
    expectError("unsupported", words, () => bn.forward(x, { mask: MASK }), [x, bn]);
    // Where there are none, as in evaluation, there is nothing to refuse.
    expect(bn.eval().forward(x, { mask: MASK }).shape).toEqual([4, 3]);
  });

  test("renorm corrects the weighted statistics, and goes back through them", () => {
    const [shape, eps] = [[5, 2], 1e-3];
    const x = [1, 8, 2, 3, 4, 5, 7, 1, 0, 2];
    const dy = [1, 0, 2, 5, 3, 1, 0, 0, 4, 2];
    const weights = [1, 0, 3, 0.5, 2];
    const [mean, variance] = [
      [3, 2.5],
      [2, 9],
    ];
    const [r, d] = [[] as number[], [] as number[]];
    const over = weighted.weighted(shape, 1, weights);
    const own = weighted.statistics(x, over);
    const limits = { rMax: 1.2, dMax: 0.5 };
    own.mean.forEach((mu, c) => {
      const sigma = Math.sqrt((variance[c] as number) + eps);
      const batch = Math.sqrt((own.variance[c] as number) + eps);
      r.push(Math.min(Math.max(batch / sigma, 1 / 1.2), 1.2));
      d.push(Math.min(Math.max((mu - (mean[c] as number)) / sigma, -0.5), 0.5));
    });
    const { y, saved } = batchNormTraining(Tensor.from(x, shape), {
      ...{ weights, renorm: limits, eps },
      ...{ runningMean: Tensor.from(mean), runningVar: Tensor.from(variance) },
    });
    const want = reference.forward(x, over.channels, own, { weight: r, bias: d, eps });
    const near = (got: ArrayLike<number>, want: ArrayLike<number>) =>
      Array.from(want, (value, i) => expect(got[i]).toBeCloseTo(value, 5));
    near(y.data, want);
    const back = batchNormBackward(Tensor.from(dy, shape), { saved });
    near(back.dx.data, weighted.backward(x, dy, over, { weight: r, eps }).dx);
  });

  test("renorm that may not correct gives the bits of weighted batch norm", () => {
    const x = Float32Array.from({ length: 60 }, (_, i) => Math.sin(i * i));
    const moving = () => ({
      runningMean: Tensor.from([1, 2, 3]),
      runningVar: Tensor.from([4, 5, 6]),
      weights: Float32Array.from({ length: 20 }, (_, i) => i % 4),
    });
    const [a, b] = [{}, { renorm: { rMax: 1, dMax: 0 } }].map((more) =>
      batchNormTraining(Tensor.from(x, [20, 3]), { ...moving(), ...more }).y.toFloat32Array(),
    ) as [Float32Array, Float32Array];
    expectSameBits(b, a, "y");
  });

  test("an activation and a residual follow, and go back, to the bit as steps of their own", () => {
    const random = new Random(11);
    const draw = (length: number) => Float32Array.from({ length }, () => random.uniform() * 6 - 3);
    const shapes = [
      [40, 3],
      [40, 16],
      [5, 7, 6],
      [3, 4, 9, 5],
      [9, 2, 300],
    ];
    for (const shape of shapes) {
      for (const axis of [1, -1]) {
        const count = shape.reduce((a, b) => a * b);
        const channels = shape.at(axis) as number;
        const [x, dy, residual] = [draw(count), draw(count), draw(count)];
        const weights = draw(count / channels).map((value) => Math.max(value, 0));
        const options = { weights, axis, weight: Tensor.from(draw(channels)) };
        const plain = batchNormTraining({ data: x, shape }, options);
        for (const negativeSlope of [0, 0.25]) {
          // As a step: a value by the sign of another.
          const step = (value: number, v: number) =>
            v > 0 ? value : negativeSlope > 0 ? value * negativeSlope : 0;
          for (const added of [null, residual]) {
            const v = plain.y.data.map((value, i) => value + (added?.[i] ?? 0));
            const masked = dy.map((value, i) => step(value, v[i] as number));
            const { y, saved } = batchNormTraining(
              { data: x, shape },
              {
                ...{ ...options, activation: "leaky-relu", negativeSlope },
                residual: added && { data: added, shape },
              },
            );
            const of = v.map((value) => step(value, value));
            expectSameBits(y.data, of, "y");
            const want = batchNormBackward({ data: masked, shape }, { saved: plain.saved });
            const got = batchNormBackward({ data: dy, shape }, { saved });
            expectSameBits(got.dx.data, want.dx.data, "dx");
            expect(values(got.weightGrad as Tensor)).toEqual(values(want.weightGrad as Tensor));
            if (added) expect(got.residualGrad?.data).toEqual(masked);
            saved.dispose();
          }
        }
        plain.saved.dispose();
      }
    }
  });

  test("Keras's averages of renorm move by what counts, and stay where nothing does", () => {
    const bn = new BatchNormalization({ renorm: true });
    const x = counting([4, 3]);
    bn.forward(x, { training: true, mask: MASK });
    const moved = bn.stateDict();
    bn.forward(x, { training: true, mask: NONE });
    expect(bn.stateDict()).toEqual(moved);
    const alone = new BatchNormalization({ renorm: true });
    const rows = [0, 2, 3].flatMap((row) => [0, 1, 2].map((c) => 1 + 3 * row + c));
    alone.forward(Tensor.from(rows, [3, 3]), { training: true });
    for (const [name, got] of Object.entries(alone.stateDict())) {
      const [a, b] = [got, moved[name]].map((all) => Array.from(all as Float32Array));
      a?.forEach((value, i) => {
        expect(b?.[i]).toBeCloseTo(value, 6);
      });
    }
  });
});
