/**
 * Properties over random shapes, axes, placements in memory and data, with a fixed
 * seed: FC_SEED and FC_RUNS in the environment give others.
 */
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
import { Random } from "../scripts/random.mjs";
import {
  boundOfMoved,
  CONTIGUOUS,
  expectSameBits,
  expectWithin,
  Placed,
  type Placement,
  truthOfInference,
  truthOfTraining,
} from "./helpers.js";
import * as reference from "./reference/batch.mjs";

const SEED = Number(process.env.FC_SEED ?? 20261123);
const RUNS = Number(process.env.FC_RUNS ?? 300);

/** What an output's storage holds before: no result is likely to have these bits. */
const SENTINEL = -1.2345678e33;

/** Elements of one tensor, so that a few hundred runs take seconds. */
const MAX_SIZE = 20_000;

// The edges of the kernel's loops: vectors of 4, strips of 8, tiles of 16, runs shorter
// than a tile are columns; sums go on in float64 after 16 rows of columns or 128 elements
// of a run, of which several make 512; rows of few channels are folded to whole tiles of
// at most 1024 columns, from 16 such rows on.
const TAILS = Array.from({ length: 33 }, (_, i) => i + 1);
const ROWS = [
  ...[1, 2, 3, 5, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129, 200, 255, 256, 257],
  ...[1023, 1024, 1025, 1040, 1088, 4095, 4096, 4097, 4112],
];
const RUN_LENGTHS = [
  ...[47, 48, 49, 64, 100, 119, 120, 127, 128, 129, 135, 136, 137],
  ...[255, 256, 257, 511, 512, 513, 2047, 4100],
];
const CHANNELS = [1, 2, 3, 4, 5, 7, 8, 12, 15, 16, 17, 31, 32, 33, 63, 64, 65, 128];

interface Problem {
  readonly shape: readonly number[];
  readonly axis: number;
  readonly seed: number;
  readonly mean: number;
  readonly std: number;
  readonly eps: number;
  readonly affine: boolean;
}

const size = (shape: readonly number[]) => shape.reduce((a, b) => a * b, 1);

/** Any shape of rank 1 to 6, and any axis of it. */
const anyShape = fc
  .array(fc.integer({ min: 1, max: 7 }), { minLength: 1, maxLength: 6 })
  .filter((shape) => size(shape) <= MAX_SIZE)
  .chain((shape) =>
    fc.integer({ min: -shape.length, max: shape.length - 1 }).map((axis) => ({ shape, axis })),
  );

const from = (values: readonly number[]) => fc.constantFrom(...values);

/** outer × channels × inner at the edges of the kernel's loops. */
const edgeShape = fc
  .oneof(
    // Runs: tails of the tile, then the length of a block.
    fc.tuple(from([1, 2, 3, 5]), from([1, 2, 3, 5]), from([...TAILS, ...RUN_LENGTHS])),
    // Many short runs in a block.
    fc.tuple(from(ROWS), from([1, 2, 3]), from(TAILS)),
    // Columns: [N, C] and channels-last.
    fc.tuple(from(ROWS), from([...TAILS, ...CHANNELS]), fc.constant(1)),
    fc.tuple(from(ROWS), from(CHANNELS), from([1, 2, 3, 7, 9])),
  )
  .filter((shape) => size(shape) <= MAX_SIZE)
  .chain(([outer, channels, inner]) =>
    fc.constantFrom(
      { shape: [outer, channels, inner], axis: 1 },
      { shape: [outer, channels, inner], axis: -2 },
      ...(inner === 1 ? [{ shape: [outer, channels], axis: -1 }] : []),
      ...(outer === 1 ? [{ shape: [channels, inner], axis: 0 }] : []),
    ),
  );

const problems: fc.Arbitrary<Problem> = fc.oneof(anyShape, edgeShape).chain((where) =>
  fc.record({
    shape: fc.constant(where.shape),
    axis: fc.constant(where.axis),
    seed: fc.nat(),
    mean: from([0, 0.5, -100, 1e4]),
    std: from([1, 1e-3, 1e3]),
    eps: from([1e-5, 1e-3, 0]),
    affine: fc.boolean(),
  }),
);

/** Gaps in front of, behind and between the elements of a tensor of this rank. */
const placementOf = (rank: number): fc.Arbitrary<Placement> =>
  fc.oneof(
    fc.constant(CONTIGUOUS),
    fc.record({ lead: fc.nat(5), pads: fc.constant([]) }),
    fc.record({
      lead: fc.nat(5),
      pads: fc.array(fc.tuple(fc.nat(2), fc.nat(2)), { minLength: rank, maxLength: rank }),
    }),
  );

