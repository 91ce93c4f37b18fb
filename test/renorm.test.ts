/** Batch renorm: golden values, reductions to batch norm, ghost batches, layers, errors. */
import { readFileSync } from "node:fs";
import {
  BatchNorm,
  BatchNormalization,
  batchNormBackward,
  batchNormInference,
  batchNormTraining,
  type RenormClipping,
  type RenormOptions,
  renormSchedule,
  scope,
  Tensor,
} from "batchnorm-wasm";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { counting, expectError, values, wrong } from "./call-helpers.js";
import { boundOfMoved, expectSameBits, expectWithin, truthOfTraining, U } from "./helpers.js";
import { dataOf, holds, problems, properties } from "./properties/problems.js";
import * as reference from "./reference/batch.mjs";
import * as renorm from "./reference/renorm.mjs";
import { variantCases } from "./variants.js";

/**
 * What batch renorm gives, and how far from it float32 may be: batch norm's own by γ·r and β + γ·d,
 * and what r and d are off by, since the statistics that they are of are.
 *
 * ```text
 * Δr = r·(Δσ_B²/2(σ_B² + ε) + Δσ²/2(σ² + ε))      Δd = (Δμ_B + Δμ)/σ + |d|·Δσ²/2(σ² + ε)
 * Δy = |γ|·(|x̂|·Δr + Δd)        Δdγ = r·Δ(Σdy·x̂) + |Σdy·x̂|·Δr + |d|·ΔΣdy + |Σdy|·Δd
 * ```
 */
function truthOfRenorm(
  x: ArrayLike<number>,
  dy: ArrayLike<number>,
  channels: reference.Channels,
  parameters: reference.Parameters,
  running: reference.Statistics,
  limits: renorm.Limits,
  off: reference.Statistics = {
    mean: running.mean.map(() => 0),
    variance: running.mean.map(() => 0),
  },
) {
  const { eps, weight } = parameters;
  const plain = truthOfTraining(x, dy, channels, parameters);
  const { statistics } = plain;
  const by = renorm.corrections(statistics, running, limits, eps);
  const truth = truthOfTraining(x, dy, channels, renorm.corrected(parameters, by));
  const at = (vector: ArrayLike<number>, c: number) => vector[c] as number;
  const share = (off: Float64Array, variance: Float64Array) =>
    off.map((off, c) => off / (2 * (at(variance, c) + eps)));
  const ofBatch = share(plain.bounds.variance, statistics.variance);
  const ofRunning = share(off.variance, running.variance);
  const offR = by.r.map((r, c) => r * (at(ofBatch, c) + at(ofRunning, c)));
  const offD = by.d.map((d, c) => {
    const mean = at(plain.bounds.mean, c) + at(off.mean, c);
    return mean / Math.sqrt(at(running.variance, c) + eps) + Math.abs(d) * at(ofRunning, c);
  });
  const xHat = reference.normalized(x, channels, statistics, eps);
  const { dweight: products, dbias: sums } = plain.gradients;
  return {
    ...by,
    statistics,
    y: truth.y,
    dx: truth.gradients.dx,
    dweight: products.map((sum, c) => at(by.r, c) * sum + at(by.d, c) * at(sums, c)),
    dbias: sums,
    bounds: {
      ...truth.bounds,
      r: offR,
      d: offD,
      y: truth.bounds.y.map((bound, i) => {
        const c = at(channels.of, i);
        const gamma = Math.abs(weight ? at(weight, c) : 1);
        return bound + gamma * (Math.abs(at(xHat, i)) * at(offR, c) + at(offD, c));
      }),
      dx: truth.bounds.dx.map((bound, i) => {
        const c = at(channels.of, i);
        return bound + Math.abs(at(truth.gradients.dx, i)) * (at(offR, c) / (at(by.r, c) || 1));
      }),
      dweight: products.map((sum, c) => {
        const [r, d, all] = [at(by.r, c), Math.abs(at(by.d, c)), Math.abs(at(sums, c))];
        const { dweight, dbias } = plain.bounds;
        const own = r * at(dweight, c) + d * at(dbias, c);
        return own + Math.abs(sum) * at(offR, c) + all * at(offD, c) + U * (d * all);
      }),
    },
  };
}

