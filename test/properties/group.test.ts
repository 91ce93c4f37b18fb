/** Properties of group and instance norm over random problems. */
import {
  batchNormBackward,
  batchNormTraining,
  groupNorm,
  groupNormBackward,
  instanceNorm,
  instanceNormBackward,
  scope,
  Tensor,
} from "batchnorm-wasm";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  expectNothingElseWritten,
  expectPasses,
  expectSameBits,
  expectWithin,
  Placed,
} from "../helpers.js";
import { groupsOf } from "../reference/group.mjs";
import { truthOfGroups } from "../truth-of-groups.js";
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

/** One of the numbers of groups that a problem's channels can be in. */
function numberOf({ shape, axis, seed }: Problem): number {
  const channels = shape.at(axis) as number;
  const divisors = Array.from({ length: channels }, (_, i) => i + 1).filter(
    (number) => channels % number === 0,
  );
  return divisors[seed % divisors.length] as number;
}

describe(properties("group norm"), { timeout: 60_000 }, () => {
  it("both passes are the reference's within rounding, wherever tensors lie", () => {
    holds(scattered("x", "y", "dy", "dx"), ([problem, placements]) => {
      const data = dataOf(problem);
      const { shape, axis, eps } = problem;
      const { channels, options } = data;
      const numGroups = numberOf(problem);
      const zeros = new Float32Array(channels.number);
      const x = new Placed(data.x, shape, placements.x);
      const dy = new Placed(data.dy, shape, placements.dy);
      const y = new Placed(data.x, shape, placements.y, SENTINEL);
      const dx = new Placed(data.x, shape, placements.dx, SENTINEL);
      const [weight, bias] = [vector(data.weight, 1), vector(data.bias, 2)];
      const weightGrad = vector(zeros, 3, SENTINEL);
      const biasGrad = vector(zeros, 1, SENTINEL);

      const parameters = { weight: weight?.tensor, bias: bias?.tensor };
      const all = { ...options, ...parameters, numGroups };
      const { saved } = groupNorm(x.tensor, { ...all, out: y.tensor, saved: true });
      const statistics = { mean: saved.mean, variance: saved.variance };
      groupNormBackward(dy.tensor, {
        saved,
        out: dx.tensor,
        weightGrad: weightGrad?.tensor,
        biasGrad: biasGrad?.tensor,
      });

      const groups = groupsOf(shape, axis, numGroups);
      const of = { weight: data.weight, bias: data.bias, eps };
      const truth = truthOfGroups(data.x, data.dy, groups, of);
      const outputs = { y, dx, weightGrad, biasGrad };
      expectPasses(truth, statistics, outputs);
      expectNothingElseWritten({ x, dy, weight, bias }, outputs);
    });
  });

  // Of more elements, what is cut is tried with lower limits (crate/kernel/tests).
  it.each(EDGES.filter(([shape]) => size(shape) < 50_000))(
    "%j along %i is the reference's, in one group and in as many as channels",
    (shape, axis) => {
      const channels = shape.at(axis) as number;
      for (const numGroups of new Set([1, channels])) {
        scope(() => {
          const problem = { shape, axis, seed: 11, mean: 0.5, std: 2, eps: 1e-5, affine: true };
          const { x, dy, weight, bias } = dataOf(problem);
          const groups = groupsOf(shape, axis, numGroups);
          const truth = truthOfGroups(x, dy, groups, { weight, bias, eps: 1e-5 });
          const { y, saved } = groupNorm(Tensor.from(x, shape), {
            ...{ axis, numGroups, saved: true, weight: weight as Float32Array },
            bias: bias as Float32Array,
          });
          const { dx, weightGrad } = groupNormBackward(Tensor.from(dy, shape), { saved });
          expectWithin(y.data, truth.y, truth.bounds.y, "y");
          expectWithin(dx.data, truth.gradients.dx, truth.bounds.dx, "dx");
          const { dweight } = truth.gradients;
          expectWithin(weightGrad?.data ?? [], dweight, truth.bounds.dweight, "dweight");
        });
      }
    },
  );

  it("instance norm is group norm with as many groups as channels, to the bit", () => {
    holds(problems, (problem) => {
      const { x, dy, weight, bias, channels, options } = dataOf(problem);
      const all = { ...options, weight, bias, saved: true as const };
      const [one, other] = [x, x].map((values) => Tensor.from(values, problem.shape));
      const numGroups = channels.number;
      const group = groupNorm(one as Tensor, { ...all, numGroups });
      const instance = instanceNorm(other as Tensor, all);
      expect(instance.saved.numGroups).toBe(numGroups);
      expectSameBits(instance.y.data, group.y.data, "y");
      const gradient = Tensor.from(dy, problem.shape);
      const want = groupNormBackward(gradient, { saved: group.saved });
      const got = instanceNormBackward(gradient, { saved: instance.saved });
      expectSameBits(got.dx.data, want.dx.data, "dx");
      const [a, b] = [got, want].map(({ weightGrad }) => weightGrad?.data ?? new Float32Array());
      expectSameBits(a as Float32Array, b as Float32Array, "dweight");
    });
  });

  it("a sample alone is batch norm's by instance norm, both ways and to the bit", () => {
    holds(problems, (problem) => {
      const { shape, axis } = problem;
      const at = axis < 0 ? axis + shape.length : axis;
      const alone = { ...problem, shape: at === 0 ? shape : [1, ...shape.slice(1)] };
      const { x, dy, weight, bias, options } = dataOf(alone);
      const far = dy.map((value) => value + 1e4);
      const all = { ...options, weight, bias };
      const instance = instanceNorm(Tensor.from(x, alone.shape), { ...all, saved: true });
      const batch = batchNormTraining(Tensor.from(x, alone.shape), all);
      expectSameBits(instance.y.data, batch.y.data, "y");
      const gradient = Tensor.from(far, alone.shape);
      const got = instanceNormBackward(gradient, { saved: instance.saved });
      const want = batchNormBackward(gradient, { saved: batch.saved });
      expectSameBits(got.dx.data, want.dx.data, "dx");
      const [a, b] = [got, want].map(({ weightGrad }) => weightGrad?.data ?? new Float32Array());
      expectSameBits(a as Float32Array, b as Float32Array, "dweight");
    });
  });

  it("in place, from plain data and without a record the bits are the same", () => {
    holds(problems, (problem) => {
      const { x, dy, weight, bias, options } = dataOf(problem);
      const { shape } = problem;
      const all = { ...options, weight, bias, numGroups: numberOf(problem) };
      const { y, saved } = groupNorm(Tensor.from(x, shape), { ...all, saved: true });
      const { dx } = groupNormBackward(Tensor.from(dy, shape), { saved });
      const inPlace = Tensor.from(x, shape);
      groupNorm(inPlace, { ...all, out: inPlace });
      expectSameBits(inPlace.data, y.data, "y in place");
      const gradient = Tensor.from(dy, shape);
      groupNormBackward(gradient, { saved, out: gradient });
      expectSameBits(gradient.data, dx.data, "dx in place");
      const plain = groupNorm({ data: x, shape }, { ...all, saved: true });
      expectSameBits(plain.y.data, y.data, "y of plain data");
      const ofPlain = groupNormBackward({ data: dy, shape }, { saved: plain.saved });
      expectSameBits(ofPlain.dx.data, dx.data, "dx of plain data");
    });
  });

  it("a tensor with an axis of size 0 gives an empty result, and gradients of 0", () => {
    const shapes = fc.constantFrom([0, 4, 3], [2, 0, 3], [2, 4, 0]);
    holds(shapes, (shape) => {
      const weight = Tensor.zeros([shape[1] as number]);
      const { y, saved } = groupNorm(Tensor.zeros(shape), { numGroups: 2, weight, saved: true });
      const { dx, weightGrad } = groupNormBackward(Tensor.zeros(shape), { saved });
      expect([y.shape, dx.shape]).toEqual([shape, shape]);
      expect([...saved.mean, ...saved.variance]).toEqual(
        new Array(4 * (shape[0] as number)).fill(0),
      );
      expect([...(weightGrad?.data ?? [])]).toEqual(new Array(shape[1]).fill(0));
    });
  });
});
