import { expect, test } from "vitest";
import {
  medianInterval,
  medianRatio,
  quartiles,
  ratios,
  takesPart,
  warmupTime,
} from "../../scripts/bench/statistics.mjs";
import { Random } from "../../scripts/random.mjs";

test("quartiles don't depend on the order", () => {
  expect(quartiles([5, 1, 4, 2, 3])).toEqual({ p25: 2, median: 3, p75: 4 });
});

test("ratios are of the rounds that both were in", () => {
  // The machine was ten times as slow in round 1.
  const copy = new Map([1, 10, 1, 1].map((ms, round) => [round, ms]));
  const rival = new Map([
    [1, 20],
    [3, 2],
    [7, 100],
  ]);
  expect(ratios(rival, copy)).toEqual([2, 2]);
});

test("a ratio is the median of the rounds, or of the medians where no round had both", () => {
  const base = new Map([1, 10, 1].map((ms, round) => [round, ms]));
  expect(medianRatio(new Map([2, 20, 6].map((ms, round) => [round, ms])), base)).toBe(2);
  expect(medianRatio(new Map([[7, 5]]), base)).toBe(5);
});

test("a median's interval is between two of the values, and covers it with 95 %", () => {
  const range = (count: number) => Array.from({ length: count }, (_, i) => i + 1);
  // Ranks by the binomial distribution, as tables have them; of few, all that there is.
  expect(medianInterval(range(30))).toEqual({ low: 10, high: 21 });
  expect(medianInterval(range(9))).toEqual({ low: 2, high: 8 });
  expect(medianInterval(range(4))).toEqual({ low: 1, high: 4 });
  expect(medianInterval([7])).toEqual({ low: 7, high: 7 });
  // Of many samples of a distribution whose median is known.
  const random = new Random(1);
  const samples = 2000;
  let covered = 0;
  for (let i = 0; i < samples; i++) {
    const { low, high } = medianInterval(Array.from({ length: 25 }, () => random.uniform() ** 3));
    if (low <= 0.125 && high >= 0.125) covered++;
  }
  expect(covered / samples).toBeGreaterThan(0.94);
  expect(covered / samples).toBeLessThan(0.99);
});

test("few rounds are spread evenly over all", () => {
  const rounds = (few: number, all: number) =>
    Array.from({ length: all }, (_, round) => round).filter((round) => takesPart(round, few, all));
  expect(rounds(3, 9)).toEqual([2, 5, 8]);
  expect(rounds(9, 9)).toHaveLength(9);
  for (let few = 1; few <= 20; few++) expect(rounds(few, 20)).toHaveLength(few);
});

test("warm-up ends with the last slice that was a tenth slower than the rounds", () => {
  const slices = [9, 4, 1, 3, 1.05].map((ms) => ({ ms: 2 * ms, calls: 2 }));
  expect(warmupTime(slices, 1)).toBe(2 * (9 + 4 + 1 + 3));
  expect(warmupTime(slices, 20)).toBe(0);
});
