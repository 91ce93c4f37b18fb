/** Properties of batch norm with an activation and a residual, over random problems. */
import { batchNormBackward, batchNormInference, batchNormTraining, Tensor } from "batchnorm-wasm";
import fc from "fast-check";
import { describe, it } from "vitest";
import { Random } from "../../scripts/random.mjs";
import {
  expectNothingElseWritten,
  expectSameBits,
  expectWithin,
  Placed,
  type Placement,
} from "../helpers.js";
import { activated, gated } from "../reference/activation.mjs";
import { truthOfActivated } from "../truth-of-activations.js";
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

/** Options, with the slope that they mean. */
const ACTIVATIONS = [
  { activation: "relu", slope: 0 },
  { activation: "leaky-relu", slope: 0.01 },
  { activation: "leaky-relu", negativeSlope: 0.3, slope: 0.3 },
  { activation: "leaky-relu", negativeSlope: 0, slope: 0 },
  { activation: null, slope: 1 },
] as const;

const ways = fc.record({
  step: fc.constantFrom(...ACTIVATIONS),
  added: fc.boolean(),
  byGiven: fc.boolean(),
});

/** A problem's data, with what comes on top. */
function dataWith(problem: Problem) {
  const data = dataOf(problem);
  const random = new Random(problem.seed + 1);
  return { ...data, residual: random.normals(data.x.length, 0, 2) };
}

/** As float32 has it, with one zero. */
const rounded = (values: Iterable<number>) => Float32Array.from(values, (value) => value + 0);

/** y as the norm's result, the residual and the activation make it one after the other. */
function twoCalls(norm: Float32Array, residual: Float32Array | null, slope: number): Float32Array {
  const sums = residual ? norm.map((value, i) => value + (residual[i] as number)) : norm;
  return rounded(activated(sums, null, Math.fround(slope)));
}

