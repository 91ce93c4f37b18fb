/**
 * Every pair of values of a layer's options, in layers that take two training steps and an
 * evaluation, each with its backward pass, compared with the formulas in float64. A pair that
 * can't be is refused. All triples would be thousands of layers; most faults of combinations
 * need two.
 */
import {
  BatchNorm,
  BatchNormalization,
  type BatchNormLayerOptions,
  memoryUsage,
  type PlainTensor,
  type PresetName,
  presets,
  type StatisticsSwitch,
  scope,
  Tensor,
} from "batchnorm-wasm";
import { describe, expect, test } from "vitest";
import { Random } from "../scripts/random.mjs";
import {
  boundOfMoved,
  expectWithin,
  type Truth,
  truthOfInference,
  truthOfTraining,
  U,
} from "./helpers.js";
import * as reference from "./reference/batch.mjs";

/** What distinguishes two layers, and how they are used. */
interface Case {
  preset: PresetName;
  eps: number | undefined;
  momentum: number | null | undefined;
  affine: boolean | undefined;
  scale: boolean | undefined;
  offset: boolean | undefined;
  trackRunningStats: boolean | undefined;
  axis: number | undefined;
  runningVariance: "biased" | "unbiased" | undefined;
  statistics: StatisticsSwitch | undefined;
  updateRunningStats: boolean | "auto" | undefined;
  requiresGrad: boolean | undefined;
  /** How the layer is told its mode: not at all is the preset's. */
  mode: "default" | "train(), eval()" | ".training" | "forward's option";
  /** How the options are given that are properties, too. */
  given: "to the constructor" | "as properties";
  features: "known" | "learned";
  /** In and out as new tensors, over given ones (dx over dy), or as plain data. */
  io: "new" | "out" | "plain";
}

type Factors<T> = { readonly [Name in keyof T]: readonly T[Name][] };

const FACTORS: Factors<Case> = {
  preset: ["torch", "keras", "onnx", "flax"],
  eps: [undefined, 0, 0.1],
  momentum: [undefined, 0, 0.25, 1, null],
  affine: [undefined, true, false],
  scale: [undefined, true, false],
  offset: [undefined, true, false],
  trackRunningStats: [undefined, true, false],
  axis: [undefined, 0, 1, -1],
  runningVariance: [undefined, "biased", "unbiased"],
  statistics: [undefined, "auto", "batch", "running"],
  updateRunningStats: [undefined, "auto", true, false],
  requiresGrad: [undefined, true, false],
  mode: ["default", "train(), eval()", ".training", "forward's option"],
  given: ["to the constructor", "as properties"],
  features: ["known", "learned"],
  io: ["new", "out", "plain"],
};

/** The pairs that can't be, and the error that says so. */
const REFUSED: readonly [code: string, of: Partial<Case>][] = [
  ["unsupported", { momentum: null, preset: "keras" }],
  ["unsupported", { momentum: null, preset: "onnx" }],
  ["unsupported", { momentum: null, preset: "flax" }],
  ["unsupported", { trackRunningStats: false, statistics: "running" }],
  ["unsupported", { trackRunningStats: false, updateRunningStats: true }],
  ["mode", { preset: "flax", mode: "default" }],
];

const has = <T>(one: T, part: Partial<T>) =>
  (Object.keys(part) as (keyof T)[]).every((name) => Object.is(one[name], part[name]));

/** Whether a layer can be, and takes all its steps. */
function works(one: Case): boolean {
  if (REFUSED.some(([, pair]) => has(one, pair))) return false;
  // PyTorch's refusal of eps = 0 in training takes three options.
  const byBatch = one.statistics === "batch" || (one.statistics ?? "auto") === "auto";
  return !(one.preset === "torch" && one.eps === 0 && byBatch);
}

/** All pairs of values of two options. */
function pairsOf<T>(factors: Factors<T>): Partial<T>[] {
  const names = Object.keys(factors) as (keyof T)[];
  return names.flatMap((a, i) =>
    names
      .slice(i + 1)
      .flatMap((b) =>
        factors[a].flatMap((valueOfA) =>
          factors[b].map((valueOfB) => ({ [a]: valueOfA, [b]: valueOfB }) as Partial<T>),
        ),
      ),
  );
}

