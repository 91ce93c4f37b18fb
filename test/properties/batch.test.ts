/** Properties of batch norm over random problems. */
import {
  BatchNorm,
  batchNormBackward,
  batchNormInference,
  batchNormStatistics,
  batchNormTraining,
  scope,
  Tensor,
} from "batchnorm-wasm";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Random } from "../../scripts/random.mjs";
import {
  boundOfMoved,
  expectNothingElseWritten,
  expectPasses,
  expectSameBits,
  expectWithin,
  Placed,
  truthOfInference,
  truthOfTraining,
} from "../helpers.js";
import * as reference from "../reference/batch.mjs";
import {
  anyShape,
  dataOf,
  EDGES,
  edgeShape,
  holds,
  type Problem,
  problems,
  properties,
  SENTINEL,
  scattered,
  size,
  vector,
} from "./problems.js";

describe(properties("batch norm"), { timeout: 60_000 }, () => {
  it("training and its gradients are the reference's within rounding, wherever tensors lie", () => {
    holds(scattered("x", "y", "dy", "dx"), ([problem, placements]) => {
      const data = dataOf(problem);
      const { shape } = problem;
      const { channels, options } = data;
      const zeros = new Float32Array(channels.number);
      const x = new Placed(data.x, shape, placements.x);
      const dy = new Placed(data.dy, shape, placements.dy);
      const y = new Placed(data.x, shape, placements.y, SENTINEL);
      const dx = new Placed(data.x, shape, placements.dx, SENTINEL);
      const [weight, bias] = [vector(data.weight, 1), vector(data.bias, 2)];
      const weightGrad = vector(zeros, 3, SENTINEL);
      const biasGrad = vector(zeros, 1, SENTINEL);

      const { saved } = batchNormTraining(x.tensor, {
        ...options,
        weight: weight?.tensor,
        bias: bias?.tensor,
        out: y.tensor,
      });
      const statistics = { mean: saved.mean, variance: saved.variance };
      batchNormBackward(dy.tensor, {
        saved,
        out: dx.tensor,
        weightGrad: weightGrad?.tensor,
        biasGrad: biasGrad?.tensor,
      });

      const parameters = { weight: data.weight, bias: data.bias, eps: problem.eps };
      const truth = truthOfTraining(data.x, data.dy, channels, parameters);
      const outputs = { y, dx, weightGrad, biasGrad };
      expectPasses(truth, statistics, outputs);
      expectNothingElseWritten({ x, dy, weight, bias }, outputs);
    });
  });

  it("inference and its gradients are the reference's within rounding, wherever tensors lie", () => {
    holds(scattered("x", "y", "dy", "dx"), ([problem, placements]) => {
      const data = dataOf(problem);
      const { shape, eps } = problem;
      const { channels, options } = data;
      const x = new Placed(data.x, shape, placements.x);
      const dy = new Placed(data.dy, shape, placements.dy);
      const y = new Placed(data.x, shape, placements.y, SENTINEL);
      const dx = new Placed(data.x, shape, placements.dx, SENTINEL);
      const [weight, bias] = [vector(data.weight, 1), vector(data.bias, 2)];
      const [mean, variance] = [vector(data.mean, 3), vector(data.variance, 5)];
      const ones = new Float32Array(channels.number).fill(1);
      const weightGrad = vector(ones, 1, SENTINEL);
      const biasGrad = vector(ones, 2, SENTINEL);
      const { saved } = batchNormTraining(x.tensor, options);

      const parameters = { weight: weight?.tensor, bias: bias?.tensor };
      const statistics = { mean: mean?.tensor as Tensor, variance: variance?.tensor as Tensor };
      const all = { ...options, ...parameters, ...statistics };
      batchNormInference(x.tensor, { ...all, out: y.tensor, saved });
      batchNormBackward(dy.tensor, {
        saved,
        out: dx.tensor,
        weightGrad: weightGrad?.tensor,
        biasGrad: biasGrad?.tensor,
      });

      const given = {
        mean: Float64Array.from(data.mean),
        variance: Float64Array.from(data.variance),
      };
      const { weight: gamma, bias: beta } = data;
      const truth = truthOfInference(data.x, data.dy, channels, given, {
        weight: gamma,
        bias: beta,
        eps,
      });
      const { bounds, gradients } = truth;
      // The gradients are added to the ones that were there.
      const added = (sum: Float64Array) => sum.map((value) => value + 1);
      const rounded = (bound: Float64Array, sum: Float64Array) =>
        bound.map((value, c) => value + Math.abs(sum[c] as number) * 2 ** -24 + 2 ** -24);
      expectWithin(y.values(), truth.y, bounds.y, "y");
      expectWithin(dx.values(), gradients.dx, bounds.dx, "dx");
      const { dweight, dbias } = gradients;
      const boundOfWeight = rounded(bounds.dweight, dweight);
      const boundOfBias = rounded(bounds.dbias, dbias);
      expectWithin(weightGrad?.values() ?? [], added(dweight), boundOfWeight, "dweight");
      expectWithin(biasGrad?.values() ?? [], added(dbias), boundOfBias, "dbias");
      const inputs = { x, dy, weight, bias, mean, variance };
      expectNothingElseWritten(inputs, { y, dx, weightGrad, biasGrad });

      // Every element has its own arithmetic, the same wherever it lies.
      const contiguous = batchNormInference(Tensor.from(data.x, shape), all);
      expectSameBits(y.values(), contiguous.toFloat32Array(), "y of a contiguous tensor");
    });
  });

  it("every edge of the kernel's loops gives the reference's results", () => {
    for (const [shape, axis] of EDGES) {
      scope(() => {
        const problem = { shape, axis, seed: 5, mean: 3, std: 2, eps: 1e-5, affine: true };
        const { channels, options, x, dy, weight, bias } = dataOf(problem);
        const what = (name: string) => `${name} of [${shape}] along ${axis}`;
        const truth = truthOfTraining(x, dy, channels, { weight, bias, eps: 1e-5 });
        const { bounds, gradients } = truth;
        const { y, saved } = batchNormTraining(Tensor.from(x, shape), {
          ...options,
          weight: Tensor.from(weight as Float32Array),
          bias: Tensor.from(bias as Float32Array),
        });
        const { dx, weightGrad, biasGrad } = batchNormBackward(Tensor.from(dy, shape), { saved });
        const { mean, variance } = saved;
        expectWithin(mean, truth.statistics.mean, bounds.mean, what("mean"));
        expectWithin(variance, truth.statistics.variance, bounds.variance, what("variance"));
        expectWithin(y.toFloat32Array(), truth.y, bounds.y, what("y"));
        expectWithin(dx.toFloat32Array(), gradients.dx, bounds.dx, what("dx"));
        const [dweight, dbias] = [weightGrad, biasGrad] as [Tensor, Tensor];
        expectWithin(dweight.toFloat32Array(), gradients.dweight, bounds.dweight, what("dweight"));
        expectWithin(dbias.toFloat32Array(), gradients.dbias, bounds.dbias, what("dbias"));
      });
    }
  });

  it("running statistics move as the reference's within rounding", () => {
    const cases = fc.tuple(
      problems.filter(({ shape, axis }) => size(shape) > (shape.at(axis) as number)),
      fc.double({ min: 0, max: 1, noNaN: true }),
      fc.constantFrom("biased" as const, "unbiased" as const),
    );
    holds(cases, ([problem, momentum, runningVariance]) => {
      const { channels, options, x, mean, variance } = dataOf(problem);
      const count = x.length / channels.number;
      const before = { mean: Float64Array.from(mean), variance: Float64Array.from(variance) };
      const [runningMean, runningVar] = [vector(mean, 1, SENTINEL), vector(variance, 2, SENTINEL)];
      const { tensor } = new Placed(x, problem.shape);
      batchNormTraining(tensor, {
        ...options,
        runningMean: runningMean?.tensor,
        runningVar: runningVar?.tensor,
        momentum,
        runningVariance,
      });
      const truth = truthOfTraining(x, x, channels, { eps: problem.eps });
      const moved = reference.moved(before, truth.statistics, count, momentum, runningVariance);
      const zero = new Float64Array(channels.number);
      const correction = runningVariance === "unbiased" ? count / (count - 1) : 1;
      const bound = boundOfMoved(
        moved,
        { mean: zero, variance: zero },
        truth.bounds,
        momentum,
        correction,
      );
      expectWithin(runningMean?.values() ?? [], moved.mean, bound.mean, "running mean");
      expectWithin(runningVar?.values() ?? [], moved.variance, bound.variance, "running variance");
      runningMean?.expectRestUntouched("running mean");
      runningVar?.expectRestUntouched("running variance");
    });
  });

  it("in place gives the bits of out of place, forward and backward", () => {
    holds(scattered("x", "dy"), ([problem, placements]) => {
      const data = dataOf(problem);
      const { shape } = problem;
      const { options } = data;
      const parameters = {
        ...options,
        weight: vector(data.weight)?.tensor,
        bias: vector(data.bias)?.tensor,
      };
      const statistics = {
        mean: vector(data.mean)?.tensor as Tensor,
        variance: vector(data.variance)?.tensor as Tensor,
      };
      const place = () => new Placed(data.x, shape, placements.x);
      // Alike in strides, so that the same elements are summed in the same order.
      const [x, out, inPlace] = [place(), place(), place()];
      const { saved } = batchNormTraining(x.tensor, { ...parameters, out: out.tensor });
      batchNormTraining(inPlace.tensor, { ...parameters, out: inPlace.tensor });
      expectSameBits(inPlace.values(), out.values(), "y");
      inPlace.expectRestUntouched("x in place");

      const placeDy = () => new Placed(data.dy, shape, placements.dy);
      const [dy, dx, dyInPlace] = [placeDy(), placeDy(), placeDy()];
      const apart = batchNormBackward(dy.tensor, { saved, out: dx.tensor });
      const within = batchNormBackward(dyInPlace.tensor, { saved, out: dyInPlace.tensor });
      expectSameBits(dyInPlace.values(), dx.values(), "dx");
      dyInPlace.expectRestUntouched("dy in place");
      const [a, b] = [within, apart].map((g) => g.weightGrad?.toFloat32Array());
      if (a && b) expectSameBits(a, b, "dweight");

      const [frozen, frozenInPlace] = [place(), place()];
      const all = { ...parameters, ...statistics };
      batchNormInference(x.tensor, { ...all, out: frozen.tensor, saved });
      batchNormInference(frozenInPlace.tensor, { ...all, out: frozenInPlace.tensor });
      expectSameBits(frozenInPlace.values(), frozen.values(), "y of inference");
      const [frozenDx, frozenDyInPlace] = [placeDy(), placeDy()];
      batchNormBackward(dy.tensor, { saved, out: frozenDx.tensor });
      batchNormBackward(frozenDyInPlace.tensor, { saved, out: frozenDyInPlace.tensor });
      expectSameBits(frozenDyInPlace.values(), frozenDx.values(), "dx of inference");
    });
  });

  it("statistics of a permuted batch are alike within rounding", () => {
    const batches = problems.filter(({ shape, axis }) => shape.length > 1 && shape.at(axis) !== 0);
    holds(batches, (problem) => {
      const { channels, x, options } = dataOf(problem);
      const random = new Random(problem.seed + 1);
      // Values change places with others of their channel.
      const members = Array.from({ length: channels.number }, () => [] as number[]);
      channels.of.forEach((c, i) => {
        members[c]?.push(i);
      });
      const permuted = x.slice();
      for (const places of members) {
        for (let i = places.length - 1; i > 0; i--) {
          const [a, b] = [places[i] as number, places[random.below(i + 1)] as number];
          [permuted[a], permuted[b]] = [permuted[b] as number, permuted[a] as number];
        }
      }
      const [first, second] = [x, permuted].map((x) =>
        batchNormStatistics(Tensor.from(x, problem.shape), { axis: options.axis }),
      ) as [reference.Statistics, reference.Statistics];
      const { bounds } = truthOfTraining(x, x, channels, { eps: problem.eps });
      const twice = (bound: Float64Array) => bound.map((value) => 2 * value);
      expectWithin(second.mean, first.mean, twice(bounds.mean), "mean");
      expectWithin(second.variance, first.variance, twice(bounds.variance), "variance");
    });
  });

  it("what is not a number in one channel stays in that channel", () => {
    const cases = fc.tuple(
      problems,
      fc.nat(),
      fc.constantFrom(Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY),
    );
    holds(cases, ([problem, place, poison]) => {
      const { channels, x, dy, options, weight, bias } = dataOf(problem);
      const at = place % x.length;
      const sick = channels.of[at] as number;
      const parameters = { ...options, weight: weight && Tensor.from(weight) };
      const run = (x: Float32Array, dy: Float32Array) => {
        const all = { ...parameters, bias: bias && Tensor.from(bias) };
        const { y, saved } = batchNormTraining(Tensor.from(x, problem.shape), all);
        const { number } = channels;
        const dxAndMore = batchNormBackward(Tensor.from(dy, problem.shape), {
          saved,
          weightGrad: Tensor.zeros([number]),
          biasGrad: Tensor.zeros([number]),
        });
        const results = [y, dxAndMore.dx, dxAndMore.weightGrad, dxAndMore.biasGrad] as Tensor[];
        return results.map((tensor) => tensor.toFloat32Array());
      };
      const spoil = (values: Float32Array) => values.with(at, poison);
      const whole = run(x, dy);
      const names = ["y", "dx", "dweight", "dbias"];
      for (const [spoilt, results] of Object.entries({
        x: run(spoil(x), dy),
        dy: run(x, spoil(dy)),
      })) {
        const truth = truthOfTraining(
          spoilt === "x" ? spoil(x) : x,
          spoilt === "dy" ? spoil(dy) : dy,
          channels,
          { weight, bias, eps: problem.eps },
        );
        const { dx, dweight, dbias } = truth.gradients;
        results.forEach((result, r) => {
          const perElement = r < 2;
          const want = [truth.y, dx, dweight, dbias][r] as Float64Array;
          const wasWhole = whole[r] as Float32Array;
          result.forEach((value, i) => {
            const channel = perElement ? channels.of[i] : i;
            const name = `${names[r]}[${i}] with ${poison} in ${spoilt}`;
            if (channel !== sick) {
              if (!Object.is(value, wasWhole[i])) {
                expect.fail(`${name}: ${value} is not ${wasWhole[i]}, in a channel without it`);
              }
            } else if (Number.isFinite(want[i]) !== Number.isFinite(value)) {
              expect.fail(`${name}: ${value} instead of ${want[i]}`);
            }
          });
        });
      }
    });
  });

  it("a constant channel gives exactly β, for any finite constant", () => {
    const constant = fc.oneof(
      fc.float({ noNaN: true, noDefaultInfinity: true }),
      fc.constantFrom(1e18, -1e18, 3e38, 3.4028234663852886e38, 12345.678, 1e-40, 2 ** -149, 0),
    );
    const cases = fc.tuple(fc.oneof(anyShape, edgeShape), constant, fc.boolean(), fc.nat());
    holds(cases, ([{ shape, axis }, constant, zeroEps, seed]) => {
      const channels = reference.channelsOf(shape, axis);
      const random = new Random(seed);
      const bias = random.normals(channels.number);
      const weight = random.normals(channels.number, 1, 0.5);
      const x = new Float32Array(size(shape)).fill(constant);
      const eps = zeroEps ? 0 : 1e-5;
      const { y, saved } = batchNormTraining(Tensor.from(x, shape), {
        axis,
        eps,
        weight: Tensor.from(weight),
        bias: Tensor.from(bias),
      });
      // The mean of −0 may be 0.
      const means = Array.from(saved.mean, (mean) => mean + 0);
      expect(means, "mean").toEqual(new Array(channels.number).fill((x[0] as number) + 0));
      expect([...saved.variance], "variance").toEqual(new Array(channels.number).fill(0));
      const want = Float32Array.from(channels.of, (c) => bias[c] as number);
      expectSameBits(y.toFloat32Array(), want, `y of the constant ${constant}`);
    });
  });

  it("plain { data, shape } gives the bits of tensors", () => {
    holds(problems, (problem) => {
      const { shape } = problem;
      const { x, dy, options, ...data } = dataOf(problem);
      const weight = data.weight && Tensor.from(data.weight);
      const bias = data.bias && Tensor.from(data.bias);
      const all = { ...options, weight, bias };
      const tensors = batchNormTraining(Tensor.from(x, shape), all);
      const plain = batchNormTraining({ data: x, shape }, all);
      expect(plain.y.shape).toEqual(shape);
      expectSameBits(plain.y.data, tensors.y.toFloat32Array(), "y");
      const { saved } = tensors;
      const gradients = batchNormBackward(Tensor.from(dy, shape), { saved });
      const plainGradients = batchNormBackward({ data: dy, shape }, { saved: plain.saved });
      expect(plainGradients.dx.shape).toEqual(shape);
      expectSameBits(plainGradients.dx.data, gradients.dx.toFloat32Array(), "dx");
      for (const name of ["weightGrad", "biasGrad"] as const) {
        const [a, b] = [plainGradients[name], gradients[name]];
        expect(a === null, `${name} exists`).toBe(b === null);
        if (a && b) expectSameBits(a.toFloat32Array(), b.toFloat32Array(), name);
      }

      const [mean, variance] = [data.mean, data.variance];
      const vectors = { weight: data.weight, bias: data.bias, mean, variance };
      const inferred = batchNormInference(
        { data: Array.from(x), shape },
        { ...options, ...vectors },
      );
      const statistics = { mean: Tensor.from(mean), variance: Tensor.from(variance) };
      const want = batchNormInference(Tensor.from(x, shape), { ...all, ...statistics });
      expectSameBits(inferred.data, want.toFloat32Array(), "y of inference");
      expect(batchNormStatistics({ data: x, shape }, { axis: options.axis })).toEqual(
        batchNormStatistics(Tensor.from(x, shape), { axis: options.axis }),
      );

      // Layers as well.
      if (x.length === (shape.at(problem.axis) as number)) return;
      using layer = new BatchNorm(null, { preset: "keras", ...options });
      const ofPlain = layer.forward({ data: x, shape });
      const dxOfPlain = layer.backward({ data: dy, shape });
      const ofTensor = layer.forward(Tensor.from(x, shape)).toFloat32Array();
      expectSameBits(ofPlain.data, ofTensor, "y of the layer");
      const dxOfTensor = layer.backward(Tensor.from(dy, shape)).toFloat32Array();
      expectSameBits(dxOfPlain.data, dxOfTensor, "dx of the layer");
    });
  });

  it("a result has the same bits again, whatever ran before and wherever it lies", () => {
    const cases = fc.tuple(problems, problems, fc.nat(7));
    holds(cases, ([problem, other, lead]) => {
      const run = (problem: Problem, lead: number) => {
        const { x, dy, options, weight } = dataOf(problem);
        const placement = { lead, pads: [] };
        const { tensor } = new Placed(x, problem.shape, placement);
        const out = new Placed(x, problem.shape, placement);
        const { saved } = batchNormTraining(tensor, {
          ...options,
          weight: vector(weight, lead)?.tensor,
          out: out.tensor,
        });
        const dx = new Placed(dy, problem.shape, placement);
        const { weightGrad } = batchNormBackward(dx.tensor, { saved, out: dx.tensor });
        const statistics = Float32Array.from([...saved.mean, ...saved.variance]);
        const y = out.values();
        return [y, dx.values(), statistics, weightGrad?.toFloat32Array() ?? new Float32Array()];
      };
      const first = run(problem, 0);
      run(other, 0);
      const again = run(problem, lead);
      for (const [i, name] of ["y", "dx", "statistics", "dweight"].entries()) {
        expectSameBits(again[i] as Float32Array, first[i] as Float32Array, name);
      }
    });
  });

  it("a tensor with an axis of size 0 gives an empty result and moves nothing", () => {
    const empty = anyShape.chain(({ shape, axis }) =>
      fc
        .nat(shape.length - 1)
        .map((zero) => ({ shape: shape.map((n, i) => (i === zero ? 0 : n)), axis })),
    );
    holds(empty, ({ shape, axis }) => {
      const channels = shape.at(axis) as number;
      const runningMean = Tensor.from(new Array(channels).fill(3));
      const runningVar = Tensor.from(new Array(channels).fill(4));
      const { y, saved } = batchNormTraining(Tensor.zeros(shape), {
        axis,
        runningMean,
        runningVar,
      });
      const { dx } = batchNormBackward(Tensor.zeros(shape), { saved });
      expect(y.shape).toEqual(shape);
      expect(dx.shape).toEqual(shape);
      expect([...runningMean.data, ...runningVar.data]).toEqual([
        ...new Array(channels).fill(3),
        ...new Array(channels).fill(4),
      ]);
    });
  });
});
