/**
 * Golden values of PyTorch and Keras, see `fixtures/README.md`: three training steps
 * in sequence and an evaluation, in float64 on float32 inputs.
 */
import { readFileSync } from "node:fs";
import {
  BatchNorm,
  BatchNorm1d,
  BatchNorm2d,
  BatchNorm3d,
  BatchNormalization,
  batchNormBackward,
  batchNormInference,
  batchNormTraining,
  groupNorm,
  groupNormBackward,
  instanceNorm,
  instanceNormBackward,
  layerNorm,
  layerNormBackward,
  type PresetName,
  rmsNorm,
  rmsNormBackward,
  scope,
  Tensor,
} from "batchnorm-wasm";
import { afterAll, describe, expect, it } from "vitest";
import { Random } from "../scripts/random.mjs";
import {
  boundOfMoved,
  expectSameBits,
  expectWithin,
  type Truth,
  truthOfInference,
  truthOfTraining,
  ulp,
} from "./helpers.js";
import * as reference from "./reference/batch.mjs";
import { groupsOf } from "./reference/group.mjs";
import { rowsOf } from "./reference/layer.mjs";
import * as weightedReference from "./reference/weighted.mjs";
import { truthOfGroups } from "./truth-of-groups.js";
import { truthOfRows } from "./truth-of-rows.js";
import { truthOfWeights } from "./truth-of-weights.js";

type Vector = number[] | null;

/** A training step or an evaluation, with the names of both frameworks. */
interface Step {
  x: number[];
  dy?: number[];
  y: number[];
  dx?: number[];
  dweight?: Vector;
  dbias?: Vector;
  dgamma?: Vector;
  dbeta?: Vector;
  running_mean?: Vector;
  running_var?: Vector;
  num_batches_tracked?: number | null;
  moving_mean?: number[];
  moving_variance?: number[];
  mask?: number[] | null;
}

interface Case {
  op: string;
  shape: number[];
  options: Record<string, unknown>;
  weight?: Vector;
  bias?: Vector;
  gamma?: Vector;
  beta?: Vector;
  steps: Step[];
  eval: Step;
}

/** A variant of batch norm, with no evaluation. */
interface Variant extends Case {
  variant: string;
  axis: number;
  running_mean: number[];
  running_var: number[];
  weights_shape: number[];
  steps: (Step & { dy: number[]; weights: number[] })[];
}

function read<C = Case>(file: string): C[] {
  const text = readFileSync(new URL(`fixtures/${file}`, import.meta.url), "utf8");
  return (JSON.parse(text) as { cases: C[] }).cases;
}

const name = (one: Case, index: number) =>
  `#${index} [${one.shape.join(", ")}] ${JSON.stringify(one.options)}`;

/**
 * The worst error of every quantity: absolute; in ULP, the spacing of float32 at the
 * expected value, but at no less than ε = 2⁻²³ times the array's largest magnitude;
 * in spacings at that largest magnitude, in which cancellation does not count; and as
 * a share of what rounding allows.
 */
class Worst {
  readonly #rows = new Map<string, [number, number, number, number]>();

  add(
    quantity: string,
    got: ArrayLike<number>,
    want: ArrayLike<number>,
    bound: ArrayLike<number>,
  ): void {
    const largest = Math.max(...Array.from(want, Math.abs));
    const row = this.#rows.get(quantity) ?? [0, 0, 0, 0];
    this.#rows.set(quantity, row);
    for (let i = 0; i < want.length; i++) {
      const error = Math.abs((got[i] as number) - (want[i] as number));
      const value = Math.max(Math.abs(want[i] as number), largest * 2 ** -23);
      const errors = [
        error,
        error / ulp(value),
        error / ulp(largest),
        error / (bound[i] as number),
      ];
      errors.forEach((error, column) => {
        row[column] = Math.max(row[column] as number, error);
      });
    }
  }

