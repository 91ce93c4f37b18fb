/** Moments that merge, federated averages of state dicts, and moments of streams. */
import { readFileSync } from "node:fs";
import {
  averageStateDicts,
  BatchNorm,
  createKernel,
  Moments,
  RunningMoments,
  scope,
  Tensor,
} from "batchnorm-wasm";
import { describe, expect, it } from "vitest";
import { Random } from "../scripts/random.mjs";
import { counting, expectError, kernelBytes, values, wrong } from "./call-helpers.js";
import { expectWithin, growth, truthOfTraining, U } from "./helpers.js";
import { channelsOf, statistics } from "./reference/batch.mjs";

/** How far moments of rows may be from the truth, whatever parts they were taken in. */
function boundsOf(parts: readonly Float32Array[], features: number, times = 1) {
  const all = Float32Array.from(parts.flatMap((part) => [...part]));
  const channels = (data: Float32Array) => channelsOf([data.length / features, features], 1);
  const truth = statistics(all, channels(all));
  const total = all.length / features;
  const mean = new Float64Array(features);
  const variance = new Float64Array(features);
  for (const part of parts) {
    if (part.length === 0) continue;
    const { statistics: own, bounds } = truthOfTraining(part, part, channels(part), { eps: 1 });
    const share = part.length / features / total;
    for (let c = 0; c < features; c++) {
      const off = Math.abs((own.mean[c] as number) - (truth.mean[c] as number));
      const ofMean = bounds.mean[c] as number;
      // To first order; the squares of off and of what f64 rounds of it are below.
      mean[c] = (mean[c] as number) + share * ofMean;
      variance[c] =
        (variance[c] as number) + share * ((bounds.variance[c] as number) + 4 * off * ofMean);
    }
  }
  const tiny = (value: number) => 2 ** -45 * Math.abs(value);
  return {
    truth,
    mean: mean.map((bound, c) => times * bound + tiny(truth.mean[c] as number)),
    variance: variance.map((bound, c) => times * bound + tiny(truth.variance[c] as number)),
  };
}

/** Rows in parts of these many. */
function split(data: Float32Array, features: number, rows: readonly number[]): Float32Array[] {
  let from = 0;
  return rows.map((n) => {
    const part = data.slice(from, from + n * features);
    from += part.length;
    return part;
  });
}

const momentsOf = (part: Float32Array, features: number) =>
  Moments.of({ data: part, shape: [part.length / features, features] });

