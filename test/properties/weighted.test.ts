/** Properties of batch norm with `mask` and `weights`, over random problems. */
import {
  BatchNorm,
  batchNormBackward,
  batchNormInference,
  batchNormStatistics,
  batchNormTraining,
  memoryUsage,
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
} from "../helpers.js";
import * as reference from "../reference/weighted.mjs";
import { truthOfWeights } from "../truth-of-weights.js";
import {
  dataOf,
  EDGES,
  holds,
  type Problem,
  problems,
  properties,
  SENTINEL,
  scattered,
  size,
  vector,
} from "./problems.js";

/** x's shape without the channel axis; of a vector one position. */
function positionsOf({ shape, axis }: Pick<Problem, "shape" | "axis">): number[] {
  const positions = shape.filter((_, i) => i !== (axis < 0 ? axis + shape.length : axis));
  return positions.length > 0 ? positions : [1];
}

/** How weights are drawn. */
const kinds = fc.constantFrom("mask", "weights", "few", "small", "large");

type Kind = "mask" | "weights" | "few" | "small" | "large";

/** Weights, of which at least one is above 0. */
function draw(kind: Kind, length: number, random: Random): Float32Array {
  const weights = Float32Array.from({ length }, () => {
    const value = random.uniform() * 3;
    if (kind === "mask") return value < 2 ? 1 : 0;
    if (kind === "few") return value < 0.3 ? 1 : 0;
    const scale = kind === "small" ? 1e-30 : kind === "large" ? 1e30 : 1;
    return value < 0.5 ? 0 : value * scale;
  });
  weights[random.below(length)] = kind === "small" ? 1e-30 : kind === "large" ? 1e30 : 1;
  return weights;
}

/** A problem, where its tensors lie, and its weights. */
const weighted = fc.tuple(scattered("x", "y", "dy", "dx"), kinds);

const isWeighted = (weights: Float32Array) => weights.some((one) => one !== weights[0]);