describe("golden values of batch renorm", () => {
  const cases = variantCases<{ readonly r_max: number; readonly d_max: number }>("renorm");

  it("has 6 cases", () => expect(cases).toHaveLength(6));

  it.each(cases)("are a layer's and the functions': %s", (_, one) => {
    const { shape, axis, weight, bias, steps } = one;
    const { r_max: rMax, d_max: dMax, eps } = one.options;
    const momentum = one.options.momentum as number;
    const channels = reference.channelsOf(shape, axis);
    const count = channels.of.length / channels.number;
    const affine = weight !== null;
    const options = { axis, eps, momentum, affine, renorm: { rMax, dMax } };
    using bn = new BatchNorm(channels.number, options);
    if (weight) bn.weight?.set(weight);
    if (bias) bn.bias?.set(bias);
    bn.runningMean?.set(one.running_mean);
    bn.runningVar?.set(one.running_var);
    const zeros = new Float64Array(channels.number);
    let off: reference.Statistics = { mean: zeros, variance: zeros };
    let running: reference.Statistics = {
      mean: Float64Array.from(one.running_mean),
      variance: Float64Array.from(one.running_var),
    };
    const limits = { rMin: 1 / rMax, rMax, dMax };
    for (const step of steps) {
      const parameters = { weight, bias, eps };
      const truth = truthOfRenorm(step.x, step.dy, channels, parameters, running, limits, off);
      const { bounds } = truth;
      running = reference.moved(running, truth.statistics, count, momentum, "unbiased");
      off = boundOfMoved(running, off, bounds, momentum, count / (count - 1));

      using x = Tensor.from(step.x, shape);
      using dy = Tensor.from(step.dy, shape);
      const vectors = [bn.runningMean, bn.runningVar] as [Tensor, Tensor];
      const [runningMean, runningVar] = vectors.map((one) => Tensor.from(values(one)));
      const y = bn.forward(x);
      const dx = bn.backward(dy);
      const corrections = bn.saved?.renorm as renorm.Corrections;
      expectWithin(
        corrections.r,
        step.r ?? [],
        bounds.r.map((bound) => bound + 1e-14),
        "r",
      );
      expectWithin(
        corrections.d,
        step.d ?? [],
        bounds.d.map((bound) => bound + 1e-14),
        "d",
      );
      expectWithin(y.toFloat32Array(), step.y, bounds.y, "y");
      expectWithin(dx.toFloat32Array(), step.dx, bounds.dx, "dx");
      if (affine) {
        const [ofWeight, ofBias] = [bn.weight?.grad, bn.bias?.grad] as [Tensor, Tensor];
        expectWithin(ofWeight.toFloat32Array(), step.dweight ?? [], bounds.dweight, "dγ");
        expectWithin(ofBias.toFloat32Array(), step.dbias ?? [], bounds.dbias, "dβ");
      }
      const [mean, variance] = vectors.map((one) => one.toFloat32Array()) as [
        Float32Array,
        Float32Array,
      ];
      expectWithin(mean, step.running_mean, off.mean, "running mean");
      expectWithin(variance, step.running_var, off.variance, "running variance");
      bn.zeroGrad();

      const given = { weight, bias, axis, eps, momentum, runningMean, runningVar };
      const again = batchNormTraining(x, { ...given, renorm: { rMax, dMax } });
      expectSameBits(again.y.toFloat32Array(), y.toFloat32Array(), "y of the function");
      const gradients = batchNormBackward(dy, { saved: again.saved });
      expectSameBits(gradients.dx.toFloat32Array(), dx.toFloat32Array(), "dx of the function");
    }
  });
});