  toString(): string {
    const head = ["absolute", "ULP", "ULP of largest", "share of bound"];
    const lines = [...this.#rows].map(([quantity, [absolute, ...others]]) => {
      const columns = [absolute.toExponential(2), ...others.map((error) => error.toFixed(2))];
      return [quantity, ...columns];
    });
    return [["", ...head], ...lines]
      .map(([first = "", ...rest]) => first.padEnd(18) + rest.map((c) => c.padStart(16)).join(""))
      .join("\n");
  }
}

const worst = { torch: new Worst(), keras: new Worst() };

afterAll(() => {
  for (const [framework, errors] of Object.entries(worst)) {
    console.log(`worst error against ${framework}, float32 against float64\n${errors}`);
  }
});

/** A layer under test, the framework's case, and what differs between frameworks. */
interface Subject {
  layer: BatchNorm;
  errors: Worst;
  shape: readonly number[];
  channels: reference.Channels;
  /** Of the framework, in float64. */
  parameters: reference.Parameters;
  /** Weight of the new batch in step k, from 0 on. */
  share: (k: number) => number;
  correction: number;
}

/** Compares one array with its golden values. */
function compare(
  { errors }: Pick<Subject, "errors">,
  quantity: string,
  got: ArrayLike<number> | undefined,
  want: ArrayLike<number> | null | undefined,
  bound: ArrayLike<number>,
): void {
  if (!want) {
    expect(got, `${quantity} has no golden values`).toBeUndefined();
    return;
  }
  if (!got) expect.fail(`${quantity} is missing`);
  expectWithin(got, want, bound, quantity);
  errors.add(quantity, got, want, bound);
}

/** One forward and backward pass against a step's y and gradients. */
function compareStep(subject: Subject, step: Step, truth: Truth, prefix: string): void {
  const { layer, shape } = subject;
  scope(() => {
    const y = layer.forward(Tensor.from(step.x, shape), { mask: step.mask });
    compare(subject, `${prefix}y`, y.toFloat32Array(), step.y, truth.bounds.y);
    if (!step.dy) return;
    layer.zeroGrad();
    const dx = layer.backward(Tensor.from(step.dy, shape));
    const [dweight, dbias] = [layer.weight, layer.bias].map((p) => p?.grad?.toFloat32Array());
    const { bounds } = truth;
    compare(subject, `${prefix}dx`, dx.toFloat32Array(), step.dx, bounds.dx);
    compare(subject, `${prefix}dweight`, dweight, step.dweight ?? step.dgamma, bounds.dweight);
    compare(subject, `${prefix}dbias`, dbias, step.dbias ?? step.dbeta, bounds.dbias);
  });
}

/** What Keras adds to W where it divides by it. */
const KERAS_EPSILON = 1e-7;

/** The truth of a training step, with or without a mask. */
function truthOfStep({ shape, channels, parameters }: Subject, step: Step): Truth {
  const { x, dy = [], mask } = step;
  if (!mask) return truthOfTraining(x, dy, channels, parameters);
  const weighted = weightedReference.weighted(shape, -1, mask);
  return truthOfWeights(x, dy, weighted, parameters, KERAS_EPSILON / weighted.total);
}

function compareCase(subject: Subject, { steps, eval: evaluation }: Case): void {
  const { layer, channels, parameters } = subject;
  const { number } = channels;
  const tracks = Boolean(steps[0]?.running_mean ?? steps[0]?.moving_mean);
  let bound: reference.Statistics = {
    mean: new Float64Array(number),
    variance: new Float64Array(number),
  };
  let running = bound;
  layer.train();
  steps.forEach((step, k) => {
    const truth = truthOfStep(subject, step);
    compareStep(subject, step, truth, "");
    const [mean, variance] = [layer.runningMean, layer.runningVar].map((t) => t?.toFloat32Array());
    running = {
      mean: Float64Array.from(step.running_mean ?? step.moving_mean ?? []),
      variance: Float64Array.from(step.running_var ?? step.moving_variance ?? []),
    };
    bound = boundOfMoved(running, bound, truth.bounds, subject.share(k), subject.correction);
    compare(subject, "running mean", mean, tracks ? running.mean : null, bound.mean);
    compare(
      subject,
      "running variance",
      variance,
      tracks ? running.variance : null,
      bound.variance,
    );
    if (step.num_batches_tracked !== undefined) {
      expect(layer.numBatchesTracked, "num_batches_tracked").toBe(step.num_batches_tracked ?? 0);
    }
  });
  layer.eval();
  const dy = evaluation.dy ?? evaluation.x.map(() => 0);
  const truth = tracks
    ? truthOfInference(evaluation.x, dy, channels, running, parameters, bound)
    : truthOfTraining(evaluation.x, dy, channels, parameters);
  compareStep(subject, evaluation, truth, "evaluation ");
}