/** Few cases that have all pairs, but those that never work: each the best of some random ones. */
function allPairs<T>(factors: Factors<T>, works: (one: T) => boolean, random: Random): T[] {
  const names = Object.keys(factors) as (keyof T)[];
  let missing = pairsOf(factors);
  const cases: T[] = [];
  for (;;) {
    let best: { one: T; rest: Partial<T>[] } | undefined;
    for (let tries = 0; tries < 200 && missing.length > 0; tries++) {
      const one = { ...missing[0] } as T;
      for (const name of names) {
        const values = factors[name];
        if (!(name in (one as object)))
          one[name] = values[random.below(values.length)] as T[keyof T];
      }
      if (!works(one)) continue;
      const rest = missing.filter((pair) => !has(one, pair));
      if (best === undefined || rest.length < best.rest.length) best = { one, rest };
    }
    if (best) cases.push(best.one);
    missing = best?.rest ?? missing.slice(1);
    if (missing.length === 0) return cases;
  }
}

const SHAPE = [4, 3, 5];
const SIZE = 60;

/** What a case means, once the preset has its say. */
function meaning(one: Case) {
  const preset = presets[one.preset];
  const momentum = one.momentum === undefined ? preset.momentum : one.momentum;
  return {
    eps: one.eps ?? preset.eps,
    /** The weight of a batch, after `count` others. */
    share: (count: number) =>
      momentum === null ? 1 / (count + 1) : one.preset === "torch" ? momentum : 1 - momentum,
    hasWeight: one.scale ?? one.affine ?? true,
    hasBias: one.offset ?? one.affine ?? true,
    tracks: one.trackRunningStats ?? true,
    axis: one.axis ?? preset.axis,
    runningVariance: one.runningVariance ?? preset.runningVariance,
    statistics: one.statistics ?? "auto",
    update: one.updateRunningStats ?? "auto",
    requiresGrad: one.requiresGrad ?? true,
    training: preset.training as boolean,
  };
}

function layerOf(one: Case): BatchNorm {
  const { mode: _, given, features, io: _io, preset, ...options } = one;
  const { eps, momentum, statistics, updateRunningStats, requiresGrad, ...fixed } = options;
  const settings = { eps, momentum, statistics, updateRunningStats, requiresGrad };
  const count = SHAPE.at(meaning(one).axis) as number;
  const early = given === "to the constructor" ? settings : {};
  const bn = new BatchNorm(features === "known" ? count : null, {
    ...{ preset, ...fixed },
    ...(early as BatchNormLayerOptions),
  });
  if (given === "as properties") {
    for (const [name, value] of Object.entries(settings)) {
      if (value !== undefined) Object.assign(bn, { [name]: value });
    }
  }
  return bn;
}

const copied = (tensor: Tensor | null | undefined) => tensor?.toFloat32Array() ?? null;

