import { expect, test } from "vitest";
import {
  medianRatio,
  quartiles,
  ratios,
  takesPart,
  warmupTime,
} from "../../scripts/bench/statistics.mjs";

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