const torchCases = read("torch.json");
const torchBatchNorm = torchCases.filter(({ op }) => op === "batch_norm");
const torchGroupNorm = torchCases.filter((one): one is Case & Step & { dy: number[] } =>
  ["group_norm", "instance_norm"].includes(one.op),
);

const torchRowNorm = torchCases.filter((one): one is Case & Step & { dy: number[] } =>
  ["layer_norm", "rms_norm"].includes(one.op),
);

const SPELLINGS = { 2: BatchNorm1d, 3: BatchNorm1d, 4: BatchNorm2d, 5: BatchNorm3d } as const;

/** PyTorch's options in our spelling. */
function torchOptions({ options }: Case) {
  const { track_running_stats: trackRunningStats, ...same } = options;
  return {
    ...(same as { eps?: number; momentum?: number | null; affine?: boolean }),
    ...(trackRunningStats === undefined ? {} : { trackRunningStats: trackRunningStats as boolean }),
  };
}

/** The weight of the new batch in step k, from 0 on. */
function torchShare(one: Case, k: number): number {
  const { momentum = 0.1 } = torchOptions(one);
  return momentum === null ? 1 / (k + 1) : momentum;
}

function torchSubject(one: Case, layer: BatchNorm): Subject {
  const { shape, weight, bias } = one;
  const { eps = 1e-5 } = torchOptions(one);
  const channels = reference.channelsOf(shape, 1);
  const count = channels.of.length / channels.number;
  if (weight && bias) {
    layer.weight?.data.set(weight);
    layer.bias?.data.set(bias);
  }
  return {
    layer,
    errors: worst.torch,
    shape,
    channels,
    parameters: { weight: weight ?? null, bias: bias ?? null, eps },
    share: (k) => torchShare(one, k),
    correction: count / (count - 1),
  };
}