/** A forward and a backward pass, and everything of the layer as the formulas say. */
function expectStep(
  bn: BatchNorm,
  one: Case,
  wanted: "training" | "evaluation",
  random: Random,
  name: string,
): void {
  const m = meaning(one);
  const training = one.mode === "default" ? m.training : wanted === "training";
  if (one.mode === "train(), eval()") bn.train(training);
  if (one.mode === ".training") bn.training = training;
  const channels = reference.channelsOf(SHAPE, m.axis);
  const { number } = channels;
  const filled = (value: number) => new Float32Array(number).fill(value);
  const [x, dy] = [random.normals(SIZE, 2, 3), random.normals(SIZE, 0.5)];

  const count = bn.numBatchesTracked;
  // Rounded to float32, as the layer has them: what a step adds is judged by itself.
  const running = {
    mean: Float64Array.from(copied(bn.runningMean) ?? filled(0)),
    variance: Float64Array.from(copied(bn.runningVar) ?? filled(1)),
  };
  const before = { weight: copied(bn.weight?.grad), bias: copied(bn.bias?.grad) };
  const parameters = {
    weight: m.hasWeight ? (copied(bn.weight) ?? filled(1)) : null,
    bias: m.hasBias ? (copied(bn.bias) ?? filled(0)) : null,
    eps: m.eps,
  };
  const byBatch = m.statistics === "auto" ? training || !m.tracks : m.statistics === "batch";
  const update = m.update === "auto" ? training && byBatch && m.tracks : m.update;
  const batch = truthOfTraining(x, dy, channels, parameters);
  const truth: Truth = byBatch ? batch : truthOfInference(x, dy, channels, running, parameters);

  const options = one.mode === "forward's option" ? { training } : {};
  const { input, gradient, out } = operands(one.io, x, dy);
  const y = bn.forward(input, { ...options, out });
  if (out) expect(y).toBe(out);
  expectWithin(arrayOf(y), truth.y, truth.bounds.y, `${name}: y`);
  expect(bn.saved?.statistics).toBe(byBatch ? "batch" : "running");
  expect([bn.weight, bn.bias, bn.runningMean, bn.runningVar].map((v) => v?.size ?? null)).toEqual([
    m.hasWeight ? number : null,
    m.hasBias ? number : null,
    m.tracks ? number : null,
    m.tracks ? number : null,
  ]);

  expect(bn.numBatchesTracked).toBe(count + (update ? 1 : 0));
  if (m.tracks) {
    const [n, share] = [SIZE / number, update ? m.share(count) : 0];
    const correction = m.runningVariance === "unbiased" ? n / (n - 1) : 1;
    const moved = reference.moved(running, batch.statistics, n, share, m.runningVariance);
    const exact = { mean: new Float64Array(number), variance: new Float64Array(number) };
    const bound = boundOfMoved(moved, exact, batch.bounds, share, correction);
    expectWithin(copied(bn.runningMean) ?? [], moved.mean, bound.mean, `${name}: mean`);
    expectWithin(copied(bn.runningVar) ?? [], moved.variance, bound.variance, `${name}: variance`);
    if (!update) expect(copied(bn.runningVar)).toEqual(Float32Array.from(running.variance));
  }

  const dx = bn.backward(gradient, out ? { out: gradient as Tensor } : {});
  if (out) expect(dx).toBe(gradient);
  const { gradients, bounds } = truth;
  expectWithin(arrayOf(dx), gradients.dx, bounds.dx, `${name}: dx`);
  for (const [parameter, old, added, bound] of [
    [bn.weight, before.weight, gradients.dweight, bounds.dweight],
    [bn.bias, before.bias, gradients.dbias, bounds.dbias],
  ] as const) {
    const got = copied(parameter?.grad);
    if (parameter === null || !m.requiresGrad) {
      expect(got).toBeNull();
      continue;
    }
    const sums = added.map((value, c) => value + (old?.[c] ?? 0));
    const rounded = bound.map((value, c) => value + U * Math.abs(sums[c] as number));
    expectWithin(got ?? [], sums, rounded, `${name}: gradient`);
  }
}

function operands(io: Case["io"], x: Float32Array, dy: Float32Array) {
  const plain = (data: Float32Array): PlainTensor => ({ data, shape: SHAPE });
  if (io === "plain") return { input: plain(x), gradient: plain(dy), out: null };
  const [input, gradient] = [Tensor.from(x, SHAPE), Tensor.from(dy, SHAPE)];
  return { input, gradient, out: io === "out" ? Tensor.zeros(SHAPE) : null };
}

function arrayOf(result: ReturnType<BatchNorm["forward"]>): Float32Array {
  return result instanceof Tensor
    ? result.toFloat32Array()
    : ((result as PlainTensor).data as Float32Array);
}

function expectThreeSteps(bn: BatchNorm, one: Case, random: Random): void {
  bn.weight?.set(random.normals(bn.weight.size));
  bn.bias?.set(random.normals(bn.bias.size));
  bn.runningMean?.set(random.normals(bn.runningMean.size, 1));
  bn.runningVar?.set(random.normals(bn.runningVar.size).map((value) => value * value + 0.5));
  expectStep(bn, one, "training", random, "first");
  expectStep(bn, one, "training", random, "second");
  expectStep(bn, one, "evaluation", random, "third");
}

