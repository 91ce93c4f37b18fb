/** Properties of layer and RMS norm over random problems. */
import {
  layerNorm,
  layerNormBackward,
  rmsNorm,
  rmsNormBackward,
  scope,
  Tensor,
} from "batchnorm-wasm";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Random } from "../../scripts/random.mjs";
import { expectNothingElseWritten, expectPasses, expectSameBits, Placed } from "../helpers.js";
import { rowsOf } from "../reference/layer.mjs";
import { truthOfRows } from "../truth-of-rows.js";
import {
  holds,
  type Problem,
  problems,
  properties,
  SENTINEL,
  scattered,
  size,
  vector,
} from "./problems.js";

const NORMS = { layer: layerNorm, rms: rmsNorm };

/** Goes back through either norm. */
function back(norm: keyof typeof NORMS, dy: Tensor, options: object) {
  const all = options as never;
  return norm === "layer" ? layerNormBackward(dy, all) : rmsNormBackward(dy, all);
}

/** Axes of a problem: the last ones, or any. */
function axesOf({ shape, seed }: Problem, random = new Random(seed ^ 5)): number[] {
  const rank = shape.length;
  const number = 1 + random.below(rank);
  const last = Array.from({ length: number }, (_, i) => rank - number + i);
  if (!random.oneIn(3)) return random.oneIn(2) ? last : last.map((axis) => axis - rank);
  const all = shape.map((_, axis) => axis).filter(() => random.oneIn(2));
  return all.length > 0 ? all : [random.below(rank)];
}

/** The data of a problem over some axes. */
function dataOf({ shape, seed, mean, std, affine }: Problem, axes: readonly number[]) {
  const random = new Random(seed);
  const rows = rowsOf(shape, axes);
  const { number } = rows.channels;
  return {
    rows,
    x: random.normals(size(shape), mean, std),
    dy: random.normals(size(shape)),
    weight: affine ? random.normals(number, 1, 0.5) : null,
    bias: affine ? random.normals(number) : null,
  };
}

