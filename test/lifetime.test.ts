/** Batch norm's statistics around training: precise, adapted, and how fast they move. */
import {
  adaptBatchNorm,
  BatchNorm,
  BatchNormalization,
  batchNormInference,
  decayedMomentum,
  Moments,
  preciseBatchNorm,
  scope,
  Tensor,
} from "batchnorm-wasm";
import { describe, expect, it } from "vitest";
import { Random } from "../scripts/random.mjs";
import { counting, expectError, snapshot, values, wrong } from "./call-helpers.js";
import { expectWithin, U } from "./helpers.js";

describe("preciseBatchNorm", () => {
  const random = new Random(11);
  const batches = [5, 3, 8].map((n, i) => Tensor.from(random.normals(n * 4, i, 1 + i), [n, 4]));
  const all = Tensor.from(batches.flatMap(values), [16, 4]);

  it("gives the moments of all data, of layers in a row and of one that comes twice", async () => {
    for (const preset of ["torch", "keras", "flax"] as const) {
      using first = new BatchNorm(4, { preset, axis: 1, statistics: "running" });
      using second = new BatchNorm(4, { preset, axis: 1, updateRunningStats: false });
      const seen: number[] = [];
      const forward = (x: Tensor) => {
        const y = second.forward(first.forward(x));
        return second.forward(y);
      };
      await preciseBatchNorm([first, second], batches, forward, {
        onProgress: ({ batches }) => void seen.push(batches),
      });
      expect(seen).toEqual([1, 2, 3]);
      expect([first.statistics, second.updateRunningStats]).toEqual(["running", false]);
      const want = Moments.of(all);
      const variance = preset === "torch" ? want.unbiasedVariance : want.variance;
      const near = (value: number) => 16 * U * (1 + value ** 2);
      expectWithin(values(first.runningMean as Tensor), want.mean, want.mean.map(near), "mean");
      expectWithin(values(first.runningVar as Tensor), variance, variance.map(near), "variance");
      expect([first.numBatchesTracked, second.numBatchesTracked]).toEqual([3, 3]);
      // The second has met each batch twice, normalized: of mean 0.
      const zeros = new Array(4).fill(0);
      expectWithin(
        values(second.runningMean as Tensor),
        zeros,
        zeros.map(() => 8 * U),
        "mean",
      );
    }
  });

  it("waits for batches and for the network, and fits Keras's averages", async () => {
    async function* slowly() {
      for (const batch of batches) yield await Promise.resolve(batch);
    }
    using bn = new BatchNormalization({ renorm: true });
    bn.forward(all, { training: false });
    await preciseBatchNorm([bn], slowly(), async (x) => bn.forward(await Promise.resolve(x)));
    const { mean, variance } = Moments.of(all);
    const near = (value: number) => 16 * U * (1 + value ** 2);
    expectWithin(values(bn.movingMean as Tensor), mean, mean.map(near), "mean");
    const std = variance.map((value) => Math.sqrt(value + 1e-3));
    const got = bn.stateDict().moving_stddev as Float32Array;
    expectWithin(got, std, std.map(near), "σ");
  });

  it("gives all layers theirs or none", async () => {
    using first = new BatchNorm(4);
    using second = new BatchNorm(4);
    first.forward(batches[0] as Tensor).dispose();
    const before = snapshot([first, second]).state;
    const calls: [string | RegExp, () => Promise<void>][] = [
      [
        "layer 1 was reached by no batch",
        () => preciseBatchNorm([first, second], batches, (x) => first.forward(x)),
      ],
      [
        "layer 0 was reached by no batch",
        () => preciseBatchNorm([first], [], (x: Tensor) => first.forward(x)),
      ],
      [
        "of the network",
        () =>
          preciseBatchNorm([first], batches, (x) => {
            first.forward(x);
            throw new Error("of the network");
          }),
      ],
      [
        "expected x with 4 channels",
        () => preciseBatchNorm([first], [counting([2, 3])], (x) => first.forward(x)),
      ],
      ["layers", () => preciseBatchNorm(wrong(first), batches, (x) => first.forward(x))],
      ["batches", () => preciseBatchNorm([first], wrong({}), (x: Tensor) => first.forward(x))],
      ["batches", () => preciseBatchNorm([first], wrong(null), (x: Tensor) => first.forward(x))],
      ["forward", () => preciseBatchNorm([first], batches, wrong(null))],
      ["onProgress", () => preciseBatchNorm([first], batches, () => {}, { onProgress: wrong(3) })],
    ];
    for (const [words, call] of calls) {
      await expect(call()).rejects.toThrow(words);
      const now = snapshot([first, second]).state as Record<string, unknown>[];
      const statistics = (state: Record<string, unknown>[]) =>
        state.map(({ runningMean, runningVar, numBatchesTracked, training, statistics }) => ({
          ...{ runningMean, runningVar, numBatchesTracked, training, statistics },
        }));
      expect(statistics(now)).toEqual(statistics(before as never));
    }
    // And the next pass moves them again, as ever.
    first.forward(batches[0] as Tensor);
    expect(first.numBatchesTracked).toBe(2);
    const untracked = new BatchNorm(4, { trackRunningStats: false });
    const call = () => preciseBatchNorm([untracked], batches, (x) => untracked.forward(x));
    await expect(call()).rejects.toThrow("no running statistics");
  });
});