/** A problem whose tensors lie anywhere, each in its own way. */
function scattered<N extends string>(...names: N[]): fc.Arbitrary<[Problem, Record<N, Placement>]> {
  return problems.chain((problem) => {
    const placement = placementOf(problem.shape.length);
    const each = names.map(() => placement);
    return fc
      .tuple(...each)
      .map((placements) => [
        problem,
        Object.fromEntries(names.map((name, i) => [name, placements[i]])) as Record<N, Placement>,
      ]);
  });
}

/** The data of a problem. */
function dataOf({ shape, axis, seed, mean, std, affine, eps }: Problem) {
  const random = new Random(seed);
  const channels = reference.channelsOf(shape, axis);
  const { number } = channels;
  return {
    channels,
    x: random.normals(size(shape), mean, std),
    dy: random.normals(size(shape)),
    weight: affine ? random.normals(number, 1, 0.5) : null,
    bias: affine ? random.normals(number) : null,
    mean: random.normals(number, mean, std),
    variance: Float32Array.from({ length: number }, () => std ** 2 * (0.1 + random.uniform())),
    options: { axis, eps },
  };
}

/** Checks that a predicate holds, inside of a scope of its own. */
function holds<T>(arbitrary: fc.Arbitrary<T>, check: (value: T) => void, runs = RUNS): void {
  const property = fc.property(arbitrary, (value) => scope(() => check(value)));
  fc.assert(property, { seed: SEED, numRuns: runs });
}

const vector = (values: Float32Array | null, lead = 0, padding = Number.NaN) =>
  values && new Placed(values, [values.length], { lead, pads: [] }, padding);

describe(`properties (fast-check, seed ${SEED}, ${RUNS} runs)`, { timeout: 60_000 }, () => {
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
      const { bounds, gradients } = truth;
      expectWithin(statistics.mean, truth.statistics.mean, bounds.mean, "mean");
      expectWithin(statistics.variance, truth.statistics.variance, bounds.variance, "variance");
      expectWithin(y.values(), truth.y, bounds.y, "y");
      expectWithin(dx.values(), gradients.dx, bounds.dx, "dx");
      expectWithin(weightGrad?.values() ?? [], gradients.dweight, bounds.dweight, "dweight");
      expectWithin(biasGrad?.values() ?? [], gradients.dbias, bounds.dbias, "dbias");
      for (const [name, one] of Object.entries({ x, dy, weight, bias })) one?.expectUntouched(name);
      for (const [name, one] of Object.entries({ y, dx, weightGrad, biasGrad })) {
        one?.expectRestUntouched(name);
      }
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
      for (const [name, one] of Object.entries(inputs)) one?.expectUntouched(name);
      for (const [name, one] of Object.entries({ y, dx, weightGrad, biasGrad })) {
        one?.expectRestUntouched(name);
      }

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

  it("views are the elements that a plain array's indices say", () => {
    const step = fc.oneof(
      fc.record({ kind: fc.constant("reshape" as const), seed: fc.nat() }),
      fc.record({ kind: fc.constant("slice" as const), seed: fc.nat() }),
    );
    holds(fc.tuple(anyShape, fc.array(step, { maxLength: 6 })), ([{ shape }, steps]) => {
      const whole = Tensor.from(Array.from({ length: size(shape) }, (_, i) => i));
      let view = whole.reshape(shape);
      // The model: a shape, and the places of the elements in the whole.
      let model: Model = { shape, places: Array.from({ length: size(shape) }, (_, i) => i) };
      for (const { kind, seed } of steps) {
        const random = new Random(seed);
        if (kind === "slice") {
          const axis = random.below(model.shape.length);
          const length = model.shape[axis] as number;
          const start = random.below(length + 1);
          const end = random.below(length + 1);
          const fromEnd = (index: number) =>
            random.below(2) === 0 && index < length ? index - length : index;
          const signed = random.below(2) === 0 ? axis : axis - model.shape.length;
          view = view.slice(signed, fromEnd(start), end === length ? undefined : fromEnd(end));
          model = sliced(model, axis, start, end);
        } else {
          const next = otherShape(model.places.length, random);
          const hasFree = model.places.length > 0 && random.below(2) === 0;
          const asked = hasFree ? next.with(random.below(next.length), -1) : next;
          if (isConsecutive(model.places)) {
            view = view.reshape(asked);
            model = { shape: next, places: model.places };
          } else {
            expect(() => view.reshape(asked)).toThrow(
              expect.objectContaining({ code: "not-contiguous" }),
            );
          }
        }
        const { places } = model;
        expect(view.shape).toEqual(model.shape);
        expect(view.size).toBe(places.length);
        expect([...view.toFloat32Array()]).toEqual(places);
        expect(view.contiguous).toBe(isConsecutive(places));
        if (view.contiguous) expect([...view.data]).toEqual(places);
        else {
          const notContiguous = expect.objectContaining({ code: "not-contiguous" });
          expect(() => view.data).toThrow(notContiguous);
        }
      }
      // One memory: what is written to the whole shows in the view.
      whole.data.forEach((value, i, data) => {
        data[i] = value + 0.5;
      });
      expect([...view.toFloat32Array()]).toEqual(model.places.map((place) => place + 0.5));
    });
  });
});

