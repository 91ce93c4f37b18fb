/** The parts of `npm run bench:accuracy` that others are judged by. */
import { describe, expect, test } from "vitest";
import { gather, layoutsOf, samples, scatter } from "../../scripts/bench/accuracy/cases.mjs";
import { allowed, judge, type Record } from "../../scripts/bench/accuracy/judge.mjs";
import { overview, verdict } from "../../scripts/bench/accuracy/report.mjs";
import { inference, sum, training } from "../../scripts/bench/accuracy/truth.mjs";
import { errorsOf, median, ulp } from "../../scripts/bench/accuracy/ulp.mjs";
import { Random } from "../helpers.js";
import * as naive from "../naive.js";

describe("ULP", () => {
  test("is the distance to the next float32 away from 0", () => {
    const random = new Random(1);
    const float = new Float32Array(1);
    const bits = new Int32Array(float.buffer);
    const values = [0, 1, 2, 4, 2 ** -126, 2 ** -127, 2 ** -149, 3e38];
    for (let i = 0; i < 1000; i++)
      values.push(random.normal() * 10 ** (80 * random.uniform() - 42));
    for (const value of values) {
      float[0] = Math.abs(value);
      const here = float[0];
      bits[0] = (bits[0] as number) + 1;
      expect(ulp(here)).toBe(float[0] - here);
      expect(ulp(-here)).toBe(ulp(here));
    }
  });

  test("a rounded truth is at most half an ULP off, and the next number more", () => {
    const random = new Random(2);
    const truth = Float64Array.from({ length: 1000 }, () => random.normal(0, 1e-3));
    const rounded = errorsOf(Float32Array.from(truth), truth);
    expect(rounded.own.max).toBeLessThanOrEqual(0.5);
    expect(rounded.own.max).toBeGreaterThan(0.4);
    expect(rounded.largest.max).toBeLessThanOrEqual(0.5);
    const next = Float32Array.from(truth, (value) => value + ulp(value));
    expect(errorsOf(next, truth).own.median).toBeGreaterThan(0.5);
  });

  test("counts from the largest, from the own and relative to the own value", () => {
    const truth = Float64Array.of(8, 1, 0);
    const errors = errorsOf([8, 1 + 2 ** -20, 0], truth);
    expect(errors.largest).toEqual({ max: 1, median: 0 });
    expect(errors.own).toEqual({ max: 8, median: 0 });
    expect(errors.relative).toEqual({ max: 2 ** -20, median: 0 });
  });

  test("NaN and ∞ are infinitely wrong", () => {
    for (const wrong of [Number.NaN, Number.POSITIVE_INFINITY]) {
      expect(errorsOf([wrong, 1], Float64Array.of(1, 1)).largest.max).toBe(
        Number.POSITIVE_INFINITY,
      );
    }
  });

  test("an output of another length is refused", () => {
    expect(() => errorsOf([1], Float64Array.of(1, 1))).toThrow("1 values instead of 2");
  });

  test("the median is the middle one, or between the middle two", () => {
    expect(median(Float64Array.of(3, 1, 2))).toBe(2);
    expect(median(Float64Array.of(4, 1, 2, 3))).toBe(2.5);
  });
});

describe("Truth", () => {
  const parameters = { weight: 1.5, bias: -0.25, eps: 1e-5 };

  test("a sum loses nothing that its terms cancel to", () => {
    const terms = [1e16, 1, -1e16, 1e-3];
    expect(sum(4, (i) => terms[i] as number)).toBe(1 + 1e-3);
  });

  test("the sum of 10⁷ values is right to the last bit", () => {
    // 0.1 in float32 is a whole number of 2⁻²⁷.
    const tenth = Math.fround(0.1);
    const exact = Number(BigInt(tenth * 2 ** 27) * 10_000_000n) / 2 ** 27;
    expect(sum(1e7, () => tenth)).toBe(exact);
  });

  test("four values by hand", () => {
    const { mean, variance, unbiasedVariance, y, dx, dweight, dbias } = training(
      Float32Array.of(1, 2, 3, 6),
      Float32Array.of(1, 0, 0, 1),
      { weight: 2, bias: 1, eps: 0.5 },
    );
    // σ² = 14/4, so that 1/√(σ² + ε) = 1/2; x̂ = −1, −1/2, 0, 3/2.
    expect({ mean, variance, unbiasedVariance }).toEqual({
      mean: 3,
      variance: 3.5,
      unbiasedVariance: 14 / 3,
    });
    expect([...y]).toEqual([-1, 0, 1, 4]);
    expect({ dweight, dbias }).toEqual({ dweight: 0.5, dbias: 2 });
    // γ/2·(dy − 2/4 − x̂·(1/2)/4)
    expect([...dx]).toEqual([0.625, -0.4375, -0.5, 0.3125]);
    const given = { mean: 2, variance: 3.5, weight: 2, bias: 1, eps: 0.5 };
    expect([...inference(Float32Array.of(1, 2), given)]).toEqual([0, 1]);
  });

  test("agrees with the tests' own reference", () => {
    const random = new Random(3);
    const [x, dy] = [random.normals(500, 3, 2), random.normals(500, 1)];
    const truth = training(x, dy, parameters);
    const channels = naive.channelsOf([500, 1], 1);
    const { eps } = parameters;
    const own = { weight: [parameters.weight], bias: [parameters.bias], eps };
    const statistics = naive.statistics(x, channels);
    const gradients = naive.backward(x, dy, channels, own);
    const y = naive.forward(x, channels, statistics, own);
    expect(truth.mean).toBeCloseTo(statistics.mean[0] as number, 13);
    expect(truth.variance).toBeCloseTo(statistics.variance[0] as number, 13);
    expect(truth.dweight).toBeCloseTo(gradients.dweight[0] as number, 11);
    expect(truth.dbias).toBeCloseTo(gradients.dbias[0] as number, 11);
    for (let i = 0; i < 500; i++) {
      expect(truth.y[i]).toBeCloseTo(y[i] as number, 12);
      expect(truth.dx[i]).toBeCloseTo(gradients.dx[i] as number, 12);
    }
  });

  test("an offset that float32 holds exactly changes nothing", () => {
    const random = new Random(4);
    // Eighths: as far apart as float32 numbers are from 2²⁰ on.
    const x = Float32Array.from({ length: 300 }, () => Math.round(random.normal(0, 25)) / 8);
    const dy = random.normals(300, 1e4);
    const here = training(x, dy, parameters);
    const there = training(
      x.map((value) => value + 2 ** 20),
      dy,
      parameters,
    );
    expect(there.variance).toBeCloseTo(here.variance, 10);
    for (let i = 0; i < 300; i++) expect(there.dx[i]).toBeCloseTo(here.dx[i] as number, 10);
  });

  test("a constant channel gives exactly the bias", () => {
    const x = new Float32Array(5000).fill(12345.678);
    expect(new Set(training(x, x, parameters).y)).toEqual(new Set([parameters.bias]));
  });
});