interface KerasStep {
  readonly x: number[];
  readonly dy: number[];
  readonly y: number[];
  readonly dx: number[];
  readonly dgamma: number[];
  readonly dbeta: number[];
  readonly moving_mean: number[];
  readonly moving_variance: number[];
}

interface KerasCase {
  readonly shape: number[];
  readonly options: {
    readonly renorm?: boolean;
    readonly renorm_clipping?: RenormClipping;
    readonly renorm_momentum: number;
  };
  readonly gamma: number[];
  readonly beta: number[];
  readonly steps: readonly KerasStep[];
  readonly eval: { readonly x: number[]; readonly y: number[] };
}

describe("Keras's golden values of renorm", () => {
  const text = readFileSync(new URL("fixtures/keras.json", import.meta.url), "utf8");
  const { cases } = JSON.parse(text) as { cases: KerasCase[] };
  const named = cases
    .filter(({ options }) => options.renorm)
    .map((one): [string, KerasCase] => [
      `[${one.shape.join(", ")}] ${JSON.stringify(one.options)}`,
      one,
    ]);

  it("has 2 cases", () => expect(named).toHaveLength(2));

  it.each(named)("are BatchNormalization's: %s", (_, one) => {
    const { shape, gamma: weight, beta: bias, options } = one;
    const { renorm_clipping: renormClipping, renorm_momentum: renormMomentum } = options;
    const [eps, momentum] = [1e-3, 0.99];
    const channels = reference.channelsOf(shape, -1);
    const { number } = channels;
    using bn = new BatchNormalization({ renorm: true, renormClipping, renormMomentum });
    bn.loadStateDict({
      ...{ gamma: weight, beta: bias },
      moving_mean: new Float32Array(number),
      moving_variance: new Float32Array(number).fill(1),
      moving_stddev: new Float32Array(number).fill(1),
      renorm_mean: new Float32Array(number),
      renorm_stddev: new Float32Array(number).fill(1),
    });
    const {
      rmin = 0,
      rmax = Number.POSITIVE_INFINITY,
      dmax = Number.POSITIVE_INFINITY,
    } = renormClipping ?? {};
    const limits = { rMin: rmin as number, rMax: rmax as number, dMax: dmax as number };
    const [zeros, ones] = [0, 1].map((value) => new Float64Array(number).fill(value)) as [
      Float64Array,
      Float64Array,
    ];
    // Averages of σ in the place of variances, and how far from them float32 may be.
    const averages = {
      renorm: { mean: zeros, variance: ones },
      moving: { mean: zeros, variance: ones },
    };
    const off = {
      renorm: { mean: zeros, variance: zeros },
      moving: { mean: zeros, variance: zeros },
    };
    for (const step of one.steps) {
      const { mean, variance: std } = averages.renorm;
      const running = { mean, variance: std.map((std) => std * std - eps) };
      const offVariance = std.map((std, c) => 2 * std * (off.renorm.variance[c] as number));
      const parameters = { weight, bias, eps };
      const truth = truthOfRenorm(step.x, step.dy, channels, parameters, running, limits, {
        mean: off.renorm.mean,
        variance: offVariance,
      });
      const { bounds, statistics } = truth;
      const stds = statistics.variance.map((variance) => Math.sqrt(variance + eps));
      const own = { mean: statistics.mean, variance: stds };
      const ofOwn = {
        mean: bounds.mean,
        variance: bounds.variance.map((bound, c) => bound / (2 * (stds[c] as number))),
      };
      for (const [name, kept] of [
        ["renorm", renormMomentum],
        ["moving", momentum],
      ] as const) {
        averages[name] = reference.moved(averages[name], own, 2, 1 - kept, "biased") as never;
        off[name] = boundOfMoved(averages[name], off[name], ofOwn, 1 - kept, 1) as never;
      }

      using x = Tensor.from(step.x, shape);
      using dy = Tensor.from(step.dy, shape);
      const y = bn.forward(x, { training: true });
      bn.zeroGrad();
      const dx = bn.backward(dy);
      expectWithin(y.toFloat32Array(), step.y, bounds.y, "y");
      expectWithin(dx.toFloat32Array(), step.dx, bounds.dx, "dx");
      expectWithin(values(bn.gamma?.grad as Tensor), step.dgamma, bounds.dweight, "dγ");
      expectWithin(values(bn.beta?.grad as Tensor), step.dbeta, bounds.dbias, "dβ");
      expectWithin(values(bn.movingMean as Tensor), step.moving_mean, off.moving.mean, "mean");
      // Of σ² − ε, rounded.
      const ofVariance = averages.moving.variance.map(
        (std, c) => 2 * std * (off.moving.variance[c] as number) + U * std * std,
      );
      const got = values(bn.movingVariance as Tensor);
      expectWithin(got, step.moving_variance, ofVariance, "variance");
      const state = bn.stateDict();
      expect(Object.keys(state)).toEqual([
        ...["gamma", "beta", "moving_mean", "moving_variance"],
        ...["moving_stddev", "renorm_mean", "renorm_stddev"],
      ]);
      const { renorm } = averages;
      expectWithin(state.renorm_mean as Float32Array, renorm.mean, off.renorm.mean, "renorm mean");
      const std_ = state.renorm_stddev as Float32Array;
      expectWithin(std_, renorm.variance, off.renorm.variance, "renorm σ");
    }
    // The moving statistics normalize, which are known by now.
    const parameters = { mean: bn.movingMean, variance: bn.movingVariance } as {
      mean: Tensor;
      variance: Tensor;
    };
    scope(() => {
      const x = Tensor.from(one.eval.x, shape);
      const given = { ...parameters, weight: bn.gamma, bias: bn.beta, eps, axis: -1 };
      const want = batchNormInference(x, given);
      const y = bn.forward(x);
      expectSameBits(y.toFloat32Array(), want.toFloat32Array(), "y in evaluation");
      const bound = one.eval.y.map((value) => 2 ** -20 * (1 + Math.abs(value)));
      expectWithin(y.toFloat32Array(), one.eval.y, bound, "y in evaluation");
    });
  });

  it("keep their averages apart from what is written, and where they belong", () => {
    const keras = { preset: "keras", axis: 1, renorm: {} } as const;
    using bn = new BatchNorm(3, { ...keras, renormMomentum: 0.5 }).train();
    expect(bn.renorm).toEqual({
      rMin: 0,
      rMax: Number.POSITIVE_INFINITY,
      dMax: Number.POSITIVE_INFINITY,
    });
    const x = counting([1, 3, 4]);
    bn.updateRunningStats = false;
    const before = bn.stateDict();
    bn.forward(x);
    expect(bn.stateDict()).toEqual(before);
    bn.updateRunningStats = "auto";
    bn.forward(x);
    expect(bn.stateDict().renorm_mean).toEqual(Float32Array.of(1.25, 3.25, 5.25));
    bn.resetRunningStats();
    expect(bn.stateDict()).toEqual(before);
    const [row, out] = [counting([2, 3]).slice(0, 0, 1), bn.runningMean?.reshape([1, 3]) as Tensor];
    expectError("overlap", ["out overlaps"], () => bn.forward(row, { out }), [bn, row]);
    // What moves can't be read as x or a residual, where it moves.
    expectError("overlap", ["x overlaps"], () => bn.forward(out), [bn]);
    expectError("overlap", ["residual"], () => bn.forward(row, { residual: out }), [bn, row]);
    bn.updateRunningStats = false;
    bn.forward(out, { residual: out });
    bn.updateRunningStats = "auto";
    bn.virtualBatchSize = 1;
    expectError("unsupported", ["ghost batches"], () => bn.forward(x), [bn]);
    // In evaluation there is neither, whatever normalizes.
    bn.statistics = "batch";
    bn.eval().forward(x);
    bn.virtualBatchSize = null;
    using plain = new BatchNorm(3, { preset: "keras" });
    const late = () => {
      plain.renorm = { rMax: 2 };
    };
    expectError("unsupported", ["renorm", "constructor"], late, [plain]);
    const momentum = () => new BatchNorm(3, { renormMomentum: 0.5 });
    expectError("unsupported", ["renormMomentum", "keras"], momentum);
    const limits = () => new BatchNormalization({ renorm: true, renormClipping: { dmax: -1 } });
    expectError("invalid-option", ["BatchNormalization: renorm.dMax", "-1"], limits);
    const clipping = () => new BatchNormalization({ renormClipping: { rmax: 2 } });
    expectError("unsupported", ["renormClipping", "renorm: true"], clipping);
  });
});

