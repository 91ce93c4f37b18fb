/**
 * The numerics contract: y, statistics and gradients of adversarial data against the
 * float64 truth, and against what PyTorch's float32 arithmetic makes of them.
 */
import {
  BatchNorm,
  batchNormBackward,
  batchNormInference,
  batchNormTraining,
  scope,
  Tensor,
} from "batchnorm-wasm";
import { afterAll, describe, expect, it } from "vitest";
import { Random } from "../scripts/random.mjs";
import { expectWithin, Placed, SMALLEST, U, ulp } from "./helpers.js";
import * as reference from "./reference/batch.mjs";
import { meanOf } from "./reference/sums.mjs";

const round = Math.fround;

interface Layout {
  readonly name: string;
  readonly shape: readonly number[];
  readonly axis: number;
  /** Every second element of a larger tensor. */
  readonly strided?: boolean;
  /** Elements that PyTorch sums in float64, all of a channel's; else rows of channels in float32. */
  readonly channelsFirst: boolean;
}

// More than two blocks of the kernel, tails included, in each.
const LAYOUTS: Layout[] = [
  { name: "[N, C]", shape: [5003, 4], axis: 1, channelsFirst: false },
  { name: "[N, C, L]", shape: [8, 4, 703], axis: 1, channelsFirst: true },
  { name: "channels-last", shape: [8, 31, 23, 4], axis: -1, channelsFirst: false },
  { name: "strided", shape: [8, 4, 703], axis: 1, channelsFirst: true, strided: true },
];

interface Distribution {
  readonly name: string;
  /** Element `i` of a channel of x, from 0 on. */
  readonly value: (random: Random, i: number) => number;
  /** Mean of dy, whose standard deviation is 1; default 0. */
  readonly meanDy?: number;
  readonly eps?: number;
  /** |mean|/std is 10⁴ or more. */
  readonly offset?: boolean;
}

const normal = (mean: number, std: number) => (random: Random) => random.normal(mean, std);
const outlier = (first: number) => (random: Random, i: number) =>
  i === 0 ? first : random.normal();

const DISTRIBUTIONS: Distribution[] = [
  { name: "normal", value: normal(0, 1) },
  { name: "constant 12345.678", value: () => 12345.678 },
  { name: "constant 1e18", value: () => 1e18 },
  { name: "after ReLU", value: (random) => Math.max(0, random.normal()) },
  { name: "bytes", value: (random) => random.below(256) },
  { name: "offset 1e4", value: normal(1e4, 1), offset: true },
  { name: "offset 1e5", value: normal(1e5, 1), offset: true },
  { name: "offset 1e6", value: normal(1e6, 1), offset: true },
  { name: "offset −1e6", value: normal(-1e6, 1), offset: true },
  { name: "offset 1e7", value: normal(1e7, 1), offset: true },
  { name: "1 ± 1e-6", value: normal(1, 1e-6), offset: true },
  { name: "1 ± 1e-6, eps 0", value: normal(1, 1e-6), offset: true, eps: 0 },
  { name: "0 ± 1e-6", value: normal(0, 1e-6) },
  { name: "scale 1e18", value: normal(0, 1e18) },
  { name: "scale 1e18 at 1e18", value: normal(1e18, 1e18) },
  { name: "scale 1e19", value: normal(0, 1e19) },
  { name: "scale 1e25", value: normal(0, 1e25) },
  { name: "denormals", value: normal(0, 1e-40) },
  { name: "scale 1e-20, eps 0", value: normal(0, 1e-20), eps: 0 },
  { name: "scale 1e-25, eps 0", value: normal(0, 1e-25), eps: 0 },
  { name: "dy at 1e4", value: normal(0, 1), meanDy: 1e4 },
  { name: "dy at 1e6, offset 1e6", value: normal(1e6, 1), offset: true, meanDy: 1e6 },
  { name: "outlier 1e6", value: outlier(1e6) },
  { name: "outlier 1e12", value: outlier(1e12) },
  { name: "outlier 1e18", value: outlier(1e18) },
];