describe("PyTorch's golden values", () => {
  it("has 13 batch norm cases, 4 of group and instance norm, and 3 of layer and RMS norm", () => {
    expect(torchBatchNorm).toHaveLength(13);
    expect(torchGroupNorm).toHaveLength(4);
    expect(torchRowNorm.map(({ op }) => op)).toEqual(["layer_norm", "layer_norm", "rms_norm"]);
  });

  torchRowNorm.forEach((one, index) => {
    const { op, shape, options, x, dy, weight = null, bias = null } = one;

    it(`${op} does what PyTorch does: ${name(one, index)}`, () => {
      const { normalized_shape: normalized, eps = 2 ** -23 } = options as {
        normalized_shape: number[];
        eps?: number;
      };
      const axes = normalized.map((_, i) => i - normalized.length);
      const [norm, input] = [op === "layer_norm" ? "layer" : "rms", Tensor.from(x, shape)] as const;
      const given = { axes, eps, weight: weight && Tensor.from(weight, normalized) };
      const gradient = Tensor.from(dy, shape);
      const forward =
        norm === "layer"
          ? layerNorm(input, { ...given, bias, saved: true })
          : rmsNorm(input, { ...given, saved: true });
      const back: { dx: Tensor; weightGrad: Tensor | null; biasGrad?: Tensor | null } =
        norm === "layer"
          ? layerNormBackward(gradient, { saved: forward.saved })
          : rmsNormBackward(gradient, { saved: forward.saved });
      const parameters = { weight, bias, eps };
      const { bounds } = truthOfRows(norm, x, dy, rowsOf(shape, axes), parameters);
      const subject = { errors: worst.torch };
      compare(subject, "y by row", forward.y.data, one.y, bounds.y);
      compare(subject, "dx by row", back.dx.data, one.dx, bounds.dx);
      compare(subject, "dweight by row", back.weightGrad?.data, one.dweight, bounds.dweight);
      if (bias) compare(subject, "dbias by row", back.biasGrad?.data, one.dbias, bounds.dbias);
      expect(back.weightGrad?.shape).toEqual(weight ? normalized : undefined);
    });
  });

  torchGroupNorm.forEach((one, index) => {
    const { op, shape, options, x, dy, weight = null, bias = null } = one;

    it(`${op} does what PyTorch does: ${name(one, index)}`, () => {
      const { groups, eps } = options as { groups?: number; eps: number };
      const given = { eps, weight: Tensor.from(weight ?? []), bias: Tensor.from(bias ?? []) };
      const all = { ...given, saved: true as const };
      const input = Tensor.from(x, shape);
      const { y, saved } = groups
        ? groupNorm(input, { ...all, numGroups: groups })
        : instanceNorm(input, all);
      const back = groups ? groupNormBackward : instanceNormBackward;
      const { dx, weightGrad, biasGrad } = back(Tensor.from(dy, shape), { saved });
      const number = groups ?? (shape[1] as number);
      const parameters = { weight, bias, eps };
      const { bounds } = truthOfGroups(x, dy, groupsOf(shape, 1, number), parameters);
      const subject = { errors: worst.torch };
      compare(subject, "y by group", y.data, one.y, bounds.y);
      compare(subject, "dx by group", dx.data, one.dx, bounds.dx);
      compare(subject, "dweight by group", weightGrad?.data, one.dweight, bounds.dweight);
      compare(subject, "dbias by group", biasGrad?.data, one.dbias, bounds.dbias);
    });
  });

  torchBatchNorm.forEach((one, index) => {
    const { shape } = one;
    const rank = shape.length as keyof typeof SPELLINGS;
    const features = shape[1] as number;

    it(`BatchNorm${Math.max(rank - 2, 1)}d does what PyTorch does: ${name(one, index)}`, () => {
      using layer = new SPELLINGS[rank](features, torchOptions(one));
      compareCase(torchSubject(one, layer), one);
    });

    it(`BatchNorm does what PyTorch does: ${name(one, index)}`, () => {
      using layer = new BatchNorm(features, { preset: "torch", ...torchOptions(one) });
      compareCase(torchSubject(one, layer), one);
    });

    it(`the functions give the layer's bits: ${name(one, index)}`, () => {
      using layer = new BatchNorm(features, torchOptions(one));
      const { share } = torchSubject(one, layer);
      scope(() => compareWithFunctions(layer, one, share));
    });
  });
});

/** The same steps through the functions. */
function compareWithFunctions(layer: BatchNorm, one: Case, share: (k: number) => number): void {
  const { shape, steps } = one;
  const features = shape[1] as number;
  const { eps } = layer;
  const [weight, bias] = [one.weight, one.bias].map((v) => (v ? Tensor.from(v) : null));
  const tracks = layer.trackRunningStats;
  const runningMean = tracks ? Tensor.zeros([features]) : null;
  const runningVar = tracks ? Tensor.from(new Array(features).fill(1)) : null;
  const parameters = { weight, bias, eps };
  [...steps, one.eval].forEach((step, k) => {
    const x = Tensor.from(step.x, shape);
    const dy = Tensor.from(step.dy as number[], shape);
    const training = k < steps.length;
    layer.train(training);
    const y = layer.forward(x);
    layer.zeroGrad();
    const dx = layer.backward(dy);

    let result: { y: Tensor; saved: NonNullable<typeof layer.saved> };
    if (training || !runningMean || !runningVar) {
      result = batchNormTraining(x, {
        ...parameters,
        runningMean: training ? runningMean : null,
        runningVar: training ? runningVar : null,
        momentum: share(k),
      });
    } else {
      const statistics = { mean: runningMean, variance: runningVar };
      result = batchNormInference(x, { ...parameters, ...statistics, saved: true });
    }
    const gradients = batchNormBackward(dy, { saved: result.saved });
    const same = (a: Tensor | null | undefined, b: Tensor | null | undefined, what: string) => {
      expect(!a, `${what} of step ${k} exists`).toBe(!b);
      if (a && b) expectSameBits(a.toFloat32Array(), b.toFloat32Array(), `${what} of step ${k}`);
    };
    same(result.y, y, "y");
    same(gradients.dx, dx, "dx");
    same(gradients.weightGrad, layer.weight?.grad, "dweight");
    same(gradients.biasGrad, layer.bias?.grad, "dbias");
    same(runningMean, layer.runningMean, "running mean");
    same(runningVar, layer.runningVar, "running variance");
  });
}