describe(properties("batch renorm"), { timeout: 60_000 }, () => {
  const limited = fc.tuple(
    problems,
    fc.record({
      rMin: fc.constantFrom(0, 0.25, 1),
      rMax: fc.constantFrom(1, 1.5, 4, Number.POSITIVE_INFINITY),
      dMax: fc.constantFrom(0, 0.5, 3, Number.POSITIVE_INFINITY),
    }),
  );

  it("is the reference's within rounding, and the same in place", () => {
    holds(limited, ([problem, limits]) => {
      const data = dataOf(problem);
      const { shape } = problem;
      const [x, dy] = [Tensor.from(data.x, shape), Tensor.from(data.dy, shape)];
      const parameters = { weight: data.weight, bias: data.bias, eps: problem.eps };
      const vectors = () => ({
        runningMean: Tensor.from(data.mean),
        runningVar: Tensor.from(data.variance),
      });
      const options = { ...data.options, weight: data.weight, bias: data.bias, renorm: limits };
      const { y, saved } = batchNormTraining(x, { ...options, ...vectors() });
      const zeros = () => Tensor.zeros([data.channels.number]);
      const gradients = { weightGrad: zeros(), biasGrad: zeros() };
      const { dx } = batchNormBackward(dy, { saved, ...gradients });
      const running = {
        mean: Float64Array.from(data.mean),
        variance: Float64Array.from(data.variance),
      };
      const truth = truthOfRenorm(data.x, data.dy, data.channels, parameters, running, limits);
      const { bounds } = truth;
      // Where σ_B² + ε is zero, or as good as that, nothing is left of x̂ or of r.
      const certain = truth.statistics.variance.every(
        (variance, c) => (bounds.variance[c] as number) < 0.01 * (variance + problem.eps),
      );
      fc.pre(certain);
      expectWithin(y.toFloat32Array(), truth.y, bounds.y, "y");
      expectWithin(dx.toFloat32Array(), truth.dx, bounds.dx, "dx");
      expectWithin(values(gradients.weightGrad), truth.dweight, bounds.dweight, "dγ");
      expectWithin(values(gradients.biasGrad), truth.dbias, bounds.dbias, "dβ");
      batchNormTraining(x, { ...options, ...vectors(), out: x });
      expectSameBits(x.toFloat32Array(), y.toFloat32Array(), "y in place");
    });
  });

  it("by r = 1 and d = 0 is batch norm to the bit, forward and back", () => {
    holds(problems, (problem) => {
      const data = dataOf(problem);
      const [x, dy] = [Tensor.from(data.x, problem.shape), Tensor.from(data.dy, problem.shape)];
      const vectors = () => ({
        runningMean: Tensor.from(data.mean),
        runningVar: Tensor.from(data.variance),
      });
      const options = { ...data.options, weight: data.weight, bias: data.bias };
      const [got, want] = [{ rMax: 1, dMax: 0 }, null].map(
        (renorm): Record<string, Tensor | null> => {
          const running = vectors();
          const { y, saved } = batchNormTraining(x, { ...options, ...running, renorm });
          const { dx, weightGrad, biasGrad } = batchNormBackward(dy, { saved });
          return { ...running, y, dx, weightGrad, biasGrad };
        },
      ) as [Record<string, Tensor | null>, Record<string, Tensor | null>];
      for (const [name, tensor] of Object.entries(want)) {
        expect(!got[name]).toBe(!tensor);
        const both = [got[name], tensor].map((one) => one?.toFloat32Array() ?? new Float32Array());
        expectSameBits(...(both as [Float32Array, Float32Array]), name);
      }
    });
  });
});

