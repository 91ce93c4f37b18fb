/** The parts of `npm run bench:accuracy` that others are judged by. */
import { describe, expect, test } from "vitest";
import {
  gather,
  layoutsOf,
  type Sample,
  samples,
  scatter,
} from "../../scripts/bench/accuracy/cases.mjs";
import { allowed, judge, type Record } from "../../scripts/bench/accuracy/judge.mjs";
import { overview, verdict } from "../../scripts/bench/accuracy/report.mjs";
import { runSample } from "../../scripts/bench/accuracy/run.mjs";
import { errorsOf, median, ulp } from "../../scripts/bench/accuracy/ulp.mjs";
import type { Data } from "../../scripts/bench/contestant.d.ts";
import { Random } from "../../scripts/random.mjs";
import { channelsOf } from "../reference/batch.mjs";

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

describe("Cases", () => {
  test("every layout holds the same values where its shape says", () => {
    for (const { shape, axis } of layoutsOf({
      image: [2, 3, 2, 2],
      layouts: ["channels-first", "channels-last", "NC"],
    })) {
      const values = Float32Array.from({ length: 24 }, (_, i) => i);
      const placed = scatter({ shape, axis }, values);
      expect([...gather({ shape, axis }, placed)]).toEqual([...values]);
      const { of } = channelsOf(shape, axis);
      placed.forEach((value, i) => {
        expect(Math.floor(value / 8)).toBe(of[i]);
      });
    }
  });

  test("names are unique", () => {
    const names = samples({ quick: false }).map(
      ({ distribution, image }) => `${distribution.name} ${image}`,
    );
    expect(new Set(names).size).toBe(names.length);
  });
});

describe("A sample", () => {
  test("finds no error in what is right, and as large a one as there is", async () => {
    // Without a type, as contestants are written.
    const loop = "../../scripts/bench/contestants/naive-loop.mjs";
    const started = await (await import(loop)).default.start();
    const unbiased = {
      ...started,
      async prepare(cell: unknown, data: unknown) {
        const prepared = await started.prepare(cell, data);
        const outputs = async () => {
          const { variance, ...all } = await prepared.outputs();
          const scaled = variance?.map((value: number) => (value * 6) / 5);
          return scaled ? { ...all, unbiasedVariance: scaled } : all;
        };
        return { ...prepared, outputs };
      },
    };
    const wrong = {
      ...started,
      async prepare(cell: unknown, data: Data) {
        return started.prepare(cell, { ...data, bias: data.bias.map((value) => value + 1) });
      },
    };
    const [sample] = samples({ quick: true });
    const image = [2, 3, 1, 3] as const;
    const layouts = ["channels-first", "channels-last", "NC"] as const;
    const runs = runSample({ ...(sample as Sample), image, layouts }, [
      { name: "right", started },
      { name: "unbiased", started: unbiased },
      { name: "wrong", started: wrong },
    ]);
    const seen = new Set<string>();
    for await (const { records, gaps } of runs) {
      expect(gaps).toEqual([]);
      for (const { op, array, contestant, errors } of records) {
        const { max } = errors.largest;
        seen.add(`${contestant} ${op} ${array}`);
        if (contestant === "wrong" && array === "y") expect(max).toBeGreaterThan(2 ** 20);
        // Half an ULP is that of the result's own rounding.
        else expect(max, `${op} ${array}`).toBeLessThanOrEqual(0.51);
      }
    }
    for (const contestant of ["right", "unbiased"]) {
      for (const array of ["training y", "training mean", "training variance", "inference y"]) {
        expect(seen).toContain(`${contestant} ${array}`);
      }
      for (const array of ["dx", "dweight", "dbias"]) {
        expect(seen).toContain(`${contestant} forward-backward ${array}`);
      }
    }
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