interface Results {
  readonly y: ArrayLike<number>;
  readonly dx: ArrayLike<number>;
  readonly dweight: ArrayLike<number>;
  readonly dbias: ArrayLike<number>;
  readonly mean: ArrayLike<number>;
  readonly variance: ArrayLike<number>;
}

interface Problem {
  readonly layout: Layout;
  readonly channels: reference.Channels;
  readonly x: Float32Array;
  readonly dy: Float32Array;
  readonly weight: Float32Array;
  readonly eps: number;
}

function problemOf(layout: Layout, { value, meanDy = 0, eps = 1e-5 }: Distribution): Problem {
  const random = new Random(17);
  const channels = reference.channelsOf(layout.shape, layout.axis);
  const seen = new Int32Array(channels.number);
  const x = Float32Array.from(channels.of, (c) => {
    seen[c] = (seen[c] as number) + 1;
    return value(random, (seen[c] as number) - 1);
  });
  const dy = random.normals(x.length, meanDy);
  return { layout, channels, x, dy, weight: random.normals(channels.number, 1, 0.3), eps };
}

/** A problem's x or dy in memory. */
function place(values: Float32Array, { shape, strided }: Layout): Tensor {
  if (!strided) return new Placed(values, shape).tensor;
  // A last axis of size 1, of 2: no two elements are neighbours.
  const pads = [...shape.map(() => [0, 0] as const), [0, 1] as const];
  return new Placed(values, [...shape, 1], { lead: 1, pads }).tensor;
}

/** The library's results; the statistics are running ones that forget at once. */
function ours({ layout, channels, x, dy, weight, eps }: Problem): Results {
  return scope(() => {
    const [mean, variance] = [0, 1].map(() => Tensor.zeros([channels.number])) as [Tensor, Tensor];
    const { y, saved } = batchNormTraining(place(x, layout), {
      weight: Tensor.from(weight),
      runningMean: mean,
      runningVar: variance,
      runningVariance: "biased",
      momentum: 1,
      eps,
      axis: layout.axis,
    });
    const { dx, weightGrad, biasGrad } = batchNormBackward(place(dy, layout), { saved });
    return copied({ y, dx, dweight: weightGrad, dbias: biasGrad, mean, variance });
  });
}

function copied(tensors: Record<keyof Results, Tensor | null>): Results {
  const copies = Object.entries(tensors).map(([name, tensor]) => [name, tensor?.toFloat32Array()]);
  return Object.fromEntries(copies) as Results;
}

/**
 * The textbook form in float32, with the roundings of PyTorch's CPU kernels (2.x,
 * aten/src/ATen/native/cpu/batch_norm_kernel.cpp): mean and 1/σ as float32,
 * y = x·a + (β − mean·a), dx = (dy − mean dy − (x − mean)·k)/σ·γ with
 * k = Σdy·(x − mean)/σ²/n.
 */
function textbook(problem: Problem): Results {
  const { channels, x, dy, weight, eps } = problem;
  const { number, of } = channels;
  const n = of.length / number;
  const centered = (i: number, c: number) => round((x[i] as number) - (mean[c] as number));
  const inStatistics = sumsOf(problem, "statistics");
  const inGradients = sumsOf(problem, "gradients");
  const mean = inStatistics((i) => x[i] as number).map((sum) => sum / n);
  const squares = inStatistics((i, c) => round(centered(i, c) ** 2));
  const variance = squares.map((sum) => sum / n);
  const inverse = squares.map((sum) => 1 / Math.sqrt(sum / n + eps));
  const a = inverse.map((inverse, c) => inverse * (weight[c] as number));
  const b = a.map((a, c) => 0 - round((mean[c] as number) * a));
  const dbias = inGradients((i) => dy[i] as number);
  const dot = inGradients((i, c) => round(centered(i, c) * (dy[i] as number)));
  const meanDy = dbias.map((sum) => sum / n);
  const k = dot.map((dot, c) => {
    const s = inverse[c] as number;
    return round(round(dot * s) * s) / n;
  });
  return {
    y: x.map((x, i) => round(x * (a[of[i] as number] as number)) + (b[of[i] as number] as number)),
    dx: dy.map((dy, i) => {
      const c = of[i] as number;
      const projection = round(centered(i, c) * (k[c] as number));
      const residual = round(round(dy - (meanDy[c] as number)) - projection);
      return round(residual * (inverse[c] as number)) * (weight[c] as number);
    }),
    dweight: dot.map((dot, c) => dot * (inverse[c] as number)),
    dbias,
    mean,
    variance,
  };
}

