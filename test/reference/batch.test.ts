/** The reference itself: by hand, by finite differences, and in exact arithmetic. */
import { describe, expect, it } from "vitest";
import { Random } from "../../scripts/random.mjs";
import { expectWithin } from "../helpers.js";
import * as reference from "./batch.mjs";
import { sumOf } from "./sums.mjs";

/** A few roundings of float64. */
const FEW = 4 * 2 ** -53;

const together = (length: number) => reference.channelsOf([length, 1], 1);

describe("a sum", () => {
  it("loses nothing that its terms cancel to", () => {
    const terms = [1e16, 1, -1e16, 1e-3];
    expect([...sumOf((i) => terms[i] as number, together(4))]).toEqual([1 + 1e-3]);
  });

  it("of 10⁷ values is right to the last bit", () => {
    // 0.1 in float32 is a whole number of 2⁻²⁷.
    const tenth = Math.fround(0.1);
    const exact = Number(BigInt(tenth * 2 ** 27) * 10_000_000n) / 2 ** 27;
    expect([...sumOf(() => tenth, together(1e7))]).toEqual([exact]);
  });

  it("of ∞ or NaN is that, and leaves the sets beside it whole", () => {
    const sets = reference.channelsOf([2, 4], 1);
    const terms = [Infinity, NaN, 1e308, 1, 5, 1, 1e308, 2];
    expect([...sumOf((i) => terms[i] as number, sets)]).toEqual([Infinity, NaN, Infinity, 3]);
  });
});