describe("the golden values of weighted statistics", () => {
  const cases = read<Variant>("torch_variants.json").filter(({ variant }) => variant === "weights");

  it("has 11 cases", () => expect(cases).toHaveLength(11));

  cases.forEach((one, index) => {
    const { shape, axis, steps, weights_shape: over, weight = null, bias = null } = one;
    const { eps, momentum } = one.options as { eps: number; momentum: number };

    it(`batchNormTraining gives them: ${name(one, index)} by [${over}]`, () => {
      scope(() => {
        const zero = new Float64Array(shape[axis] as number);
        let bound: reference.Statistics = { mean: zero, variance: zero };
        const moving = {
          runningMean: Tensor.from(one.running_mean),
          runningVar: Tensor.from(one.running_var),
        };
        const parameters = {
          weight: weight && Tensor.from(weight),
          bias: bias && Tensor.from(bias),
        };
        for (const step of steps) {
          const weights = { data: step.weights, shape: over };
          const { y, saved } = batchNormTraining(Tensor.from(step.x, shape), {
            ...{ axis, eps, momentum, weights, ...moving, ...parameters },
          });
          const back = batchNormBackward(Tensor.from(step.dy, shape), { saved });
          const weighted = weightedReference.weighted(shape, axis, step.weights, over);
          const { bounds } = truthOfWeights(step.x, step.dy, weighted, { weight, bias, eps });
          const subject = { errors: worst.torch };
          compare(subject, "y by weights", y.data, step.y, bounds.y);
          compare(subject, "dx by weights", back.dx.data, step.dx, bounds.dx);
          const { weightGrad, biasGrad } = back;
          compare(subject, "dweight by weights", weightGrad?.data, step.dweight, bounds.dweight);
          compare(subject, "dbias by weights", biasGrad?.data, step.dbias, bounds.dbias);
          const { total } = weighted;
          const moved = {
            mean: Float64Array.from(step.running_mean ?? []),
            variance: Float64Array.from(step.running_var ?? []),
          };
          const correction = total > 1 ? total / (total - 1) : 1;
          bound = boundOfMoved(moved, bound, bounds, momentum, correction);
          const { runningMean, runningVar } = moving;
          compare(subject, "running mean by weights", runningMean.data, moved.mean, bound.mean);
          const { variance } = bound;
          compare(subject, "running var by weights", runningVar.data, moved.variance, variance);
        }
      });
    });
  });
});