/**
 * Sums of each channel as PyTorch makes them. Channels-last: one row of channels
 * after another, in float32. Channels-first: float64; but gradients in 8 float32
 * lanes along each contiguous run.
 */
function sumsOf({ layout, channels: { number, of } }: Problem, what: "statistics" | "gradients") {
  const { shape, axis, channelsFirst } = layout;
  const run = channelsFirst ? shape.slice(axis + 1).reduce((a, b) => a * b, 1) : of.length;
  return (value: (i: number, c: number) => number): Float32Array => {
    const sums = new Float64Array(number);
    if (!channelsFirst || what === "statistics") {
      const add = channelsFirst ? (sum: number) => sum : round;
      of.forEach((c, i) => {
        sums[c] = add((sums[c] as number) + value(i, c));
      });
      return Float32Array.from(sums);
    }
    for (let start = 0; start < of.length; start += run) {
      const c = of[start] as number;
      const lanes = new Float32Array(8);
      for (let i = 0; i < run; i++) {
        lanes[i % 8] = (lanes[i % 8] as number) + value(start + i, c);
      }
      sums[c] = (sums[c] as number) + lanes.reduce((a, b) => round(a + b));
    }
    return Float32Array.from(sums);
  };
}

/** The truth, and the magnitude of the terms that each result is made of. */
function truthOf({ channels, x, dy, weight, eps }: Problem) {
  const { of } = channels;
  const n = of.length / channels.number;
  const parameters = { weight, eps };
  const batch = reference.statistics(x, channels);
  const s = reference.inverseStd(batch, eps);
  // An error of the mean is a share of σ, and reaches the elements near the mean too.
  const X = reference.normalized(x, channels, batch, eps).map((xHat, i) => {
    const c = of[i] as number;
    return Math.abs(xHat) + Math.sqrt(batch.variance[c] as number) * (s[c] as number);
  });
  const meanDy = meanOf((i) => dy[i] as number, channels);
  const apart = Float64Array.from(dy, (dy, i) =>
    Math.abs(dy - (meanDy[of[i] as number] as number)),
  );
  const absDy = meanOf((i) => apart[i] as number, channels);
  const absProduct = meanOf((i) => (X[i] as number) * (apart[i] as number), channels);
  const truth: Results = {
    y: reference.forward(x, channels, batch, parameters),
    ...reference.backward(x, dy, channels, parameters),
    mean: batch.mean,
    // Where float32 ends, ∞ is the right value.
    variance: batch.variance.map((value) => (round(value) < Infinity ? value : Infinity)),
  };
  const magnitude: Results = {
    y: X.map((X, i) => Math.abs(weight[of[i] as number] as number) * X),
    dx: X.map((X, i) => {
      const c = of[i] as number;
      const [scale, product] = [s[c] as number, absProduct[c] as number];
      const terms = (apart[i] as number) + (absDy[c] as number) + X * product;
      return Math.abs(weight[c] as number) * scale * terms;
    }),
    dweight: absProduct.map((mean) => n * mean),
    dbias: meanDy.map((mean, c) => n * (Math.abs(mean) + (absDy[c] as number))),
    mean: batch.mean.map((mean, c) => ulp(mean) / U + Math.sqrt(batch.variance[c] as number)),
    variance: batch.variance.map((variance) => ulp(variance) / U),
  };
  return { truth, magnitude };
}

/** One number for each result. */
type Figures = Record<keyof Results, number>;

const QUANTITIES = ["y", "dx", "dweight", "dbias", "mean", "variance"] as const;

