/**
 * Faults of what is around training: merged statistics, folding, slimming, health, schedules. Through
 * the public API alone, so that the file can be run against what came before.
 */
import {
  adaptBatchNorm,
  addScaleL1,
  addSums,
  averageStateDicts,
  BatchNorm,
  BatchNorm2d,
  BatchNormalization,
  createKernel,
  decayedMomentum,
  foldBatchNorm,
  GroupNorm,
  health,
  Moments,
  memoryUsage,
  preciseBatchNorm,
  pruneByScale,
  RunningMoments,
  renormSchedule,
  syncBatchNorm,
  Tensor,
} from "batchnorm-wasm";
import { describe, expect, it } from "vitest";
import { counting, expectError, values, wrong } from "./call-helpers.js";
import { limited } from "./limited.js";

describe("σ² + ε = 0", () => {
  it("is x̂ = 0 by an adapted layer, as by the batch's statistics", () => {
    using bn = new BatchNorm(2, { preset: "onnx", eps: 0 });
    bn.bias?.set([7, 0]);
    const x = Tensor.from([3, 1, 3, 2], [2, 2]);
    const y = adaptBatchNorm(bn, { sourceSamples: 0 }).forward(x);
    expect(values(y)).toEqual([7, -1, 7, 1]);
    expect(values(bn.train().forward(x))).toEqual(values(y));
  });

  it("is a constant input to health", () => {
    using bn = new BatchNorm(2, { eps: 0 });
    const { channels } = health({ x: { data: [3, 1, 3, 2], shape: [2, 2] }, layer: bn });
    expect(channels.map(({ dead }) => dead)).toEqual(["constant input", null]);
  });
});

describe("syncBatchNorm", () => {
  const make = () => {
    const x = counting([4, 3]);
    return { x, moments: Moments.of(x) };
  };

  it("writes over nothing that it reads, or writes as well", () => {
    const { x, moments } = make();
    const vectors = Tensor.zeros([4]);
    const [runningMean, runningVar] = [vectors.slice(0, 0, 3), vectors.slice(0, 1, 4)];
    const running = { runningMean: Tensor.zeros([3]), runningVar: Tensor.zeros([3]) };
    const cases: [string, object][] = [
      ["out overlaps x, which the backward pass needs", { out: x }],
      ["runningMean overlaps runningVar", { runningMean, runningVar }],
      ["overlaps x", { ...running, runningMean: x.slice(0, 0, 1).reshape([3]) }],
    ];
    for (const [words, options] of cases) {
      const call = () => syncBatchNorm(x, { moments, ...options });
      expectError("overlap", [words], call, [x, vectors]);
    }
    const elsewhere = createKernel(limited(4, 64));
    const other = { ...running, runningVar: Tensor.zeros([3], { kernel: elsewhere }) };
    const call = () => syncBatchNorm(x, { moments, ...other });
    expectError("foreign-kernel", ["runningVar"], call, [x, running.runningMean]);
  });

  it("refuses a dy outside of kernel memory, and sums that are none", () => {
    const { x, moments } = make();
    const pass = syncBatchNorm(x, { moments });
    const plain = { data: values(x), shape: x.shape };
    const total = pass.sums(x);
    expectError("dtype", ["SyncBatchNormPass.sums: dy", "a Tensor"], () => pass.sums(wrong(plain)));
    const back = () => pass.backward(wrong(plain), total);
    expectError("dtype", ["SyncBatchNormPass.backward: dy"], back);
    const cases: [string, string, unknown][] = [
      ["invalid-option", "total must be { dy, dyXHat }", null],
      ["unknown-option", 'unknown option "dyHat"', { dy: total.dy, dyHat: [] }],
      ["shape-mismatch", "dyXHat must have 3 values, got 1", { ...total, dyXHat: [1] }],
      ["dtype", "total: dy must be", { dyXHat: total.dyXHat }],
    ];
    for (const [code, words, sums] of cases) {
      expectError(code as never, [words], () => pass.backward(x, wrong(sums)), [x]);
    }
    expectError("invalid-option", ["part 0 must be"], () => addSums(wrong([null])));
    pass.dispose();
  });

  it("keeps nothing where there is no room for the way back", () => {
    const kernel = createKernel(limited(4, 16));
    const channels = 4096;
    const x = counting([2, channels], 1, kernel);
    const pass = syncBatchNorm(x, { moments: Moments.of(x) });
    const total = pass.sums(x);
    const ballast: Tensor[] = [];
    expect(() => {
      for (;;) ballast.push(Tensor.zeros([channels], { kernel }));
    }).toThrow("no room");
    // dx is of two of these, and then there are vectors: two, and later four at a time.
    let failed = 0;
    for (; ; failed++) {
      const { liveBytes } = memoryUsage({ kernel });
      try {
        pass.backward(x, total).dispose();
        break;
      } catch (error) {
        expect((error as { code: string }).code).toBe("out-of-memory");
        expect(memoryUsage({ kernel }).liveBytes).toBe(liveBytes);
      }
      ballast.pop()?.dispose();
    }
    expect(failed).toBeGreaterThan(5);
  });

  it("gives a pass that nobody can change", () => {
    const { x, moments } = make();
    const pass = syncBatchNorm(x, { moments });
    expect(Object.isFrozen(pass)).toBe(true);
    pass.dispose();
  });
});