describe("Keras's golden values", () => {
  const cases = read("keras.json");
  const waiting = cases.filter(({ options }) => options.renorm);
  const ready = cases.filter((one) => !waiting.includes(one));
  const nameOf = (one: Case) => name(one, cases.indexOf(one));

  it("has 10 cases, 2 with masks, and 2 of renorm, which renorm.test.ts compares", () => {
    expect(cases.every(({ op }) => op === "batch_norm")).toBe(true);
    expect(ready).toHaveLength(10);
    expect(ready.filter(({ steps }) => steps[0]?.mask)).toHaveLength(2);
    expect(waiting.map(nameOf)).toEqual([
      '#10 [16, 5] {"renorm":true,"renorm_clipping":{"rmin":0.5,"rmax":2,"dmax":1},"renorm_momentum":0.9}',
      '#11 [4, 3, 3, 5] {"renorm":true,"renorm_momentum":0.99}',
    ]);
  });

  for (const one of ready) {
    it(`BatchNormalization does what Keras does: ${nameOf(one)}`, () => {
      const { shape, gamma, beta } = one;
      const options = one.options as { axis?: number; momentum?: number; epsilon?: number };
      const { axis = -1, momentum = 0.99, epsilon = 1e-3 } = options;
      using layer = new BatchNormalization(options);
      const channels = reference.channelsOf(shape, axis);
      // Builds the layer, as Keras's `build(shape)` does, and leaves it as it was.
      scope(() => layer.forward(Tensor.zeros(shape), { training: false }));
      if (gamma) layer.gamma?.data.set(gamma);
      if (beta) layer.beta?.data.set(beta);
      const subject = {
        layer,
        errors: worst.keras,
        shape,
        channels,
        parameters: { weight: gamma ?? null, bias: beta ?? null, eps: epsilon },
        share: () => 1 - momentum,
        correction: 1,
      };
      compareCase(subject, one);
    });
  }
});

describe("the reference", () => {
  // Both are float64, but sum in another order, and PyTorch's x·a + (β − mean·a)
  // cancels: a few ε = 2⁻⁵² of the largest x and of the largest result.
  const near = (got: ArrayLike<number>, want: Vector | undefined, x: number[], what: string) => {
    if (!want) return;
    const largest = Math.max(...want.map(Math.abs), ...x.map(Math.abs));
    expectWithin(got, want, new Array(want.length).fill(20 * 2 ** -52 * largest), what);
  };

  for (const [file, defaultEps, defaultAxis] of [
    ["torch.json", 1e-5, 1],
    ["keras.json", 1e-3, -1],
  ] as const) {
    const cases = read(file).filter(
      ({ op, steps, options }) => op === "batch_norm" && !steps[0]?.mask && !options.renorm,
    );
    it(`gives the values of ${file} in float64`, () => {
      for (const one of cases) {
        const {
          eps,
          epsilon,
          momentum,
          axis = defaultAxis,
        } = one.options as Record<string, number>;
        const channels = reference.channelsOf(one.shape, axis);
        const parameters = {
          weight: one.weight ?? one.gamma ?? null,
          bias: one.bias ?? one.beta ?? null,
          eps: eps ?? epsilon ?? defaultEps,
        };
        const { number, of } = channels;
        let running = initialStatistics(number);
        for (const [k, step] of one.steps.entries()) {
          const batch = reference.statistics(step.x, channels);
          const gradients = reference.backward(step.x, step.dy as number[], channels, parameters);
          near(reference.forward(step.x, channels, batch, parameters), step.y, step.x, "y");
          near(gradients.dx, step.dx, step.x, "dx");
          near(gradients.dweight, step.dweight ?? step.dgamma, step.x, "dweight");
          near(gradients.dbias, step.dbias ?? step.dbeta, step.x, "dbias");
          const share = file === "torch.json" ? torchShare(one, k) : 1 - (momentum ?? 0.99);
          const kind = file === "torch.json" ? "unbiased" : "biased";
          running = reference.moved(running, batch, of.length / number, share, kind);
          near(running.mean, step.running_mean ?? step.moving_mean, step.x, "running mean");
          near(running.variance, step.running_var ?? step.moving_variance, step.x, "running var");
        }
        if (!one.steps[0]?.running_mean && !one.steps[0]?.moving_mean) continue;
        const { x, y, dy, dx, dweight, dbias } = one.eval;
        near(reference.forward(x, channels, running, parameters), y, x, "y in evaluation");
        if (!dy) continue;
        const gradients = reference.backwardConstant(x, dy, channels, running, parameters);
        near(gradients.dx, dx, x, "dx in evaluation");
        near(gradients.dweight, dweight, x, "dweight in evaluation");
        near(gradients.dbias, dbias, x, "dbias in evaluation");
      }
    });
  }
});