/** A case as text: what is not left to the preset. */
function named(one: object): string {
  const set = Object.entries(one).filter(([, value]) => value !== undefined);
  return set.map(([name, value]) => `${name} ${value}`).join(", ");
}

describe("BatchNorm: every pair of its options is as the formulas say, or refused", () => {
  const cases = allPairs(FACTORS, works, new Random(10));

  test("every pair of values is in one of the cases below, or among the refused ones", () => {
    const refused = REFUSED.map(([, pair]) => pair);
    const missing = pairsOf(FACTORS).filter(
      (pair) => !cases.some((one) => has(one, pair)) && !refused.some((one) => has(pair, one)),
    );
    expect(missing).toEqual([]);
    expect(cases.filter((one) => !works(one))).toEqual([]);
  });

  cases.forEach((one, i) => {
    test(named(one), () => {
      const before = memoryUsage().liveStorages;
      scope(() => {
        const bn = layerOf(one);
        expectThreeSteps(bn, one, new Random(i));
        bn.dispose();
      });
      expect(memoryUsage().liveStorages).toBe(before);
    });
  });

  for (const [code, pair] of REFUSED) {
    test(`${named(pair)} is refused: ${code}`, () => {
      const random = new Random(1);
      for (let refused = 0; refused < 10; ) {
        const any = Object.entries(FACTORS).map(([name, of]) => [
          name,
          of[random.below(of.length)],
        ]);
        const one: Case = { ...Object.fromEntries(any), ...pair };
        // One reason at a time.
        if (REFUSED.some(([other, of]) => other !== code && has(one, of))) continue;
        refused += 1;
        const before = memoryUsage().liveStorages;
        expect(() => {
          const bn = layerOf(one);
          try {
            bn.forward({ data: new Float32Array(SIZE), shape: SHAPE });
          } finally {
            bn.dispose();
          }
        }).toThrow(expect.objectContaining({ code }));
        if (one.given === "to the constructor") expect(memoryUsage().liveStorages).toBe(before);
      }
    });
  }

  test("eps 0 in PyTorch's training is refused, which takes three of them", () => {
    for (const statistics of [undefined, "auto", "batch"] as const) {
      const bn = new BatchNorm(3, { eps: 0, statistics });
      const before = bn.stateDict();
      expect(() => bn.forward(Tensor.from(new Float32Array(SIZE), SHAPE))).toThrow(
        expect.objectContaining({ code: "invalid-option" }),
      );
      expect(bn.stateDict()).toEqual(before);
    }
  });
});

describe("BatchNormalization: every pair of its options is as the formulas say", () => {
  interface KerasCase {
    axis: number | undefined;
    momentum: number | undefined;
    epsilon: number | undefined;
    center: boolean | undefined;
    scale: boolean | undefined;
    trainable: boolean | undefined;
    mode: Case["mode"];
    io: Case["io"];
  }
  const factors: Factors<KerasCase> = {
    axis: [undefined, 0, 1, -1],
    momentum: [undefined, 0, 0.25, 1],
    epsilon: [undefined, 0, 0.1],
    center: [undefined, true, false],
    scale: [undefined, true, false],
    trainable: [undefined, true, false],
    mode: FACTORS.mode,
    io: FACTORS.io,
  };
  const cases = allPairs(factors, () => true, new Random(11));

  test("every pair of values is in one of the cases below", () => {
    const missing = pairsOf(factors).filter((pair) => !cases.some((one) => has(one, pair)));
    expect(missing).toEqual([]);
  });

  cases.forEach((one, i) => {
    test(named(one), () => {
      const { epsilon, center, trainable, mode, io, ...same } = one;
      const frozen = trainable === false;
      const meant: Case = {
        ...{ preset: "keras", eps: epsilon, offset: center, mode, io, ...same },
        ...{ affine: undefined, trackRunningStats: undefined, runningVariance: undefined },
        statistics: frozen ? "running" : "auto",
        updateRunningStats: frozen ? false : "auto",
        requiresGrad: !frozen,
        ...{ given: "to the constructor", features: "learned" },
      };
      scope(() => {
        const bn = new BatchNormalization({ ...same, epsilon, center, trainable });
        expectThreeSteps(bn, meant, new Random(i));
        bn.dispose();
      });
    });
  });
});