describe("Cases", () => {
  test("every layout holds the same values where its shape says", () => {
    for (const { shape, axis } of layoutsOf({
      image: [2, 3, 2, 2],
      layouts: ["channels-first", "channels-last", "NC"],
    })) {
      const values = Float32Array.from({ length: 24 }, (_, i) => i);
      const placed = scatter({ shape, axis }, values);
      expect([...gather({ shape, axis }, placed)]).toEqual([...values]);
      const { of } = naive.channelsOf(shape, axis);
      placed.forEach((value, i) => {
        expect(Math.floor(value / 8)).toBe(of[i]);
      });
    }
  });

  test("names are unique", () => {
    const names = samples(false).map(({ distribution, image }) => `${distribution.name} ${image}`);
    expect(new Set(names).size).toBe(names.length);
  });
});

describe("Judgement", () => {
  test("y and gradients: at or below theirs, far from 0 a hundredth, and a rounding", () => {
    expect(allowed("y", 3, 1e3)).toBe(3.5);
    expect(allowed("dx", 300, 1e4)).toBe(3.5);
    expect(allowed("dbias", 300, Number.POSITIVE_INFINITY)).toBe(3.5);
  });

  test("statistics: theirs and an ULP, wherever", () => {
    expect(allowed("mean", 3, 1e7)).toBe(4);
    expect(allowed("variance", 3, 0)).toBe(4);
  });

  const record = (contestant: string, max: number, median = 0): Record => ({
    ...{ distribution: "d", layout: "NC", shape: [2, 2], op: "training", array: "y" },
    mean_over_std: 1,
    contestant,
    errors: {
      largest: { max, median },
      own: { max: 0, median: 0 },
      relative: { max: 0, median: 0 },
    },
  });

  test("maximum and median are each held against theirs", () => {
    const judged = judge([record("ours", 2, 2), record("theirs", 2, 1)], "ours", "theirs");
    expect(judged.map(({ figure, violated }) => [figure, violated])).toEqual([
      ["max", false],
      ["median", true],
    ]);
  });

  test("an infinite error violates, unless theirs is infinite, too", () => {
    const infinite = Number.POSITIVE_INFINITY;
    const violated = (theirs: number) =>
      judge([record("ours", infinite), record("theirs", theirs)], "ours", "theirs")[0]?.violated;
    expect(violated(1e9)).toBe(true);
    expect(violated(infinite)).toBe(false);
  });

  test("a violation is listed with both figures and what was allowed", () => {
    const compared = judge([record("ours", 2.5), record("theirs", 1)], "ours", "theirs");
    expect(verdict(compared, "theirs").split("\n")).toEqual([
      "Within the target against theirs: y 1/2",
      "1 of 2 figures violate it:",
      "  d · NC 2×2 · training y, max: ours 2.5, theirs 1.0, allowed 1.5",
    ]);
  });

  test("the overview has the worst case and the median of the cases' worst", () => {
    const records = [1, 2, 9].map((max) => record("ours", max));
    const theirs = [record("theirs", Number.POSITIVE_INFINITY)];
    expect(overview([...records, ...theirs], ["ours", "theirs", "absent"], "largest")).toMatch(
      /y +9\.0 \/ 2\.0 +∞ \/ ∞ +–$/,
    );
  });

  test("what they don't give is not judged", () => {
    expect(judge([record("ours", 1)], "ours", "theirs")).toEqual([]);
  });
});