describe("presets", () => {
  const NAMES: Record<PresetName, string[]> = {
    torch: ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"],
    keras: ["gamma", "beta", "moving_mean", "moving_variance"],
    onnx: ["scale", "B", "input_mean", "input_var"],
    flax: ["scale", "bias", "mean", "var"],
  };

  for (const [preset, names] of Object.entries(NAMES) as [PresetName, string[]][]) {
    it(`a state dict in ${preset}'s names makes another layer compute the same bits`, () => {
      const random = new Random(7);
      using layer = new BatchNorm(6, { preset });
      using other = new BatchNorm(6, { preset });
      layer.weight?.data.set(random.normals(6, 1, 0.5));
      layer.bias?.data.set(random.normals(6));
      scope(() => {
        const x = Tensor.from(random.normals(60, 3, 2), [10, 6]);
        layer.train();
        layer.forward(x);
        layer.forward(x);
        const dict = layer.stateDict();
        expect(Object.keys(dict)).toEqual(names);
        if (preset === "torch") expect(dict.num_batches_tracked).toBe(2);
        other.loadStateDict(JSON.parse(JSON.stringify(dict, plain)));
        expect(other.stateDict()).toEqual(dict);
        const [a, b] = [layer, other].map((l) => l.eval().forward(x).toFloat32Array());
        expectSameBits(b as Float32Array, a as Float32Array, "y");
        const [c, d] = [layer, other].map((l) => l.train().forward(x).toFloat32Array());
        expectSameBits(d as Float32Array, c as Float32Array, "y in training");
        expect(other.stateDict()).toEqual(layer.stateDict());
      });
    });
  }

  // momentum weighs the old value, the running variance is biased, ε is 1e-5.
  for (const [preset, momentum, axis] of [
    ["onnx", 0.9, 1],
    ["flax", 0.99, -1],
  ] as const) {
    it(`${preset} keeps ${momentum} of the old statistics, with the biased variance, axis ${axis}`, () => {
      const random = new Random(11);
      const shape = [4, 3, 5, 6];
      const channels = reference.channelsOf(shape, axis);
      const { number } = channels;
      const count = channels.of.length / number;
      const [weight, bias] = [random.normals(number, 1, 0.5), random.normals(number)];
      const parameters = { weight, bias, eps: 1e-5 };
      using layer = new BatchNorm(number, { preset });
      layer.weight?.data.set(weight);
      layer.bias?.data.set(bias);
      let running = initialStatistics(number);
      let bound: reference.Statistics = {
        mean: new Float64Array(number),
        variance: new Float64Array(number),
      };
      for (let step = 0; step < 3; step++) {
        const [x, dy] = [random.normals(360, step, 2), random.normals(360)];
        const truth = truthOfTraining(x, dy, channels, parameters);
        const y = layer.train().forward({ data: x, shape });
        expectWithin(y.data, truth.y, truth.bounds.y, "y");
        running = reference.moved(running, truth.statistics, count, 1 - momentum, "biased");
        bound = boundOfMoved(running, bound, truth.bounds, 1 - momentum, 1);
        const [mean, variance] = [layer.runningMean, layer.runningVar] as [Tensor, Tensor];
        expectWithin(mean.toFloat32Array(), running.mean, bound.mean, "mean");
        expectWithin(variance.toFloat32Array(), running.variance, bound.variance, "variance");
      }
      const x = random.normals(360, 2, 2);
      const truth = truthOfInference(x, x, channels, running, parameters, bound);
      const y = layer.eval().forward({ data: x, shape });
      expectWithin(y.data, truth.y, truth.bounds.y, "y in evaluation");
    });
  }
});

/** Mean 0 and variance 1, as every framework begins. */
function initialStatistics(channels: number): reference.Statistics {
  return { mean: new Float64Array(channels), variance: new Float64Array(channels).fill(1) };
}

/** Typed arrays as JSON knows them. */
function plain(_: string, value: unknown): unknown {
  return value instanceof Float32Array ? [...value] : value;
}