describe("Moments", () => {
  const features = 5;
  for (const [mean, std] of [
    [0, 1],
    [1e6, 1],
    [-3, 1e-3],
  ] as const) {
    it(`of parts are those of the whole, split and merged in any order: ${mean} ± ${std}`, () => {
      const random = new Random(7);
      const data = random.normals(40 * features, mean, std);
      for (const rows of [[40], [20, 20], [1, 39], [0, 7, 0, 33], [1, 1, 1, 1, 36], [13, 27, 0]]) {
        const parts = split(data, features, rows);
        const bounds = boundsOf(parts, features);
        const moments = parts.map((part) => momentsOf(part, features));
        const orders = [
          moments,
          [...moments].reverse(),
          [...moments].sort((a, b) => a.count - b.count),
        ];
        for (const order of orders) {
          const all = Moments.merge(order);
          expect(all.count).toBe(40);
          expectWithin(all.mean, bounds.truth.mean, bounds.mean, "mean");
          expectWithin(all.variance, bounds.truth.variance, bounds.variance, "variance");
        }
        const pairwise = moments.reduce((one, other) => Moments.merge([one, other]));
        expectWithin(pairwise.mean, bounds.truth.mean, bounds.mean, "mean, pair by pair");
        expectWithin(pairwise.variance, bounds.truth.variance, bounds.variance, "variance");
      }
    });
  }

  it("have variances of both kinds, of one value and of none", () => {
    const two = Moments.of(Tensor.from([1, 3], [2, 1]));
    expect([two.count, two.variance, two.unbiasedVariance]).toEqual([
      2,
      Float64Array.of(1),
      Float64Array.of(2),
    ]);
    const one = Moments.of(Tensor.from([3], [1, 1]));
    expect([one.variance, one.unbiasedVariance]).toEqual([Float64Array.of(0), Float64Array.of(0)]);
    const none = Moments.of(Tensor.zeros([0, 1]));
    expect([none.count, none.mean, none.variance]).toEqual([
      0,
      Float64Array.of(0),
      Float64Array.of(0),
    ]);
    expect(Moments.merge([none, none]).count).toBe(0);
    expect(Moments.merge([none, two]).mean).toEqual(two.mean);
  });

  it("come from running statistics, of which PyTorch's variance is unbiased", () => {
    const given = { mean: [1, 2], variance: [2, 8], count: 5 };
    expect(Moments.from(given).m2).toEqual(Float64Array.of(10, 40));
    expect(Moments.from({ ...given, runningVariance: "unbiased" }).m2).toEqual(
      Float64Array.of(8, 32),
    );
    expect(Moments.from({ ...given, count: 1, runningVariance: "unbiased" }).variance).toEqual(
      Float64Array.of(2, 8),
    );
    using bn = new BatchNorm(3);
    const from = { mean: bn.runningMean, variance: bn.runningVar, count: 3 } as never;
    expect(Moments.from(from).variance).toEqual(Float64Array.of(1, 1, 1));
  });

  it("go through JSON to the bit, also what isn't finite", () => {
    const moments = new Moments({
      count: 0.1 + 0.2,
      mean: [1 / 3, Number.NaN, Number.NEGATIVE_INFINITY, -0],
      m2: [Number.MIN_VALUE, Number.NaN, Number.POSITIVE_INFINITY, 0],
    });
    for (const back of [
      Moments.fromJSON(JSON.stringify(moments)),
      Moments.fromJSON(JSON.parse(JSON.stringify(moments))),
    ]) {
      expect([back.count, back.m2]).toEqual([moments.count, moments.m2]);
      expect([...back.mean].slice(0, 3)).toEqual([...moments.mean].slice(0, 3));
    }
  });

  it("don't change with what they were made of, or what they gave", () => {
    const mean = [1, 2];
    const moments = new Moments({ count: 1, mean, m2: [0, 0] });
    mean[0] = 9;
    moments.mean[1] = 9;
    expect(moments.mean).toEqual(Float64Array.of(1, 2));
    expect(() => Object.assign(moments, { mean: [3] })).toThrow(TypeError);
  });

  it("refuse what are none", () => {
    const right = { count: 2, mean: [1], m2: [1] };
    const cases: [string, string[], object][] = [
      ["invalid-option", ["count", "a finite number from 0 on", "-1"], { ...right, count: -1 }],
      ["invalid-option", ["count", "NaN"], { ...right, count: Number.NaN }],
      ["invalid-option", ["m2[0]", "not negative"], { ...right, m2: [-1] }],
      ["shape-mismatch", ["m2 must have 1 values, got 2"], { ...right, m2: [1, 2] }],
      ["dtype", ["mean[0]", '"1"'], { ...right, mean: ["1"] }],
      ["dtype", ["mean"], { ...right, mean: 3 }],
      ["unknown-option", ["variance"], { ...right, variance: [1] }],
    ];
    for (const [code, words, given] of cases) {
      expectError(code as never, ["Moments", ...words], () => new Moments(wrong(given)));
    }
    const negative = { mean: [0], variance: [-1], count: 1 };
    expectError("invalid-option", ["variance[0]"], () => Moments.from(negative));
    expectError("invalid-option", ["no parts"], () => Moments.merge([]));
    for (const parts of [undefined, null, 5, {}]) {
      expectError("invalid-option", ["parts", "iterable"], () => Moments.merge(wrong(parts)));
    }
    expectError("invalid-option", ["part 0"], () => Moments.merge([wrong({})]));
    const others = [new Moments(right), new Moments({ count: 1, mean: [1, 2], m2: [0, 0] })];
    expectError("shape-mismatch", ["part 1 has 2 channels, part 0 has 1"], () =>
      Moments.merge(others),
    );
    const gone = counting([1]);
    gone.dispose();
    expectError("disposed", ["mean was disposed"], () => new Moments({ ...right, mean: gone }));
    const json = { count: 1, mean: [null], m2: [0] };
    expectError("dtype", ["mean[0]", '"NaN"'], () => Moments.fromJSON(wrong(json)));
    expectError("dtype", ["Moments.of: x"], () => Moments.of(wrong([1])));
    const x = counting([2, 2]);
    expectError("unknown-option", ["momentum"], () => Moments.of(x, wrong({ momentum: 1 })));
    const proxy = new Proxy(Moments.of(x), {});
    expectError("dtype", ["Proxy"], () => proxy.mean);
    expectError("invalid-option", ["part 0"], () => Moments.merge([proxy]));
    expectError("dtype", ["Proxy"], () => new Proxy(new RunningMoments(), {}).update(x));
  });
});