describe("adaptBatchNorm", () => {
  it("reads x once", () => {
    using bn = new BatchNorm(2);
    let reads = 0;
    const x = {
      shape: [2, 2],
      get data() {
        return reads++ === 0 ? [1, 2, 3, 4] : [9, 9, 9, 9];
      },
    };
    const { data } = adaptBatchNorm(bn, { sourceSamples: 0 }).forward(x);
    expect(reads).toBe(1);
    expect([...data]).toEqual([-1, -1, 1, 1].map((value) => expect.closeTo(value, 4)));
  });

  it("writes over nothing of the layer, and fits the layer's rank", () => {
    using bn = new BatchNorm2d(1);
    const x = Tensor.zeros([1, 1, 1, 1]);
    const adapted = adaptBatchNorm(bn);
    const out = bn.runningMean?.reshape([1, 1, 1, 1]) as Tensor;
    for (const keep of [false, true]) {
      expectError("overlap", ["runningMean"], () => adapted.forward(x, { out, keep }), [bn]);
    }
    const flat = Tensor.zeros([2, 1]);
    const call = () => adapted.forward(flat);
    expectError("shape-mismatch", ["AdaptedBatchNorm.forward", "rank 4"], call);
  });

  it("moves and gives back Keras's averages of σ, too", () => {
    using bn = new BatchNormalization({ renorm: true });
    bn.forward(counting([4, 3]), { training: true });
    const std = () => Array.from(bn.stateDict().moving_stddev as Float32Array);
    const before = std();
    const adapted = adaptBatchNorm(bn, { sourceSamples: 0 });
    adapted.forward(counting([4, 3], 1), { keep: true });
    const variance = values(bn.movingVariance as Tensor);
    expect(std()).toEqual(variance.map((value) => expect.closeTo(Math.sqrt(value + 1e-3), 5)));
    expect(std()).not.toEqual(before);
    adapted.reset();
    expect(std()).toEqual(before);
  });

  it("refuses a negative running variance, as a layer's own forward pass does", () => {
    using bn = new BatchNorm(2);
    bn.runningVar?.set([1, -1]);
    const call = () => adaptBatchNorm(bn);
    expectError("invalid-option", ["running variance[1]", "not negative, got -1"], call);
  });
});

describe("preciseBatchNorm", () => {
  it("takes a layer that is named twice as one", async () => {
    using bn = new BatchNorm(3);
    const x = counting([4, 3]);
    await preciseBatchNorm([bn, bn], [x], (batch) => bn.forward(batch));
    expect(values(bn.runningMean as Tensor)).toEqual([5.5, 6.5, 7.5]);
    expect(bn.numBatchesTracked).toBe(1);
  });
});