describe("renorm", () => {
  const running = () => ({ runningMean: counting([3]), runningVar: counting([3]) });

  it("without limits normalizes by the running statistics, which move then", () => {
    scope(() => {
      const [x, { runningMean, runningVar }] = [counting([4, 3]), running()];
      const want = batchNormInference(x, { mean: runningMean, variance: runningVar });
      const { y, saved } = batchNormTraining(x, { runningMean, runningVar, renorm: {} });
      const bound = values(want).map((value) => 8 * U * (1 + Math.abs(value)));
      expectWithin(y.toFloat32Array(), values(want), bound, "y");
      expect(saved.statistics).toBe("batch");
      expect(values(runningMean)).not.toEqual([1, 2, 3]);
    });
  });

  it("goes slice by slice in ghost batches, each corrected towards what those before left", () => {
    scope(() => {
      const [x, dy] = [counting([7, 3]), counting([7, 3], -5)];
      const renorm = { rMax: 1.5, dMax: 0.5 };
      const [own, wanted] = [running(), running()];
      const ghost = batchNormTraining(x, { ...own, renorm, virtualBatchSize: 4 });
      const { dx } = batchNormBackward(dy, { saved: ghost.saved });
      const r: number[] = [];
      for (const [from, to] of [
        [0, 4],
        [4, 7],
      ] as const) {
        const part = batchNormTraining(x.slice(0, from, to), { ...wanted, renorm });
        const back = batchNormBackward(dy.slice(0, from, to), { saved: part.saved });
        expectSameBits(ghost.y.slice(0, from, to).toFloat32Array(), part.y.toFloat32Array(), "y");
        expectSameBits(dx.slice(0, from, to).toFloat32Array(), back.dx.toFloat32Array(), "dx");
        r.push(...(part.saved.renorm?.r ?? []));
      }
      expect([...(ghost.saved.renorm?.r ?? [])]).toEqual(r);
      expect(values(own.runningVar)).toEqual(values(wanted.runningVar));
    });
  });

  it("keeps r and d of a pass until it is overwritten, whatever becomes of running statistics", () => {
    scope(() => {
      const [x, dy] = [counting([4, 3]), counting([4, 3])];
      const vectors = running();
      const { saved } = batchNormTraining(x, { ...vectors, renorm: { rMax: 2 } });
      const before = [saved.renorm, batchNormBackward(dy, { saved }).dx.toFloat32Array()] as const;
      vectors.runningMean.set([9, 9, 9]);
      expect(saved.renorm).toEqual(before[0]);
      expectSameBits(batchNormBackward(dy, { saved }).dx.toFloat32Array(), before[1], "dx");
      // A call that fails leaves them, too.
      vectors.runningVar.set([1, -1, 1]);
      const call = () => batchNormTraining(x, { ...vectors, renorm: { rMax: 2 }, saved });
      expectError("invalid-option", ["runningVar must not be negative"], call, [saved]);
      expectSameBits(batchNormBackward(dy, { saved }).dx.toFloat32Array(), before[1], "dx");
      batchNormTraining(x, { saved });
      expect(saved.renorm).toBeNull();
    });
  });

  it("is of training by the batch's statistics alone, also where running ones stay", () => {
    const x = counting([4, 3]);
    using bn = new BatchNorm(3, { renorm: { rMax: 3, dMax: 5 } });
    expect([bn.renorm, new BatchNorm(3).renorm]).toEqual([{ rMin: 1 / 3, rMax: 3, dMax: 5 }, null]);
    bn.updateRunningStats = false;
    bn.forward(x);
    expect([...(bn.saved?.renorm?.r ?? [])]).toEqual([3, 3, 3]);
    expect(values(bn.runningMean as Tensor)).toEqual([0, 0, 0]);
    bn.eval().forward(x);
    expect(bn.saved?.renorm).toBeNull();
    bn.statistics = "batch";
    bn.forward(x);
    expect(bn.saved?.renorm).toBeNull();
    bn.renorm = null;
    bn.train().forward(x);
    expect(bn.saved?.renorm).toBeNull();
  });

  it("refuses limits that are none, and running statistics that aren't there", () => {
    using bn = new BatchNorm(3);
    const [x, vectors] = [counting([4, 3]), running()];
    const calls = (renorm: unknown) => [
      () => batchNormTraining(x, { ...vectors, renorm: wrong(renorm) }),
      () => new BatchNorm(3, { renorm: wrong(renorm) }),
      () => {
        bn.renorm = wrong(renorm);
      },
    ];
    const refused: [RenormOptions | unknown, string[]][] = [
      [{ rMax: 0.5 }, ["renorm.rMax", "at least rMin, which is 2", "0.5"]],
      [{ rMin: 3, rMax: 2 }, ["renorm.rMax", "at least rMin, which is 3"]],
      [{ rMax: Number.NaN }, ["renorm.rMax", "a number from 0 on", "NaN"]],
      [{ dMax: -1 }, ["renorm.dMax", "a number from 0 on", "-1"]],
      [{ dMax: "5" }, ["renorm.dMax", "a number from 0 on", '"5"']],
      [{ rMin: -1 }, ["renorm.rMin"]],
    ];
    for (const [value, words] of refused) {
      for (const call of calls(value))
        scope(() => expectError("invalid-option", words, call, [bn]));
    }
    for (const call of calls({ rmax: 3 })) {
      expectError("unknown-option", ["rmax", "rMax"], call, [bn]);
    }
    for (const call of [...calls(true), ...calls(3)]) {
      expectError("invalid-option", ["renorm"], call, [bn]);
    }
    const none = () => batchNormTraining(x, { renorm: { rMax: 3 } });
    expectError("invalid-option", ["renorm needs runningMean and runningVar"], none);
    const untracked = new BatchNorm(3, { trackRunningStats: false });
    const set = () => {
      untracked.renorm = { rMax: 3 };
    };
    expectError("unsupported", ["renorm needs trackRunningStats"], set, [untracked]);
  });
});

describe("renormSchedule", () => {
  it("is the paper's", () => {
    expect([0, 5000].map((step) => renormSchedule(step))).toEqual([
      { rMax: 1, dMax: 0 },
      { rMax: 1, dMax: 0 },
    ]);
    expect([25_000, 40_000, 1e9].map((step) => renormSchedule(step).dMax)).toEqual([5, 5, 5]);
    expect(renormSchedule(22_500).rMax).toBe(2);
    expect(renormSchedule(40_000)).toEqual({ rMax: 3, dMax: 5 });
  });

  it("takes other steps and limits, and refuses what is none", () => {
    const options = { warmUp: 10, rMax: 2, rMaxStep: 20, dMax: 1, dMaxStep: 10 };
    expect(renormSchedule(15, options)).toEqual({ rMax: 1.5, dMax: 1 });
    expectError("invalid-option", ["renormSchedule: step", "-1"], () => renormSchedule(-1));
    expectError("invalid-option", ["rMax", "at least 1"], () => renormSchedule(0, { rMax: 0.5 }));
    expectError("unknown-option", ["rmax"], () => renormSchedule(0, wrong({ rmax: 3 })));
  });
});