/** A view as a plain array: which elements of the whole it has, in row-major order. */
interface Model {
  shape: readonly number[];
  places: number[];
}

function isConsecutive(places: readonly number[]): boolean {
  return places.every((place, i) => place === (places[0] as number) + i);
}

function sliced({ shape, places }: Model, axis: number, start: number, end: number): Model {
  const inner = size(shape.slice(axis + 1));
  const along = (i: number) => Math.floor(i / inner) % (shape[axis] as number);
  return {
    shape: shape.with(axis, Math.max(0, end - start)),
    places: places.filter((_, i) => along(i) >= start && along(i) < end),
  };
}

/** Some other shape of as many elements. */
function otherShape(elements: number, random: Random): number[] {
  const shape: number[] = [];
  let rest = elements;
  for (let rank = random.below(5); rank > 0; rank--) {
    const divisors = Array.from({ length: rest }, (_, i) => i + 1).filter((d) => rest % d === 0);
    const size = divisors[random.below(divisors.length)] ?? 1;
    shape.push(size);
    rest /= size;
  }
  return [...shape, rest];
}

/** Shapes at the edges of the kernel's loops, and what each is at the edge of. */
const EDGES: [shape: number[], axis: number][] = [
  // Tails of 1 … 2×16+1, as runs and as columns.
  ...TAILS.map((n): [number[], number] => [[3, 2, n], 1]),
  ...TAILS.map((n): [number[], number] => [[5, n], 1]),
  // Runs shorter than a tile are columns, of one channel next to each other.
  ...[15, 16, 17].map((n): [number[], number] => [[70, 3, n], 1]),
  // Chunks of 128 elements of a run, with and without a tail, and of many runs up to 512.
  ...[119, 120, 127, 128, 129, 135, 136, 137, 255, 256].map((n): [number[], number] => [
    [2, 2, n],
    1,
  ]),
  ...[511, 512, 513, 1024, 4097].map((n): [number[], number] => [[2, 2, n], 1]),
  ...[1, 31, 32, 33, 129].map((n): [number[], number] => [[n, 2, 16], 1]),
  ...[29, 30, 31, 60, 61].map((n): [number[], number] => [[n, 2, 17], 1]),
  // One channel: nothing parts what is before it from what is behind.
  ...[1, 127, 128, 129, 511, 513, 4097].map((n): [number[], number] => [[n, 1], 1]),
  // Chunks of 16 rows of columns: strip by strip, and row by row where they are wide.
  ...[15, 16, 17, 31, 32, 33, 127, 128, 129].map((n): [number[], number] => [[n, 20], 1]),
  ...[15, 16, 17, 31, 32, 33, 65].map((n): [number[], number] => [[n, 2050], 1]),
  // Rows of few channels, folded to whole tiles from 16 of these on, with a rest.
  ...[255, 256, 257, 271, 272, 512 + 7].map((n): [number[], number] => [[n, 3], 1]),
  ...[1023, 1024, 1025, 4096 + 7].map((n): [number[], number] => [[n, 3], 1]),
  ...[31, 32, 33, 63, 64, 65, 127, 128, 129].map((n): [number[], number] => [[n, 8], -1]),
  ...[127, 128, 129, 511, 512, 513].map((n): [number[], number] => [[n, 2, 3], 1]),
  // … up to 1024 columns: 63 channels are folded, 65 are not.
  ...[63, 64, 65].map((n): [number[], number] => [[1030, n], 1]),
  [[4100, 63], 1],
  // More than a megabyte, walked in pieces; with dy more than four, in groups of channels.
  [[1400, 200], 1],
  [[2, 40, 128, 65], 1],
];