describe("health", () => {
  it("reads each argument once, and looks at the layer behind all getters", () => {
    using bn = new BatchNorm(3);
    const x = counting([4, 3]);
    const gone = {
      layer: bn,
      get x() {
        bn.weight?.dispose();
        return x;
      },
    };
    expect(() => health(gone)).toThrow("health: a parameter of the layer was disposed");
    let reads = 0;
    using other = new BatchNorm(3);
    const counted = {
      get layer() {
        reads += 1;
        return other;
      },
    };
    health(counted);
    expect(reads).toBe(1);
  });

  it("adds up the norms of 200 000 channels, and counts what is active exactly", () => {
    const dy = Tensor.from(new Float32Array(200_000).fill(0.5), [1, 200_000]);
    expect(health({ dy, dx: dy }).gradientRatio).toBe(1);
    dy.dispose();
    const y = Tensor.from(new Float32Array(49).fill(1), [49, 1]);
    expect(health({ y }).channels[0]?.active).toBe(1);
  });

  it("has nothing to tell of channels that a layer only counts, however many", () => {
    using bn = new BatchNorm(2 ** 30, { affine: false, trackRunningStats: false });
    expect(health({ layer: bn }).channels).toEqual([]);
  });
});

describe("foldBatchNorm", () => {
  it("reads each argument once", () => {
    let reads = 0;
    const options = {
      weight: { data: [1], shape: [1, 1] },
      get bias() {
        return reads++ === 0 ? [1] : null;
      },
    };
    const { bias } = foldBatchNorm({ mean: [0], variance: [1], eps: 0 }, options);
    expect([reads, ...bias]).toEqual([1, 1]);
  });

  it("looks at the elements of what only says that it is long", () => {
    const mean = new Array(2 ** 32 - 1);
    const call = () =>
      foldBatchNorm({ mean, variance: [1] }, { weight: { data: [1], shape: [1, 1] } });
    expectError("dtype", ["foldBatchNorm: mean[0]", "undefined"], call);
  });
});

describe("an array that has no end", () => {
  /** All of its elements are one, and there are as many as it says. */
  const endless = <T>(one: T, length: number): T[] =>
    new Proxy([one], {
      get: (array, key) =>
        key === "length" ? length : Reflect.get(array, key === "1" ? "0" : key),
    });

  it("is a typed error before it is read to no end", () => {
    const ones = endless(1, 2 ** 52);
    expectError(
      "out-of-memory",
      ["Moments: mean", "no room"],
      () => new Moments({ count: 1, mean: ones, m2: [0] }),
    );
    using bn = new BatchNorm(2);
    expectError("invalid-option", ["layers must be an array"], () =>
      pruneByScale(endless(bn, 2 ** 32), 0.5),
    );
    const dicts = endless(bn.stateDict(), 2 ** 32);
    expectError("invalid-option", ["dicts"], () => averageStateDicts(dicts));
    const counts = endless(1, 2 ** 32);
    expectError("invalid-option", ["counts"], () =>
      averageStateDicts([bn.stateDict()], { counts }),
    );
  });
});

describe("layers in an array", () => {
  /** Whose methods say something else than what it holds. */
  class Lying<T> extends Array<T> {
    override map = () => ({ map: 1 }) as never;
    override [Symbol.iterator] = () => [][Symbol.iterator]() as never;
  }

  it("are read by index", async () => {
    using bn = new BatchNorm(2);
    bn.weight?.set([1, 2]);
    const x = counting([2, 2]);
    bn.forward(x);
    bn.backward(Tensor.zeros([2, 2]));
    const layers = new Lying<BatchNorm>();
    layers.push(bn);
    expect(pruneByScale(layers, 0.5)[0]?.kept).toEqual([1]);
    addScaleL1(layers, 0.5);
    expect(values(bn.weight?.grad as Tensor)).toEqual([0.5, 0.5]);
    await preciseBatchNorm(layers, [x], (batch) => bn.forward(batch));
    expect(values(bn.runningMean as Tensor)).toEqual([2, 3]);
  });

  it("tell of themselves only by what nobody has put over it", () => {
    using bn = new BatchNorm(2);
    Object.assign(bn, { stateDict: () => ({}) });
    expect(Object.keys(pruneByScale([bn], 0)[0]?.stateDict ?? {})).toContain("weight");
  });

  it("may be none, and then options are still checked", () => {
    expect(pruneByScale([], 0.5)).toEqual([]);
    const call = () => pruneByScale([], 0.5, { prefix: wrong(5) });
    expectError("invalid-option", ["prefix"], call);
  });
});