/**
 * The worst error of every result, in roundings of its terms: U = 2⁻²⁴ times their
 * magnitude. Of statistics in ULP, the spacing of the float32 that they are stored in.
 */
function errorsOf(got: Results, { truth, magnitude }: ReturnType<typeof truthOf>): Figures {
  const worst = (quantity: keyof Results) => {
    let worst = 0;
    for (let i = 0; i < truth[quantity].length; i++) {
      const [a, b] = [got[quantity][i] as number, truth[quantity][i] as number];
      const error = a === b ? 0 : Math.abs(a - b);
      const unit = U * (magnitude[quantity][i] as number) + SMALLEST;
      worst = Math.max(worst, Number.isNaN(error) ? Infinity : error / unit);
    }
    return worst;
  };
  return Object.fromEntries(QUANTITIES.map((q) => [q, worst(q)])) as Figures;
}

/** What rounding allows, in the units of {@link errorsOf}. */
const LIMITS: Figures = {
  // (x − c)·a + b: x − c, a and the product round, then b, then the sum; 1 for 1/σ and the mean.
  y: 6,
  // (x − c)/σ times its factor rounds 5 times, (dy − e)·a 3 times; two sums; 1 for the statistics.
  dx: 8,
  // Terms round as often up as down: what is left is the float32 result, and as much again.
  dweight: 2,
  dbias: 2,
  // Half an ULP for float32, and less than that from the sums.
  mean: 1,
  // Half an ULP for float32; squares of a block round in one direction at times.
  variance: 2,
};

/** One ULP, in the units of {@link errorsOf}. */
const ONE_ULP: Figures = { y: 2, dx: 2, dweight: 2, dbias: 2, mean: 1, variance: 1 };

const report: string[] = [];

afterAll(() => {
  const columns = QUANTITIES.map((name) => name.padStart(20)).join("");
  const lines = [`${"".padEnd(34)}${columns}`, ...report];
  console.log(`worst errors, ours / PyTorch's form, in roundings or ULP\n${lines.join("\n")}`);
});

function note(name: string, ours: Figures, theirs: Figures): void {
  const cell = (q: keyof Results) => `${ours[q].toPrecision(2)} / ${theirs[q].toPrecision(2)}`;
  report.push(name.padEnd(34) + QUANTITIES.map((q) => cell(q).padStart(20)).join(""));
}

describe.each(LAYOUTS)("training on $name", (layout) => {
  for (const distribution of DISTRIBUTIONS) {
    const { name, offset } = distribution;
    let measured: [mine: Figures, theirs: Figures] | undefined;
    const errors = () => {
      if (measured) return measured;
      const problem = problemOf(layout, distribution);
      const truth = truthOf(problem);
      measured = [errorsOf(ours(problem), truth), errorsOf(textbook(problem), truth)];
      note(`${name}, ${layout.name}`, ...measured);
      return measured;
    };

    it(`${name}: every result is within a few roundings of the truth`, () => {
      const [mine] = errors();
      for (const q of QUANTITIES) expect.soft(mine[q], q).toBeLessThanOrEqual(LIMITS[q]);
    });

    it(`${name}: no result is more than one ULP further from the truth than PyTorch's`, () => {
      const [mine, theirs] = errors();
      for (const q of QUANTITIES) {
        // Where theirs leaves float32's range, no error would be further.
        const bound = Number.isFinite(theirs[q]) ? theirs[q] + ONE_ULP[q] : LIMITS[q];
        expect.soft(mine[q], q).toBeLessThanOrEqual(bound);
      }
    });

    if (!offset) continue;
    it(`${name}: y and dγ are 100 times nearer to the truth than the textbook's`, () => {
      const [mine, theirs] = errors();
      expect(mine.y).toBeLessThanOrEqual(theirs.y / 100);
      expect(mine.dweight).toBeLessThanOrEqual(theirs.dweight / 100);
    });
  }
});