describe("the reference of batch norm", () => {
  it("has the values of four elements by hand", () => {
    const x = Float32Array.of(1, 2, 3, 6);
    const channels = together(4);
    const parameters = { weight: [2], bias: [1], eps: 0.5 };
    const batch = reference.statistics(x, channels);
    // σ² = 14/4, so that 1/√(σ² + ε) = 1/2; x̂ = −1, −1/2, 0, 3/2.
    expect([...batch.mean, ...batch.variance]).toEqual([3, 3.5]);
    expect([...reference.forward(x, channels, batch, parameters)]).toEqual([-1, 0, 1, 4]);
    const dy = [1, 0, 0, 1];
    const { dx, dweight, dbias } = reference.backward(x, dy, channels, parameters);
    expect([...dweight, ...dbias]).toEqual([0.5, 2]);
    // γ/2·(dy − 2/4 − x̂·(1/2)/4)
    expect([...dx]).toEqual([0.625, -0.4375, -0.5, 0.3125]);

    const given = { mean: Float64Array.of(2), variance: Float64Array.of(3.5) };
    expect([...reference.forward(x, channels, given, parameters)]).toEqual([0, 1, 2, 5]);
    const constant = reference.backwardConstant(x, dy, channels, given, parameters);
    // x̂ = −1/2, 0, 1/2, 2
    expect([...constant.dweight, ...constant.dbias]).toEqual([1.5, 2]);
    expect([...constant.dx]).toEqual([1, 0, 0, 1]);
  });

  it("is right to a few roundings of float64 at 10⁷ σ, as whole numbers tell", () => {
    const random = new Random(5);
    // float32 has the whole numbers up to 2²⁴, and of these all sums here are exact.
    const x = Float32Array.from({ length: 999 }, () => 12_345_678 + random.below(5));
    const channels = together(x.length);
    const batch = reference.statistics(x, channels);
    const n = BigInt(x.length);
    const whole = Array.from(x, BigInt);
    const sum = whole.reduce((a, b) => a + b);
    const squares = whole.reduce((sum, value) => sum + value ** 2n, 0n);
    const variance = Number(n * squares - sum ** 2n) / x.length ** 2;
    expect(batch.mean[0]).toBe(Number(sum) / x.length);
    expectWithin(batch.variance, [variance], [FEW * variance], "variance");

    const xHat = whole.map((value) => Number(n * value - sum) / x.length / Math.sqrt(variance));
    const bounds = xHat.map((value) => FEW * Math.abs(value));
    expectWithin(reference.normalized(x, channels, batch, 0), xHat, bounds, "x̂");

    // Of dy = x, dγ is n·σ and nothing is left of dx.
    const { dx, dweight, dbias } = reference.backward(x, x, channels, { eps: 0 });
    const std = Math.sqrt(variance);
    expectWithin(dweight, [x.length * std], [FEW * x.length * std], "dγ");
    expect([...dbias]).toEqual([Number(sum)]);
    expectWithin(dx, whole.fill(0n).map(Number), bounds, "dx");
  });

  it("gives exactly β for a constant channel, with any ε", () => {
    const x = new Float32Array(5000).fill(12345.678);
    const channels = together(x.length);
    for (const eps of [1e-5, 0]) {
      const parameters = { weight: [1.5], bias: [-0.25], eps };
      const batch = reference.statistics(x, channels);
      const y = reference.forward(x, channels, batch, parameters);
      expect(new Set(y)).toEqual(new Set([-0.25]));
      expect(new Set(reference.backward(x, x, channels, parameters).dx)).toEqual(new Set([0]));
    }
  });

  it("keeps what is no number in its channel", () => {
    const shape = [3, 2];
    const channels = reference.channelsOf(shape, 1);
    const x = [1, 5, NaN, 6, 3, 7];
    const batch = reference.statistics(x, channels);
    expect([...batch.mean]).toEqual([NaN, 6]);
    const y = reference.forward(x, channels, batch, { eps: 0 });
    expect(Array.from(y, Number.isNaN)).toEqual([true, false, true, false, true, false]);
  });

  const SHAPES: [shape: number[], axis: number][] = [
    [[5], 0],
    [[6, 3], 1],
    [[6, 3], 0],
    [[4, 3, 5], 1],
    [[2, 3, 2, 3], -1],
  ];

  it.each(SHAPES)("has the gradients of finite differences, for %j along %i", (shape, axis) => {
    const random = new Random(3);
    const channels = reference.channelsOf(shape, axis);
    const { number, of } = channels;
    const x = Float64Array.from(random.normals(of.length, 0.5, 2));
    const dy = Float64Array.from(random.normals(of.length));
    const weight = Float64Array.from(random.normals(number, 1, 0.5));
    const bias = Float64Array.from(random.normals(number));
    const given = {
      mean: Float64Array.from(random.normals(number)),
      variance: Float64Array.from(random.normals(number), (value) => value ** 2 + 0.1),
    };
    const eps = 1e-2;
    const ways = [
      {
        through: "the batch",
        statistics: () => reference.statistics(x, channels),
        gradients: reference.backward(x, dy, channels, { weight, eps }),
      },
      {
        through: "constants",
        statistics: () => given,
        gradients: reference.backwardConstant(x, dy, channels, given, { weight, eps }),
      },
    ];
    for (const { through, statistics, gradients } of ways) {
      /** Σ dy·y, whose gradient with respect to y is dy. */
      const loss = () => {
        const y = reference.forward(x, channels, statistics(), { weight, bias, eps });
        return sumOf((i) => (dy[i] as number) * (y[i] as number), together(y.length))[0] as number;
      };
      const slopes = (values: Float64Array, h: number) =>
        values.map((value, i) => {
          values[i] = value + h;
          const above = loss();
          values[i] = value - h;
          const below = loss();
          values[i] = value;
          return (above - below) / (2 * h);
        });
      const h = 1e-4;
      const xHat = reference.normalized(x, channels, statistics(), eps);
      const size = dy.reduce((sum, dy, i) => {
        const [gamma, beta] = [weight, bias].map((all) => all[of[i] as number]) as [number, number];
        return sum + Math.abs(dy) * (Math.abs(gamma * (xHat[i] as number)) + Math.abs(beta));
      }, 0);
      // A dozen roundings make a term of the loss, of two of these over 2h.
      const rounding = (12 * 2 ** -53 * size) / h;
      const expectSlopes = (got: Float64Array, values: Float64Array, name: string) => {
        const [near, far] = [slopes(values, h), slopes(values, 2 * h)];
        // What the third derivative adds goes with h²: it is a third of what they differ by.
        const bound = near.map((near, i) => Math.abs(near - (far[i] as number)) + 2 * rounding);
        expectWithin(got, near, bound, `${name} through ${through}`);
      };
      expectSlopes(gradients.dx, x, "dx");
      expectSlopes(gradients.dweight, weight, "dweight");
      expectSlopes(gradients.dbias, bias, "dbias");
    }
  });

  it("moves running statistics towards the batch's by the share of the new ones", () => {
    const running = { mean: Float64Array.of(1), variance: Float64Array.of(2) };
    const batch = { mean: Float64Array.of(5), variance: Float64Array.of(6) };
    const { mean, variance } = reference.moved(running, batch, 4, 0.25, "unbiased");
    expect([mean[0], variance[0]]).toEqual([2, 3.5]);
    expect(reference.moved(running, batch, 4, 0.25, "biased").variance[0]).toBe(3);
  });
});