describe("schedules", () => {
  it("know no infinite step, which is no number of batches", () => {
    const step = Number.POSITIVE_INFINITY;
    expectError("invalid-option", ["step"], () => decayedMomentum(step, { every: 1, decay: 1 }));
    expectError("invalid-option", ["step"], () => renormSchedule(step));
  });

  it("end without limits where that is asked for", () => {
    const most = { rMax: Number.POSITIVE_INFINITY, dMax: Number.POSITIVE_INFINITY };
    expect(renormSchedule(0, most)).toEqual({ rMax: 1, dMax: 0 });
    expect(renormSchedule(6000, most)).toEqual(most);
  });
});

describe("what is iterated over", () => {
  it("is no numbers and no text", async () => {
    const numbers = new Float32Array(2);
    structuredClone(numbers.buffer, { transfer: [numbers.buffer] });
    using bn = new BatchNorm(2);
    for (const parts of [numbers, new Uint8Array(2), "parts"]) {
      expectError("invalid-option", ["parts", "iterable"], () => addSums(wrong(parts)));
      expectError("invalid-option", ["parts", "iterable"], () => Moments.merge(wrong(parts)));
      const later = preciseBatchNorm([bn], wrong(parts), () => {});
      await expect(later).rejects.toThrow("batches must be an array");
    }
  });

  it("may be the state dicts of 200 000 clients", () => {
    const dicts = Array.from({ length: 200_000 }, (_, i) => ({ num_batches_tracked: i }));
    expect(averageStateDicts(dicts)).toEqual({ num_batches_tracked: 199_999 });
  });
});

describe("words", () => {
  const x = counting([2, 3]);

  it("say which argument is no layer, and what came", () => {
    using group = new GroupNorm(1, 3);
    const later = preciseBatchNorm([wrong(group)], [x], () => {});
    const calls: [string, () => unknown][] = [
      ["adaptBatchNorm: bn", () => adaptBatchNorm(wrong(group))],
      ["foldBatchNorm: bn", () => foldBatchNorm(wrong(group), { weight: x })],
      ["health: layer", () => health({ layer: wrong(group) })],
      ["addScaleL1: layer 0", () => addScaleL1([wrong(group)], 1)],
    ];
    for (const [name, call] of calls) {
      expectError("dtype", [`${name} must be a BatchNorm layer, got GroupNorm`], call, [group]);
    }
    expectError("dtype", ["foldBatchNorm: bn", "got undefined"], () =>
      foldBatchNorm(wrong(undefined), { weight: x }),
    );
    using bn = new BatchNorm(3);
    const proxy = new Proxy(bn, {});
    expectError("dtype", ["got BatchNorm: a Proxy (Vue: toRaw)"], () => adaptBatchNorm(proxy));
    return expect(later).rejects.toThrow("preciseBatchNorm: layer 0 must be a BatchNorm layer");
  });

  it("name the call that was made, and the part that is wrong", () => {
    const scaler = new RunningMoments().update(x);
    const out = wrong(new Float32Array(6));
    expectError("dtype", ["RunningMoments.normalize: out"], () => scaler.normalize(x, { out }));
    expectError("dtype", ["RunningMoments.denormalize: out"], () => scaler.denormalize(x, { out }));
    const parts = [Moments.of(x), Moments.of(x, { axis: 0 })];
    expectError("shape-mismatch", ["part 1 has 2 channels, part 0 has 3"], () =>
      Moments.merge(parts),
    );
  });

  it("tell a bigint from a number", () => {
    expectError("invalid-option", ["step", "got 5n"], () =>
      decayedMomentum(wrong(5n), { every: 1 }),
    );
    expect(decayedMomentum(0, { every: 2 ** 31 })).toBe(0.5);
  });
});