describe("averageStateDicts", () => {
  it("keeps the variance between clients, as one machine would see it", () => {
    const random = new Random(3);
    const rows = [30, 10, 25];
    const parts = rows.map((n, i) => random.normals(n * 4, 3 * i, 1 + i));
    const dicts = parts.map((part) => {
      const { mean, variance } = momentsOf(part, 4);
      const dict = {
        running_mean: Float32Array.from(mean),
        running_var: Float32Array.from(variance),
      };
      return { "bn.running_mean": dict.running_mean, "bn.running_var": dict.running_var };
    });
    const average = averageStateDicts(dicts, { counts: rows });
    const { truth } = boundsOf(parts, 4);
    const near = (value: number) => 16 * U * (1 + Math.abs(value)) * growth(30);
    expectWithin(values4(average["bn.running_mean"]), truth.mean, truth.mean.map(near), "mean");
    expectWithin(
      values4(average["bn.running_var"]),
      truth.variance,
      truth.variance.map((value, c) => near(value) + near((truth.mean[c] as number) ** 2)),
      "variance",
    );
  });

  it("averages by counts, takes the most batches, and gives what came in the form it came", () => {
    scope(() => {
      const tensor = (value: number) => Tensor.from([value, value], [1, 2]);
      const dict = (value: number) => ({
        "fc.weight": tensor(value),
        "fc.bias": [value],
        "conv.weight": { data: [value, 0], shape: [2, 1] },
        "n.num_batches_tracked": 10 * value,
        step: BigInt(value),
      });
      const average = averageStateDicts([dict(1), dict(5)], { counts: [3, 1] });
      expect(average).toEqual({
        "fc.weight": { data: Float32Array.of(2, 2), shape: [1, 2] },
        "fc.bias": Float32Array.of(2),
        "conv.weight": { data: Float32Array.of(2, 0), shape: [2, 1] },
        "n.num_batches_tracked": 50,
        step: 2,
      });
      expect(averageStateDicts([dict(1), dict(3)])["fc.bias"]).toEqual(Float32Array.of(2));
    });
  });

  it("of equal dicts is what they are, and who has seen nothing says nothing", () => {
    using bn = new BatchNorm(3);
    bn.forward(counting([4, 3]));
    const dict = bn.stateDict();
    expect(averageStateDicts([dict, dict, dict], { counts: [1, 2, 4] })).toEqual(dict);
    const broken = { ...dict, running_mean: [Number.NaN, Number.NaN, Number.NaN] };
    expect(averageStateDicts([broken, dict], { counts: [0, 1] })).toEqual(dict);
  });

  it("reads entries as loadStateDict does: bytes with their type, strides, JSON", () => {
    const halves = Uint16Array.of(0x3c00, 0x4000); // 1, 2
    const counted = { data: new Uint8Array(BigInt64Array.of(7n).buffer), dtype: "I64" as const };
    const one = {
      a: { data: new Uint8Array(halves.buffer), dtype: "F16" as const, shape: [2, 1] },
      b: { data: [1, 2, 3, 4], shape: [2, 2], strides: [1, 2] },
      c: JSON.parse(JSON.stringify(Float32Array.of(1, 2))),
      "d.num_batches_tracked": counted,
    };
    expect(averageStateDicts([one, one])).toEqual({
      a: { data: Float32Array.of(1, 2), shape: [2, 1] },
      b: { data: Float32Array.of(1, 3, 2, 4), shape: [2, 2] },
      c: Float32Array.of(1, 2),
      "d.num_batches_tracked": 7,
    });
  });

  it("leaves norm layers out where they are local, and nothing else", () => {
    const dict = {
      "a.weight": [1],
      "a.running_mean": [0],
      "a.running_var": [1],
      "a.num_batches_tracked": 3,
      "b.weight": [2],
      "c.gamma": [1],
      "c.moving_mean": [0],
      "c.moving_variance": [1],
      mean: [5],
    };
    expect(averageStateDicts([dict, dict], { keep: "local" })).toEqual({
      "b.weight": Float32Array.of(2),
      mean: Float32Array.of(5),
    });
    const flax = { "n.scale": [1], "n.mean": [0], "n.var": [1], "d.kernel": [3] };
    const kept = averageStateDicts([flax], { keep: "local" });
    expect(kept).toEqual({ "d.kernel": Float32Array.of(3) });
  });

  it("refuses dicts that are not of one model, and counts that are none", () => {
    const dict = { a: [1, 2], b: [1] };
    const cases: [string, string[], () => unknown][] = [
      ["invalid-option", ["dicts"], () => averageStateDicts([])],
      [
        "state-dict",
        ["dict 1", "b is in the first dict alone"],
        () => averageStateDicts([dict, { a: [1, 2] }]),
      ],
      [
        "state-dict",
        ["dict 1", "c is not in"],
        () => averageStateDicts([dict, { ...dict, c: [1] }]),
      ],
      [
        "state-dict",
        ["a is [1], in the first dict [2]"],
        () => averageStateDicts([dict, { ...dict, a: [1] }]),
      ],
      ["state-dict", ["dict 0", "null"], () => averageStateDicts([wrong(null)])],
      ["dtype", ["dict 0: a: data[0]"], () => averageStateDicts([{ a: wrong(["1"]) }])],
      [
        "dtype",
        ["dict 0: a", "Uint8Array"],
        () => averageStateDicts([{ a: { data: wrong(new Uint8Array(4)), shape: [4] } }]),
      ],
      ["state-dict", ["-1"], () => averageStateDicts([{ "a.num_batches_tracked": -1 }])],
      [
        "invalid-option",
        ["counts", "2 numbers"],
        () => averageStateDicts([dict, dict], { counts: [1] }),
      ],
      ["invalid-option", ["counts"], () => averageStateDicts([dict], { counts: [-1] })],
      [
        "invalid-option",
        ["more than 0 together"],
        () => averageStateDicts([dict], { counts: [0] }),
      ],
      ["invalid-option", ["keep"], () => averageStateDicts([dict], { keep: wrong("all") })],
      ["unknown-option", ["count"], () => averageStateDicts([dict], wrong({ count: [1] }))],
    ];
    for (const [code, words, call] of cases) expectError(code as never, words, call);
  });
});