describe.each(LAYOUTS)("inference on $name", (layout) => {
  for (const distribution of DISTRIBUTIONS.filter(({ offset, eps }) => offset && eps !== 0)) {
    it(`${distribution.name}: y is 100 times nearer to the truth than the textbook's`, () => {
      const problem = problemOf(layout, distribution);
      const { channels, x, weight, eps } = problem;
      const { of } = channels;
      const batch = reference.statistics(x, channels);
      const given = [batch.mean, batch.variance].map((v) => Float32Array.from(v));
      const [mean, variance] = given as [Float32Array, Float32Array];
      const statistics = { mean: Float64Array.from(mean), variance: Float64Array.from(variance) };
      const truth = reference.forward(x, channels, statistics, { weight, eps });
      const y = scope(() =>
        batchNormInference(place(x, layout), {
          weight: Tensor.from(weight),
          mean: Tensor.from(mean),
          variance: Tensor.from(variance),
          eps,
          axis: layout.axis,
        }).toFloat32Array(),
      );
      const a = variance.map((variance, c) => {
        return round(1 / Math.sqrt(variance + eps)) * (weight[c] as number);
      });
      const theirs = x.map((x, i) => {
        const c = of[i] as number;
        return round(x * (a[c] as number)) - round((mean[c] as number) * (a[c] as number));
      });
      // Given statistics are exact: x − c, a and the product round.
      expectWithin(
        y,
        truth,
        truth.map((y) => 3 * U * Math.abs(y)),
        "y",
      );
      const worst = (y: Float32Array) =>
        y.reduce((worst, y, i) => Math.max(worst, Math.abs(y - (truth[i] as number))), 0);
      expect(worst(y)).toBeLessThanOrEqual(worst(theirs) / 100);
    });
  }
});

describe.each(LAYOUTS)("inference by float64 statistics on $name", (layout) => {
  // Around constants dγ has no pivot of dy.
  for (const distribution of DISTRIBUTIONS.filter(({ eps, meanDy }) => eps !== 0 && !meanDy)) {
    it(`${distribution.name}: y and dγ are as near to the truth as the batch's own`, () => {
      const problem = problemOf(layout, distribution);
      const { channels, x, dy, weight, eps } = problem;
      const { axis } = layout;
      const { truth, magnitude } = truthOf(problem);
      const { mean, variance } = reference.statistics(x, channels);
      const results = scope(() => {
        const given = { mean, variance, weight, eps, axis };
        const { y, saved } = batchNormInference(place(x, layout), { ...given, saved: true });
        const alone = batchNormInference(place(x, layout), given);
        expect(alone.toFloat32Array()).toEqual(y.toFloat32Array());
        const { weightGrad } = batchNormBackward(place(dy, layout), { saved });
        return { y: y.toFloat32Array(), dweight: (weightGrad as Tensor).toFloat32Array() };
      });
      for (const q of ["y", "dweight"] as const) {
        const bound = Array.from(magnitude[q], (one) => LIMITS[q] * (U * one + SMALLEST));
        expectWithin(results[q], truth[q], bound, q);
      }
    });
  }
});

describe.each(["keras", "onnx", "flax"] as const)("the %s preset with eps 0", (preset) => {
  it.each(LAYOUTS)("normalizes a σ of 1e-20 within a few roundings on $name", (layout) => {
    const distribution = { name: "", value: normal(0, 1e-20), eps: 0 };
    const problem = problemOf(layout, distribution);
    const { channels, x, dy, weight } = problem;
    // Momentum 0 keeps nothing of the old statistics.
    using layer = new BatchNorm(channels.number, {
      preset,
      eps: 0,
      momentum: 0,
      axis: layout.axis,
    });
    layer.weight?.data.set(weight);
    const results = scope(() => {
      const y = layer.train().forward(place(x, layout));
      const dx = layer.backward(place(dy, layout));
      const [dweight, dbias] = [layer.weight?.grad ?? null, layer.bias?.grad ?? null];
      return copied({ y, dx, dweight, dbias, mean: layer.runningMean, variance: layer.runningVar });
    });
    const errors = errorsOf(results, truthOf(problem));
    for (const q of QUANTITIES) expect(errors[q], q).toBeLessThanOrEqual(LIMITS[q]);
  });
});