describe(properties("activations"), { timeout: 60_000 }, () => {
  it("y and all gradients are the reference's within rounding, wherever tensors lie", () => {
    const cases = fc.tuple(scattered("x", "residual", "y", "dy", "dx", "residualGrad"), ways);
    holds(cases, ([[problem, placements], { step, added, byGiven }]) => {
      const data = dataWith(problem);
      const { shape, eps } = problem;
      const { channels, options } = data;
      const { slope, ...activation } = step;
      const zeros = new Float32Array(channels.number);
      const place = (values: Float32Array, name: keyof typeof placements, padding?: number) =>
        new Placed(values, shape, placements[name], padding);
      const [x, dy] = [place(data.x, "x"), place(data.dy, "dy")];
      const residual = added ? place(data.residual, "residual") : null;
      const y = place(data.x, "y", SENTINEL);
      const dx = place(data.x, "dx", SENTINEL);
      const residualGrad = added ? place(data.x, "residualGrad", SENTINEL) : null;
      const [weight, bias] = [vector(data.weight, 1), vector(data.bias, 2)];
      const [weightGrad, biasGrad] = [vector(zeros, 3, SENTINEL), vector(zeros, 1, SENTINEL)];
      const [mean, variance] = [vector(data.mean, 3), vector(data.variance, 5)];

      const all = {
        ...{ ...options, ...activation, residual: residual?.tensor, out: y.tensor },
        ...{ weight: weight?.tensor, bias: bias?.tensor },
      };
      const statistics = { mean: mean?.tensor as Tensor, variance: variance?.tensor as Tensor };
      const { saved } = byGiven
        ? batchNormInference(x.tensor, { ...all, ...statistics, saved: true })
        : batchNormTraining(x.tensor, all);
      batchNormBackward(dy.tensor, {
        saved,
        out: dx.tensor,
        residualGrad: residualGrad?.tensor,
        weightGrad: weightGrad?.tensor,
        biasGrad: biasGrad?.tensor,
      });

      const given = byGiven
        ? { mean: Float64Array.from(data.mean), variance: Float64Array.from(data.variance) }
        : null;
      const parameters = { weight: data.weight, bias: data.bias, eps };
      const truth = truthOfActivated(
        data.x,
        data.dy,
        channels,
        parameters,
        { residual: residual && data.residual, slope, given },
        y.values(),
      );
      const { bounds, gradients } = truth;
      expectWithin(y.values(), truth.y, bounds.y, "y");
      expectWithin(dx.values(), gradients.dx, bounds.dx, "dx");
      expectWithin(weightGrad?.values() ?? [], gradients.dweight, bounds.dweight, "dweight");
      expectWithin(biasGrad?.values() ?? [], gradients.dbias, bounds.dbias, "dbias");
      if (residualGrad) {
        expectWithin(residualGrad.values(), truth.dv, truth.boundOfDv, "dresidual");
      }
      const outputs = { y, dx, weightGrad, biasGrad };
      expectNothingElseWritten({ x, dy, residual, weight, bias, mean, variance }, outputs);
      residualGrad?.expectRestUntouched("residualGrad");
    });
  });

  /** The bits of a call are those of the norm's and then of an element's arithmetic, both ways. */
  function checkBits(
    problem: Problem,
    placement: Placement | undefined,
    {
      step,
      added,
      byGiven,
    }: { step: (typeof ACTIVATIONS)[number]; added: boolean; byGiven: boolean },
  ): void {
    const data = dataWith(problem);
    const { shape } = problem;
    const { slope, ...activation } = step;
    // Alike in strides, so that the same elements are summed in the same order.
    const place = (values: Float32Array) => new Placed(values, shape, placement);
    const [x, dy] = [place(data.x), place(data.dy)];
    const [weight, bias] = [vector(data.weight)?.tensor, vector(data.bias)?.tensor];
    const parameters = { ...data.options, weight, bias };
    const [mean, variance] = [data.mean, data.variance];
    const forward = (options: object) =>
      byGiven
        ? batchNormInference(x.tensor, { ...parameters, mean, variance, saved: true, ...options })
        : batchNormTraining(x.tensor, { ...parameters, ...options });
    const expectSame = (got: Placed, want: Float32Array, name: string) => {
      expectSameBits(rounded(got.values()), want, name);
      got.expectRestUntouched(name);
    };

    const norm = place(data.x);
    const plain = forward({ out: norm.tensor });
    const want = twoCalls(norm.values(), added ? data.residual : null, slope);
    const residual = added ? place(data.residual) : null;
    const y = place(data.x);
    const all = { ...activation, residual: residual?.tensor };
    const { saved } = forward({ ...all, out: y.tensor });
    expectSame(y, want, "y");
    if (residual) {
      forward({ ...all, out: residual.tensor });
      expectSame(residual, want, "y over the residual");
    }

    const dv = rounded(gated(data.dy, y.values(), Math.fround(slope)));
    const [ofDv, dx] = [place(dv), place(data.x)];
    const gradients = batchNormBackward(ofDv.tensor, { saved: plain.saved, out: dx.tensor });
    const expectBack = (out: Placed, residualGrad: Placed | null, from: Placed, name: string) => {
      const back = batchNormBackward(from.tensor, {
        saved,
        out: out.tensor,
        residualGrad: residualGrad?.tensor ?? null,
      });
      expectSame(out, rounded(dx.values()), `dx ${name}`);
      if (residualGrad) expectSame(residualGrad, dv, `residual's gradient ${name}`);
      for (const of of ["weightGrad", "biasGrad"] as const) {
        const [a, b] = [back[of], gradients[of]].map((one) => one?.toFloat32Array());
        if (a && b) expectSameBits(a, b, `${of} ${name}`);
      }
    };
    const another = () => place(data.dy);
    expectBack(another(), null, dy, "apart");
    const over = another();
    expectBack(over, null, over, "over dy");
    if (added) {
      expectBack(another(), another(), dy, "with the residual's");
      const [first, second] = [another(), another()];
      expectBack(another(), first, first, "with the residual's over dy");
      expectBack(second, another(), second, "over dy with the residual's");
      expectBack(x, another(), dy, "over x with the residual's");
    }
  }

  it("gives the bits of the norm and then of the activation, in place too", () => {
    holds(fc.tuple(scattered("all"), ways), ([[problem, { all }], way]) => {
      checkBits(problem, all, way);
    });
  });

  it("gives these at each edge of the kernel's loops", () => {
    EDGES.forEach(([shape, axis], seed) => {
      const step = ACTIVATIONS[seed % 3] as (typeof ACTIVATIONS)[number];
      const problem = { shape, axis, seed, mean: 0.5, std: 1, eps: 1e-5, affine: true };
      if (size(shape) === 0) return;
      checkBits(problem, undefined, { step, added: seed % 2 === 0, byGiven: seed % 5 === 0 });
    });
  });

  it("gives the bits of tensors for { data, shape }", () => {
    holds(fc.tuple(problems, ways), ([problem, { step, added, byGiven }]) => {
      const { shape } = problem;
      const { x, dy, residual, options, weight, bias, mean, variance } = dataWith(problem);
      const { slope: _, ...activation } = step;
      const run = (inputOf: (data: Float32Array) => { readonly data: Float32Array }) => {
        const input = (data: Float32Array) => inputOf(data) as Tensor;
        const all = {
          ...options,
          ...activation,
          weight,
          bias,
          residual: added ? input(residual) : null,
        };
        const { y, saved } = byGiven
          ? batchNormInference(input(x), { ...all, mean, variance, saved: true })
          : batchNormTraining(input(x), all);
        const { dx, residualGrad } = batchNormBackward(input(dy), { saved });
        return { y, dx, ...(added ? { residualGrad: residualGrad as Tensor } : {}) };
      };
      const tensors = Object.entries(run((data) => Tensor.from(data, shape)));
      const plain = Object.entries(run((data) => ({ data, shape })));
      tensors.forEach(([name, tensor], i) => {
        const [otherName, other] = plain[i] as [string, Tensor];
        expectSameBits(other.data, tensor.toFloat32Array(), `${name}, ${otherName}`);
      });
    });
  });
});