function values4(entry: unknown): Float32Array {
  expect(entry).toBeInstanceOf(Float32Array);
  return entry as Float32Array;
}

interface Chunk {
  readonly x: number[];
  readonly rows: number;
  readonly weights: number[] | null;
  readonly count: number;
  readonly mean: number[];
  readonly variance: number[];
  readonly std: number[];
}

interface ScalerCase {
  readonly features: number;
  readonly chunks: readonly Chunk[];
  readonly x: number[];
  readonly z: number[];
}

describe("RunningMoments", () => {
  const text = readFileSync(new URL("fixtures/sklearn.json", import.meta.url), "utf8");
  const { cases } = JSON.parse(text) as { cases: ScalerCase[] };

  it.each(cases.map((one, i) => [i, one] as const))(
    "are scikit-learn's StandardScaler, chunk by chunk: case %i",
    (_, { features, chunks, x, z }) => {
      const scaler = new RunningMoments();
      const parts: Float32Array[] = [];
      for (const chunk of chunks) {
        const data = Float32Array.from(chunk.x);
        parts.push(data);
        const { weights } = chunk;
        expect(scaler.update({ data, shape: [chunk.rows, features] }, { weights })).toBe(scaler);
        // Weights are 2 at most and a half on average at least: no error counts more than four times.
        if (weights) expect(weights.reduce((a, b) => a + b)).toBeGreaterThan(chunk.rows / 2);
        const bounds = boundsOf(parts, features, chunk.weights ? 4 : 1);
        expect(scaler.count).toBe(chunk.count);
        expectWithin(scaler.mean, chunk.mean, bounds.mean, "mean");
        expectWithin(scaler.variance, chunk.variance, bounds.variance, "variance");
        const ofStd = bounds.variance.map((bound, c) => bound / (chunk.std[c] as number));
        expectWithin(scaler.std, chunk.std, ofStd, "σ");
      }
      const bounds = boundsOf(parts, features, chunks[0]?.weights ? 4 : 1);
      const std = chunks.at(-1)?.std as number[];
      const given = { data: Float32Array.from(x), shape: [3, features] };
      const bound = z.map((z, i) => {
        const c = i % features;
        const s = 1 / (std[c] as number);
        const ofStd = (Math.abs(z) * (bounds.variance[c] as number) * s ** 2) / 2;
        return (bounds.mean[c] as number) * s + ofStd + 6 * U * (1 + Math.abs(z));
      });
      const got = scaler.normalize(given);
      expectWithin(got.data, z, bound, "z");
      const back = scaler.denormalize(got);
      const ofBack = x.map((x, i) => {
        const c = i % features;
        return (bound[i] as number) * (std[c] as number) + 4 * U * Math.abs(x);
      });
      expectWithin(back.data, x, ofBack, "x");
    },
  );

  it("normalize in place, by views and to a limit, a million σ away too", () => {
    scope(() => {
      const random = new Random(5);
      const wide = Tensor.from(random.normals(40 * 6, 1e6, 1), [40, 6]);
      const x = wide.slice(1, 1, 4);
      const before = values(wide);
      const scaler = new RunningMoments().update(x);
      const [mean, std] = [scaler.mean, scaler.std];
      const want = values(x).map((x, i) => (x - (mean[i % 3] as number)) / (std[i % 3] as number));
      expect(scaler.normalize(x, { out: x, clip: 0.75 })).toBe(x);
      const clipped = want.map((z) => Math.min(Math.max(z, -0.75), 0.75));
      expectWithin(
        values(x),
        clipped,
        want.map((z) => 6 * U * (1 + Math.abs(z))),
        "z",
      );
      const beside = (all: number[]) => all.filter((_, i) => i % 6 < 1 || i % 6 > 3);
      expect(beside(values(wide))).toEqual(beside(before));
    });
  });

  it("take pixels with a stride, as bytes, and RGB of RGBA", () => {
    const data = Uint8Array.from({ length: 4 * 50 }, (_, i) =>
      i % 4 === 3 ? 255 : (i * 37) % 251,
    );
    const scaler = new RunningMoments().update({ data, shape: [50, 3], strides: [4, 1] });
    const red = Array.from({ length: 50 }, (_, i) => data[4 * i] as number);
    const mean = red.reduce((a, b) => a + b) / 50;
    expectWithin([scaler.mean[0] as number], [mean], [32 * U * 256], "mean");
    expect([scaler.count, scaler.mean.length]).toEqual([50, 3]);
  });

  it("forget, merge, and go through JSON to the bit", () => {
    scope(() => {
      const [a, b] = [counting([4, 2]), counting([2, 2], 50)];
      const fading = new RunningMoments({ decay: 0.5 }).update(a).update(b);
      expect(fading.count).toBe(4);
      const half = new Moments({
        count: 2,
        mean: Moments.of(a).mean,
        m2: Moments.of(a).m2.map((x) => x / 2),
      });
      expect(fading.mean).toEqual(Moments.merge([half, Moments.of(b)]).mean);
      const both = new RunningMoments().update(a).merge(new RunningMoments().update(b));
      expect(both.variance).toEqual(new RunningMoments().update(a).update(b).variance);
      expect(both.merge(new RunningMoments()).count).toBe(6);
      for (const json of [JSON.stringify(fading), fading.toJSON()]) {
        const back = RunningMoments.fromJSON(json);
        expect([back.axis, back.decay, back.count]).toEqual([-1, 0.5, 4]);
        expect(back.moments?.toJSON()).toEqual(fading.moments?.toJSON());
      }
      expect(RunningMoments.fromJSON(new RunningMoments().toJSON()).moments).toBeNull();
    });
  });

  it("have a kernel and an axis of their own", () => {
    const kernel = createKernel(kernelBytes);
    const scaler = new RunningMoments({ kernel, axis: 0 });
    const x = counting([2, 3], 1, kernel);
    expect(scaler.update(x).mean).toEqual(Float64Array.of(2, 5));
    expect(scaler.normalize(x).kernel).toBe(kernel);
    const foreign = counting([2, 3]);
    expectError("foreign-kernel", ["RunningMoments.update: x"], () => scaler.update(foreign));
    // One observation, of four features.
    expect(new RunningMoments().update(counting([4])).count).toBe(1);
  });

  it("change nothing where they throw, and have nothing to say before", () => {
    const scaler = new RunningMoments();
    for (const what of ["mean", "variance", "std"] as const) {
      expectError("not-built", ["RunningMoments", "update first"], () => scaler[what]);
    }
    const [x, other] = [counting([2, 3]), counting([2, 2])];
    expectError("not-built", ["RunningMoments.normalize"], () => scaler.normalize(x));
    scaler.update(x);
    const before = JSON.stringify(scaler);
    expectError("shape-mismatch", ["expected 3 features along axis -1, got 2"], () =>
      scaler.update(other),
    );
    expectError("shape-mismatch", ["part 1 has 2 channels, part 0 has 3"], () =>
      scaler.merge(new RunningMoments().update(other)),
    );
    expectError("invalid-option", ["clip"], () => scaler.normalize(x, { clip: 0 }), [x]);
    expectError("invalid-option", ["other"], () => scaler.merge(wrong({})));
    expect(JSON.stringify(scaler)).toBe(before);
    for (const decay of [0, 1.1, Number.NaN, "1"]) {
      expectError("invalid-option", ["decay"], () => new RunningMoments({ decay: wrong(decay) }));
    }
    expectError("unknown-option", ["axes"], () => new RunningMoments(wrong({ axes: 1 })));
  });
});