describe("adaptBatchNorm", () => {
  const make = () => {
    const bn = new BatchNorm(3);
    bn.loadStateDict({
      weight: [2, 1, 1],
      bias: [0, 1, 2],
      running_mean: [1, 2, 3],
      running_var: [4, 1, 9],
      num_batches_tracked: 7,
    });
    return bn;
  };
  const x = counting([4, 3], -5);

  /** By the formula, with this part of the source. */
  function blended(share: number, includeSpread = false): Float32Array {
    return scope(() => {
      const { mean, variance } = Moments.of(x);
      const [source, spread] = [
        [1, 2, 3],
        [4, 1, 9],
      ];
      const mix = (a: number, b: number) => share * a + (1 - share) * b;
      const ofMean = Array.from(mean, (mean, c) => mix(source[c] as number, mean));
      const ofVariance = Array.from(variance, (variance, c) => {
        const off = includeSpread ? (source[c] as number) - (mean[c] as number) : 0;
        return mix(spread[c] as number, variance) + share * (1 - share) * off ** 2;
      });
      const parameters = { weight: [2, 1, 1], bias: [0, 1, 2] };
      return batchNormInference(x, {
        mean: ofMean,
        variance: ofVariance,
        ...parameters,
      }).toFloat32Array();
    });
  }
  const near = (all: Float32Array) => all.map((value) => 16 * U * (1 + Math.abs(value)));

  it("blends by samples, with the spread of the means or without", () => {
    using bn = make();
    for (const [sourceSamples, share] of [
      [12, 0.75],
      [4, 0.5],
      [0, 0],
      [Number.POSITIVE_INFINITY, 1],
    ] as const) {
      for (const includeSpread of [false, true]) {
        const adapted = adaptBatchNorm(bn, { sourceSamples, includeSpread });
        const want = blended(share, includeSpread);
        const y = adapted.forward(x);
        expectWithin(values(y), want, near(want), "y");
        const plain = adapted.forward({ data: values(x), shape: [4, 3] });
        expect(plain.data).toEqual(y.toFloat32Array());
      }
    }
    expect(values(bn.runningMean as Tensor)).toEqual([1, 2, 3]);
    expect(blended(0.5, true)).not.toEqual(blended(0.5, false));
  });

  it("keeps the statistics in the layer if told, and gives back those that it had", () => {
    using bn = make();
    const adapted = adaptBatchNorm(bn, { sourceSamples: 4 });
    const own = counting([4, 3], -5);
    const y = values(adapted.forward(own, { keep: true, out: own }));
    const { mean } = Moments.of(x);
    const half = Array.from(mean, (mean, c) => (mean + c + 1) / 2);
    expectWithin(
      values(bn.runningMean as Tensor),
      half,
      half.map(() => 8 * U),
      "mean",
    );
    const want = values(bn.eval().forward(x));
    expectWithin(
      y,
      want,
      want.map((value) => 16 * U * (1 + Math.abs(value))),
      "y",
    );
    // What is blended is the source's, not what was kept.
    const again = blended(0.5);
    expectWithin(values(adapted.forward(x)), again, near(again), "y");
    adapted.reset();
    expect(values(bn.runningMean as Tensor)).toEqual([1, 2, 3]);
    expect([bn.numBatchesTracked, values(bn.runningVar as Tensor)]).toEqual([7, [4, 1, 9]]);
  });

  it("refuses layers without statistics, other channels and what is none", () => {
    using bn = make();
    using untracked = new BatchNorm(3, { trackRunningStats: false });
    expectError("unsupported", ["running statistics"], () => adaptBatchNorm(untracked));
    expectError("not-built", ["no statistics yet"], () => adaptBatchNorm(new BatchNorm(null)));
    expectError("invalid-option", ["sourceSamples"], () =>
      adaptBatchNorm(bn, { sourceSamples: -1 }),
    );
    expectError("invalid-option", ["includeSpread"], () =>
      adaptBatchNorm(bn, { includeSpread: wrong(1) }),
    );
    const adapted = adaptBatchNorm(bn);
    const other = counting([2, 4]);
    expectError(
      "shape-mismatch",
      ["3 channels along axis 1, got 4"],
      () => adapted.forward(other),
      [bn],
    );
    expectError("invalid-option", ["keep"], () => adapted.forward(x, { keep: wrong(1) }), [bn]);
    bn.dispose();
    expectError("disposed", ["AdaptedBatchNorm.forward"], () => adapted.forward(x));
    expectError("disposed", ["AdaptedBatchNorm.reset"], () => adapted.reset());
  });
});

describe("decayedMomentum", () => {
  it("falls in steps down to the least", () => {
    const at = (step: number) => decayedMomentum(step, { every: 10, initial: 0.8, least: 0.15 });
    expect([0, 9, 10, 19, 20, 30].map(at)).toEqual([0.8, 0.8, 0.4, 0.4, 0.2, 0.15]);
    expect(decayedMomentum(5, { every: 1, initial: 0.01, least: 0.5 })).toBe(0.01);
    using bn = new BatchNorm(1);
    bn.momentum = decayedMomentum(0, { every: 1 });
    expect(bn.momentum).toBe(0.5);
  });

  it("refuses what is none", () => {
    const every = 10;
    expectError("invalid-option", ["step"], () => decayedMomentum(-1, { every }));
    expectError("invalid-option", ["every"], () => decayedMomentum(0, { every: 0 }));
    expectError("invalid-option", ["decay", "from 0 to 1"], () =>
      decayedMomentum(0, { every, decay: 2 }),
    );
    expectError("unknown-option", ["steps"], () => decayedMomentum(0, wrong({ every, steps: 1 })));
  });
});