describe(properties("weighted batch norm"), { timeout: 60_000 }, () => {
  it("training and its gradients are the reference's within rounding, wherever tensors lie", () => {
    holds(weighted, ([[problem, placements], kind]) => {
      const data = dataOf(problem);
      const { shape, eps } = problem;
      const { channels, options } = data;
      const positions = positionsOf(problem);
      const each = draw(kind, size(positions), new Random(problem.seed + 7));
      const zeros = new Float32Array(channels.number);
      const x = new Placed(data.x, shape, placements.x);
      const dy = new Placed(data.dy, shape, placements.dy);
      const y = new Placed(data.x, shape, placements.y, SENTINEL);
      const dx = new Placed(data.x, shape, placements.dx, SENTINEL);
      const weights = new Placed(each, positions, { lead: 3, pads: positions.map(() => [1, 2]) });
      const [weight, bias] = [vector(data.weight, 1), vector(data.bias, 2)];
      const weightGrad = vector(zeros, 3, SENTINEL);
      const biasGrad = vector(zeros, 1, SENTINEL);
      const all = { ...options, weight: weight?.tensor, bias: bias?.tensor, out: y.tensor };
      const isMask = kind === "mask" || kind === "few";
      const { saved } = batchNormTraining(x.tensor, {
        ...all,
        ...(isMask ? { mask: weights.tensor } : { weights: weights.tensor }),
      });
      const statistics = { mean: saved.mean, variance: saved.variance };
      batchNormBackward(dy.tensor, {
        saved,
        out: dx.tensor,
        weightGrad: weightGrad?.tensor,
        biasGrad: biasGrad?.tensor,
      });

      const parameters = { weight: data.weight, bias: data.bias, eps };
      const over = reference.weighted(shape, problem.axis, each);
      const truth = truthOfWeights(data.x, data.dy, over, parameters);
      const outputs = { y, dx, weightGrad, biasGrad };
      if (isWeighted(each)) expectPasses(truth, statistics, outputs);
      expectNothingElseWritten({ x, dy, weight, bias, weights }, outputs);
    });
  });

  it("every edge of the kernel's loops gives the reference's results", () => {
    for (const [shape, axis] of EDGES) {
      const problem = { shape, axis, seed: 5, mean: 3, std: 2, eps: 1e-5, affine: true };
      const { options, x, dy, weight, bias } = dataOf(problem);
      const positions = positionsOf(problem);
      const each = draw("weights", size(positions), new Random(9));
      if (!isWeighted(each)) continue;
      const over = reference.weighted(shape, axis, each);
      const truth = truthOfWeights(x, dy, over, { weight, bias, eps: 1e-5 });
      const { bounds, gradients } = truth;
      const what = (name: string) => `${name} of [${shape}] along ${axis}`;
      const { y, saved } = batchNormTraining(Tensor.from(x, shape), {
        ...options,
        weights: each,
        weight: Tensor.from(weight as Float32Array),
        bias: Tensor.from(bias as Float32Array),
      });
      const back = batchNormBackward(Tensor.from(dy, shape), { saved });
      expectWithin(saved.mean, truth.statistics.mean, bounds.mean, what("mean"));
      expectWithin(saved.variance, truth.statistics.variance, bounds.variance, what("variance"));
      expectWithin(y.toFloat32Array(), truth.y, bounds.y, what("y"));
      expectWithin(back.dx.toFloat32Array(), gradients.dx, bounds.dx, what("dx"));
      const [dweight, dbias] = [back.weightGrad, back.biasGrad] as [Tensor, Tensor];
      expectWithin(dweight.toFloat32Array(), gradients.dweight, bounds.dweight, what("dweight"));
      expectWithin(dbias.toFloat32Array(), gradients.dbias, bounds.dbias, what("dbias"));
      for (const one of [y, saved, back.dx, dweight, dbias]) one.dispose();
    }
  });

  it("running statistics move as the reference's within rounding, also where W is at most 1", () => {
    const cases = fc.tuple(
      problems.filter(({ shape, axis }) => size(shape) > (shape.at(axis) as number)),
      fc.double({ min: 0, max: 1, noNaN: true }),
      fc.constantFrom("biased" as const, "unbiased" as const),
      fc.constantFrom(1, 0.25, 2 ** -10),
    );
    holds(cases, ([problem, momentum, runningVariance, scale]) => {
      const { channels, options, x, mean, variance } = dataOf(problem);
      const each = draw("weights", size(positionsOf(problem)), new Random(problem.seed));
      const weights = each.map((one) => one * scale);
      const before = { mean: Float64Array.from(mean), variance: Float64Array.from(variance) };
      const [runningMean, runningVar] = [vector(mean, 1), vector(variance, 2)];
      const running = { runningMean: runningMean?.tensor, runningVar: runningVar?.tensor };
      const tensor = Tensor.from(x, problem.shape);
      const moving = { ...options, ...running, momentum, runningVariance, weights };
      batchNormTraining(tensor, moving);
      const over = reference.weighted(problem.shape, problem.axis, weights);
      const truth = truthOfWeights(x, x, over, { eps: problem.eps });
      const moved = reference.moved(before, truth.statistics, over, momentum, runningVariance);
      const zero = new Float64Array(channels.number);
      const { total } = over;
      const correction = runningVariance === "unbiased" && total > 1 ? total / (total - 1) : 1;
      const bound = boundOfMoved(
        moved,
        { mean: zero, variance: zero },
        truth.bounds,
        momentum,
        correction,
      );
      expectWithin(runningMean?.values() ?? [], moved.mean, bound.mean, "running mean");
      expectWithin(runningVar?.values() ?? [], moved.variance, bound.variance, "running variance");

      // The same statistics, alone.
      const [again, againVar] = [vector(mean), vector(variance)];
      const alone = { ...moving, runningMean: again?.tensor, runningVar: againVar?.tensor };
      const { eps: _, ...known } = alone;
      const own = batchNormStatistics(tensor, known);
      expectWithin(own.mean, truth.statistics.mean, truth.bounds.mean, "mean");
      expectSameBits(
        again?.values() as Float32Array,
        runningMean?.values() as Float32Array,
        "running mean by the statistics alone",
      );
    });
  });

  it("in place gives the bits of out of place, forward and backward", () => {
    holds(fc.tuple(scattered("x", "dy"), kinds), ([[problem, placements], kind]) => {
      const { shape } = problem;
      const data = dataOf(problem);
      const weights = draw(kind, size(positionsOf(problem)), new Random(problem.seed));
      const all = { ...data.options, weight: vector(data.weight)?.tensor, weights };
      const place = () => new Placed(data.x, shape, placements.x);
      const [x, out, inPlace] = [place(), place(), place()];
      const { saved } = batchNormTraining(x.tensor, { ...all, out: out.tensor });
      batchNormTraining(inPlace.tensor, { ...all, out: inPlace.tensor });
      expectSameBits(inPlace.values(), out.values(), "y");
      const placeDy = () => new Placed(data.dy, shape, placements.dy);
      const [dy, dx, over] = [placeDy(), placeDy(), placeDy()];
      batchNormBackward(dy.tensor, { saved, out: dx.tensor });
      batchNormBackward(over.tensor, { saved, out: over.tensor });
      expectSameBits(over.values(), dx.values(), "dx");
      over.expectRestUntouched("dy in place");
    });
  });

  it("weights that are all alike are none, to the bit, whatever they are", () => {
    holds(fc.tuple(problems, fc.constantFrom(1, 0.3, 7, 1e30)), ([problem, value]) => {
      const { x, dy, options, weight, mean, variance } = dataOf(problem);
      const { shape } = problem;
      const count = size(positionsOf(problem));
      const run = (more: object) => {
        const running = { runningMean: Tensor.from(mean), runningVar: Tensor.from(variance) };
        const { y, saved } = batchNormTraining(Tensor.from(x, shape), {
          ...{ ...options, ...running, runningVariance: "biased" },
          ...{ weight: weight && Tensor.from(weight), ...more },
        });
        const { dx, weightGrad } = batchNormBackward(Tensor.from(dy, shape), { saved });
        const moved = Object.values(running).map((one) => one.toFloat32Array());
        const gradients = [dx, weightGrad].map((one) => one?.toFloat32Array());
        return [y.toFloat32Array(), ...moved, ...gradients];
      };
      const plain = run({});
      const alike = { weights: new Float32Array(count).fill(value) };
      const ways = [alike, { mask: new Array<boolean>(count).fill(true) }, { mask: [1] }];
      // A bare array has all positions.
      for (const more of count === 1 ? ways : ways.slice(0, 2)) {
        run(more).forEach((values, i) => {
          if (values) expectSameBits(values, plain[i] as Float32Array, `result ${i}`);
        });
      }
    });
  });

  it("a mask gives the statistics and gradients of the data without the masked rows", () => {
    const rows = fc.record({ rows: fc.integer({ min: 2, max: 200 }), channels: fc.nat(40) });
    holds(fc.tuple(rows, fc.nat()), ([{ rows, channels: more }, seed]) => {
      const channels = more + 1;
      const random = new Random(seed);
      const mask = draw("mask", rows, random);
      mask[0] = 1;
      const kept = [...mask.keys()].filter((row) => mask[row] === 1);
      const keep = (values: Float32Array) =>
        Float32Array.from(
          kept.flatMap((row) => [...values.subarray(row * channels, (row + 1) * channels)]),
        );
      const x = random.normals(rows * channels, 3, 2);
      // Of what is masked nothing comes back.
      const dy = random
        .normals(x.length)
        .map((value, i) => value * (mask[Math.floor(i / channels)] as number));
      const shape = [rows, channels];
      const masked = batchNormTraining(Tensor.from(x, shape), { mask });
      const alone = batchNormTraining(Tensor.from(keep(x), [kept.length, channels]));
      const over = reference.weighted(shape, 1, mask);
      const { bounds } = truthOfWeights(x, dy, over, { eps: 1e-5 });
      const twice = (bound: Float64Array) => bound.map((value) => 2 * value);
      expectWithin(masked.saved.mean, alone.saved.mean, twice(bounds.mean), "mean");
      expectWithin(masked.saved.variance, alone.saved.variance, twice(bounds.variance), "variance");
      const ofKept = (bound: Float64Array) =>
        Float64Array.from(
          kept.flatMap((row) => [...bound.subarray(row * channels, (row + 1) * channels)]),
          (value) => 2 * value,
        );
      const y = keep(masked.y.toFloat32Array());
      expectWithin(y, alone.y.toFloat32Array(), ofKept(bounds.y), "y");
      const back = batchNormBackward(Tensor.from(dy, shape), { saved: masked.saved });
      const want = batchNormBackward(Tensor.from(keep(dy), [kept.length, channels]), {
        saved: alone.saved,
      });
      const dx = back.dx.toFloat32Array();
      expectWithin(keep(dx), want.dx.toFloat32Array(), ofKept(bounds.dx), "dx");
      const others = dx.filter((_, i) => mask[Math.floor(i / channels)] === 0);
      expect(new Set(others.map(Math.abs))).toEqual(new Set(others.length > 0 ? [0] : []));
    });
  });

  it("what is masked changes no bit of anything else, be it NaN or infinite", () => {
    holds(fc.tuple(problems, kinds), ([problem, kind]) => {
      const { shape, axis } = problem;
      const { x, options } = dataOf(problem);
      const each = draw(kind, size(positionsOf(problem)), new Random(problem.seed));
      const { weights } = reference.weighted(shape, axis, each);
      const run = (other: number) => {
        const spoilt = x.map((value, i) => ((weights[i] as number) > 0 ? value : other));
        const all = { ...options, weights: each };
        const { y, saved } = batchNormTraining(Tensor.from(spoilt, shape), all);
        const counted = y.toFloat32Array().filter((_, i) => (weights[i] as number) > 0);
        return [Float32Array.from([...saved.mean, ...saved.variance]), counted];
      };
      const plain = run(0);
      for (const other of [Number.NaN, Infinity, -Infinity, 3e38]) {
        run(other).forEach((values, i) => {
          expectSameBits(values, plain[i] as Float32Array, `${i} beside ${other}`);
        });
      }
    });
  });

  it("where nothing counts, running statistics normalize and stay, and nothing is NaN", () => {
    holds(problems, (problem) => {
      const { shape } = problem;
      const { x, dy, options, mean, variance, weight, bias } = dataOf(problem);
      const spoilt = x.map((value, i) => (i === 0 ? Number.NaN : value));
      const zeros = new Float32Array(size(positionsOf(problem)));
      const running = { runningMean: Tensor.from(mean), runningVar: Tensor.from(variance) };
      const parameters = {
        weight: weight && Tensor.from(weight),
        bias: bias && Tensor.from(bias),
      };
      const given = { mean: Tensor.from(mean), variance: Tensor.from(variance) };
      const all = { ...options, ...parameters };
      for (const none of [{ weights: zeros }, { mask: zeros }]) {
        for (const values of [x, spoilt]) {
          const input = Tensor.from(values, shape);
          const { y, saved } = batchNormTraining(input, { ...all, ...running, ...none });
          const want = batchNormInference(input, { ...all, ...given, saved: true });
          expectSameBits(y.toFloat32Array(), want.y.toFloat32Array(), "y");
          expect(saved.statistics).toBe("running");
          const gradient = Tensor.from(dy, shape);
          const [a, b] = [saved, want.saved].map((saved) =>
            batchNormBackward(gradient, { saved }).dx.toFloat32Array(),
          ) as [Float32Array, Float32Array];
          expectSameBits(a, b, "dx");
        }
      }
      expectSameBits(running.runningMean.toFloat32Array(), mean, "running mean");
      expectSameBits(running.runningVar.toFloat32Array(), variance, "running variance");
    });
  });

  it("any spelling of the same weights gives the same bits, and they are given back", () => {
    const ways = fc.tuple(problems, fc.constantFrom("mask" as const, "weights" as const));
    holds(ways, ([problem, name]) => {
      const { shape, axis } = problem;
      const { x, options } = dataOf(problem);
      const along = axis < 0 ? axis + shape.length : axis;
      const positions = positionsOf(problem);
      const each = draw(name, size(positions), new Random(problem.seed));
      const withChannel = shape.map((size, i) => (i === along ? 1 : size));
      const plain = [...each];
      const spellings: unknown[] = [
        ...[each, plain, { data: each, shape: positions }, { data: plain, shape: withChannel }],
        ...[Tensor.from(each, positions), Tensor.from(each, withChannel)],
        ...(name === "mask"
          ? [
              Uint8Array.from(each),
              plain.map(Boolean),
              { data: plain.map(Boolean), shape: positions },
            ]
          : []),
      ];
      const input = Tensor.from(x, shape);
      const before = memoryUsage().liveBytes;
      const results = spellings.map((value) => {
        const { y, saved } = batchNormTraining(input, { ...options, [name]: value });
        const values = y.toFloat32Array();
        y.dispose();
        saved.dispose();
        return values;
      });
      expect(memoryUsage().liveBytes).toBe(before);
      for (const result of results) expectSameBits(result, results[0] as Float32Array, "y");
    });
  });

  it("weights that broadcast give the bits of those written out", () => {
    const shapes = fc.tuple(
      fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 2, maxLength: 5 }),
      fc.nat(4),
      fc.nat(),
    );
    holds(shapes, ([shape, at, seed]) => {
      const axis = at % shape.length;
      const random = new Random(seed);
      const positions = shape.filter((_, i) => i !== axis);
      const over = positions.map((size) => (random.below(2) === 0 ? 1 : size));
      const given = over.slice(random.below(over.length));
      const each = draw("weights", size(given), random);
      const { weights } = reference.weighted(shape, axis, each, given);
      // The first channel's elements are the positions in their order.
      const { channels } = reference.weighted(shape, axis, each, given);
      const whole = Float32Array.from(weights.filter((_, i) => channels.of[i] === 0));
      const x = Tensor.from(random.normals(size(shape)), shape);
      const [a, b] = [{ data: each, shape: given }, whole].map((weights) =>
        batchNormTraining(x, { axis, weights }).y.toFloat32Array(),
      ) as [Float32Array, Float32Array];
      expectSameBits(a, b, "y");
    });
  });

  it("a layer gives the functions' bits, in training by the weights, in evaluation without", () => {
    holds(fc.tuple(problems, kinds), ([problem, kind]) => {
      const { shape, axis } = problem;
      const channels = shape.at(axis) as number;
      if (size(shape) === channels) return;
      const { x, dy, options } = dataOf(problem);
      const weights = draw(kind, size(positionsOf(problem)), new Random(problem.seed));
      using layer = new BatchNorm(channels, { preset: "onnx", ...options });
      const input = Tensor.from(x, shape);
      const y = layer.forward(input, { weights, training: true });
      const running = {
        runningMean: Tensor.zeros([channels]),
        runningVar: Tensor.from(new Array(channels).fill(1)),
      };
      const want = batchNormTraining(input, {
        ...{ ...options, ...running, momentum: 1 - 0.9, runningVariance: "biased", weights },
        ...{ weight: layer.weight, bias: layer.bias },
      });
      expectSameBits(y.toFloat32Array(), want.y.toFloat32Array(), "y");
      const { runningMean, runningVar } = layer as { [K in keyof typeof running]: Tensor };
      for (const [name, got] of Object.entries({ runningMean, runningVar })) {
        const wanted = running[name as keyof typeof running];
        expectSameBits(got.toFloat32Array(), wanted.toFloat32Array(), name);
      }
      const gradient = Tensor.from(dy, shape);
      const back = batchNormBackward(gradient, { saved: want.saved });
      expectSameBits(layer.backward(gradient).toFloat32Array(), back.dx.toFloat32Array(), "dx");

      const evaluated = layer.forward(input, { weights, training: false }).toFloat32Array();
      const plain = layer.forward(input, { training: false }).toFloat32Array();
      expectSameBits(evaluated, plain, "y in evaluation");
    });
  });
});