describe.each(["layer", "rms"] as const)(
  `${properties("%s norm")}`,
  { timeout: 60_000 },
  (norm) => {
    const forward = NORMS[norm];
    const withBias = norm === "layer";

    it("both passes are the reference's within rounding, along any axes, wherever tensors lie", () => {
      holds(scattered("x", "y", "dy", "dx"), ([problem, placements]) => {
        const axes = axesOf(problem);
        const data = dataOf(problem, axes);
        const { shape, eps } = problem;
        const { rows } = data;
        const zeros = new Float32Array(rows.channels.number);
        const x = new Placed(data.x, shape, placements.x);
        const dy = new Placed(data.dy, shape, placements.dy);
        const y = new Placed(data.x, shape, placements.y, SENTINEL);
        const dx = new Placed(data.x, shape, placements.dx, SENTINEL);
        const [weight, bias] = [vector(data.weight, 1), withBias ? vector(data.bias, 2) : null];
        const weightGrad = vector(zeros, 3, SENTINEL);
        const biasGrad = withBias ? vector(zeros, 1, SENTINEL) : null;

        const parameters = { weight: weight?.tensor, ...(withBias ? { bias: bias?.tensor } : {}) };
        const { saved } = forward(x.tensor, {
          axes,
          eps,
          ...parameters,
          out: y.tensor,
          saved: true,
        });
        const statistics = { mean: saved.mean, variance: saved.variance };
        back(norm, dy.tensor, {
          saved,
          out: dx.tensor,
          weightGrad: weightGrad?.tensor,
          ...(withBias ? { biasGrad: biasGrad?.tensor } : {}),
        });

        const of = { weight: data.weight, bias: withBias ? data.bias : null, eps };
        const truth = truthOfRows(norm, data.x, data.dy, rows, of);
        const outputs = { y, dx, weightGrad, biasGrad };
        const known = withBias
          ? truth
          : { ...truth, gradients: { ...truth.gradients, dbias: new Float64Array(0) } };
        expectPasses(known, statistics, outputs);
        expectNothingElseWritten({ x, dy, weight, bias }, outputs);
      });
    });

    // Lengths at the edges of the loops, and rows longer than a piece of the walk.
    const LENGTHS = [
      ...Array.from({ length: 17 }, (_, i) => i + 1),
      31,
      32,
      33,
      255,
      256,
      257,
      65_536,
    ];
    it.each(LENGTHS)(
      "rows of %i are the reference's, as many as fill slabs and some more",
      (length) => {
        const count = length > 1000 ? 3 : length < 20 ? 1027 : 131;
        scope(() => {
          const problem = {
            shape: [count, length],
            axis: 1,
            seed: 11,
            mean: 0.5,
            std: 2,
            eps: 1e-5,
          };
          const { rows, x, dy, weight, bias } = dataOf({ ...problem, affine: true }, [1]);
          const [y, dx] = [x, dy].map((values) => new Placed(values, problem.shape)) as [
            Placed,
            Placed,
          ];
          const zeros = new Float32Array(length);
          const weightGrad = new Placed(zeros, [length]);
          const biasGrad = withBias ? new Placed(zeros, [length]) : null;
          const { saved } = forward(Tensor.from(x, problem.shape), {
            ...{ weight, out: y.tensor, eps: 1e-5, saved: true },
            ...(withBias ? { bias } : {}),
          });
          back(norm, Tensor.from(dy, problem.shape), {
            ...{ saved, out: dx.tensor, weightGrad: weightGrad.tensor },
            ...(withBias ? { biasGrad: biasGrad?.tensor } : {}),
          });
          const of = { weight, bias: withBias ? bias : null, eps: 1e-5 };
          const truth = truthOfRows(norm, x, dy, rows, of);
          const known = withBias
            ? truth
            : { ...truth, gradients: { ...truth.gradients, dbias: new Float64Array(0) } };
          expectPasses(known, saved, { y, dx, weightGrad, biasGrad });
        });
      },
    );

    it("in place, from plain data, without a record and through a copy the bits are the same", () => {
      holds(problems, (problem) => {
        const { shape, eps } = problem;
        const rank = shape.length;
        const axes = [rank - 1];
        const { x, dy, weight, bias } = dataOf(problem, axes);
        const all = { axes, eps, weight, ...(withBias ? { bias } : {}) };
        const { y, saved } = forward(Tensor.from(x, shape), { ...all, saved: true });
        const { dx, weightGrad } = back(norm, Tensor.from(dy, shape), { saved });
        const inPlace = Tensor.from(x, shape);
        forward(inPlace, { ...all, out: inPlace });
        expectSameBits(inPlace.data, y.data, "y in place");
        const gradient = Tensor.from(dy, shape);
        back(norm, gradient, { saved, out: gradient });
        expectSameBits(gradient.data, dx.data, "dx in place");
        const over = Tensor.from(x, shape);
        const ofOver = forward(over, { ...all, saved: true });
        back(norm, Tensor.from(dy, shape), { saved: ofOver.saved, out: over });
        expectSameBits(over.data, dx.data, "dx over x");
        const plain = forward({ data: x, shape }, { ...all, saved: true });
        expectSameBits(plain.y.data, y.data, "y of plain data");
        // Every second element of a row alone goes through a copy.
        const strided = new Placed(x, [...shape, 1], {
          lead: 1,
          pads: [...shape.map(() => [0, 0] as const), [0, 1]],
        });
        const gaps = strided.tensor.slice(rank, 0, 1);
        const copied = forward(gaps, { ...all, axes: [rank - 1, rank], saved: true });
        expectSameBits(copied.y.toFloat32Array(), y.data, "y of what has gaps");
        const of = back(norm, Tensor.from(dy, [...shape, 1]), { saved: copied.saved });
        expectSameBits(of.dx.data, dx.data, "dx of what has gaps");
        if (weightGrad && of.weightGrad) {
          expectSameBits(of.weightGrad.data, weightGrad.data, "dγ of what has gaps");
        }
      });
    });

    it("NaN and infinity stay in their row", () => {
      holds(
        fc.tuple(fc.integer({ min: 2, max: 40 }), fc.integer({ min: 1, max: 70 })),
        ([count, length]) => {
          const random = new Random(count * 100 + length);
          const shape = [count, length];
          const clean = random.normals(count * length);
          const row = random.below(count);
          const spoilt = clean.slice();
          spoilt[row * length + random.below(length)] = random.oneIn(2)
            ? Number.NaN
            : Number.POSITIVE_INFINITY;
          // Copied at once: a view ends where memory grows.
          const [want, got] = [clean, spoilt].map((x) =>
            forward(Tensor.from(x, shape)).data.filter((_, i) => Math.floor(i / length) !== row),
          );
          expectSameBits(got as Float32Array, want as Float32Array, "other rows");
        },
      );
    });

    it("a tensor with an axis of size 0 gives an empty result, and gradients of 0", () => {
      const shapes = fc.constantFrom([0, 4, 3], [2, 0, 3], [2, 4, 0]);
      holds(fc.tuple(shapes, fc.constantFrom([2], [1], [1, 2], [0])), ([shape, axes]) => {
        const number = axes.reduce<number>((product, axis) => product * (shape[axis] as number), 1);
        const weight = Tensor.zeros([number]);
        const { y, saved } = forward(Tensor.zeros(shape), { axes, weight, saved: true });
        const { dx, weightGrad } = back(norm, Tensor.zeros(shape), { saved });
        expect([y.shape, dx.shape]).toEqual([shape, shape]);
        expect([...saved.mean, ...saved.variance].every((value) => value === 0)).toBe(true);
        expect([...(weightGrad?.data ?? [])]).toEqual(new Array(number).fill(0));
      });
    });
  },
);
