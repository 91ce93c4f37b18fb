/** Streams in the bench: the table, its exact moments, who takes it in, and what a run must not do. */
import { createKernel, type Kernel, RunningMoments, Tensor } from "batchnorm-wasm";
import { beforeAll, describe, expect, test } from "vitest";
import {
  byArrays,
  inKernelMemory,
  stdlibAccumulators,
  welfordLoop,
} from "../../scripts/bench/streaming/contestants.mjs";
import { faultsOf } from "../../scripts/bench/streaming/judge.mjs";
import {
  add,
  chunksOf,
  errorsOf,
  makeSums,
  OFFSET,
  sigmaOf,
} from "../../scripts/bench/streaming/rows.mjs";
import { stream } from "../../scripts/bench/streaming/run.mjs";

const table = { rows: 1000, columns: 9, chunk: 96 };

/** All of a table: the chunks share memory. */
function wholeOf(given: typeof table) {
  const parts = Array.from(chunksOf(given), (chunk) => [...chunk]);
  return { lengths: parts.map((part) => part.length / given.columns), values: parts.flat() };
}

describe("the table", () => {
  test("has all rows, in chunks of which the last is shorter, the same however it is cut", () => {
    const { lengths, values } = wholeOf(table);
    expect(lengths).toEqual([...Array(10).fill(96), 40]);
    expect(values).toEqual(wholeOf({ ...table, chunk: 1000 }).values);
  });

  test("lies a million σ from 0 with a spread of σ", () => {
    const { values } = wholeOf(table);
    for (let c = 0; c < table.columns; c++) {
      const column = values.filter((_, i) => i % table.columns === c);
      const steps = column.map((value) => value / sigmaOf(c) - OFFSET);
      expect(Math.max(...steps.map(Math.abs))).toBeLessThan(6);
      const squares = steps.reduce((sum, step) => sum + step * step, 0);
      expect(squares / column.length).toBeGreaterThan(0.8);
      expect(squares / column.length).toBeLessThan(1.2);
    }
  });
});

describe("exact moments", () => {
  const sums = makeSums(table.columns);
  for (const chunk of chunksOf(table)) add(sums, chunk);
  const { values } = wholeOf(table);
  // In whole numbers: a column's values times 2^12 are some, whatever its σ.
  const truth = Array.from({ length: table.columns }, (_, c) => {
    const column = values
      .filter((_, i) => i % table.columns === c)
      .map((value) => BigInt(value * 4096));
    const n = BigInt(column.length);
    const sum = column.reduce((a, b) => a + b, 0n);
    const spread = n * column.reduce((a, b) => a + b * b, 0n) - sum * sum;
    // Rounded once.
    const mean = (Number(sum / n) + Number(sum % n) / Number(n)) / 4096;
    return { mean, variance: Number(spread) / Number(n * n) / 4096 ** 2 };
  });
  const of = (name: "mean" | "variance") => truth.map((one) => one[name]);

  test("are those of whole numbers", () => {
    const { mean, variance } = errorsOf(
      { mean: of("mean"), variance: of("variance") },
      ...([sums, table.rows] as const),
    );
    // Half of what lies between two float64 numbers at a million σ.
    expect(mean).toBeLessThanOrEqual(2 ** -34);
    expect(variance).toBeLessThan(1e-14);
  });

  test("show what is off, in σ and in the variance itself", () => {
    const off = {
      mean: of("mean").map((mean, c) => mean + (c === 3 ? 0.25 * sigmaOf(3) : 0)),
      variance: of("variance").map((variance, c) => variance * (c === 5 ? 1.5 : 1)),
    };
    const errors = errorsOf(off, sums, table.rows);
    expect(errors.mean).toBeCloseTo(0.25, 8);
    expect(errors.variance).toBeCloseTo(0.5, 12);
    const none = { ...off, mean: of("mean").fill(Number.NaN, 4, 5) };
    expect(errorsOf(none, sums, table.rows).mean).toBeNaN();
  });

  test("are refused where a sum isn't exact", () => {
    const rounded = { ...sums, second: sums.second.map((sum) => sum + 2 ** 53) };
    const moments = { mean: of("mean"), variance: of("variance") };
    expect(() => errorsOf(moments, rounded, table.rows)).toThrow("not exact");
  });
});

describe("a run", () => {
  let kernel: Kernel;
  beforeAll(async () => {
    const { kernelBytes } = await import("../../scripts/kernel/under-test.mjs");
    kernel = createKernel(await WebAssembly.compile(kernelBytes));
  });
  /** As @stdlib's, for a test that has none of the rivals: two passes over all that came. */
  const accumulator = () => {
    const seen: number[] = [];
    return (value?: number): [number, number] => {
      if (value !== undefined) seen.push(value);
      const mean = seen.reduce((a, b) => a + b, 0) / seen.length;
      const squares = seen.reduce((sum, one) => sum + (one - mean) ** 2, 0);
      return [mean, squares / (seen.length - 1)];
    };
  };

  test("has every contestant take in all rows, and tells times and memory", () => {
    const library = { RunningMoments, Tensor };
    let looks = 0;
    const memory = () => ({ heap: ++looks, kernel: kernel.memoryUsage().liveBytes, rss: 0 });
    const { outcomes, before, after } = stream(
      table,
      [
        inKernelMemory(library, kernel, [96, 40], table.columns),
        byArrays(library, kernel, table.columns),
        welfordLoop(96 * table.columns, table.columns),
        stdlibAccumulators(accumulator, table.columns),
      ],
      memory,
    );
    expect(outcomes.map(({ name }) => name)).toEqual([
      "RunningMoments, tensor",
      "RunningMoments, array",
      "Welford loop",
      "@stdlib incrmeanvar",
    ]);
    expect(outcomes[0]?.toFirst).toEqual({ update: 1, normalize: 1 });
    for (const { name, update, normalize, toFirst, errors } of outcomes) {
      expect(toFirst.update, name).toBeGreaterThan(0);
      expect(update, name).toBeGreaterThan(0);
      expect(normalize === undefined, name).toBe(name.startsWith("@stdlib"));
      // 1000 times half of what lies between two float64 numbers there.
      expect(errors.mean, name).toBeLessThan(1000 * 2 ** -34);
      expect(errors.variance, name).toBeLessThan(1e-6);
    }
    expect([before.heap, after.heap]).toEqual([1, 2]);
    expect(after.kernel).toBe(before.kernel);
    expect(faultsOf(outcomes, before, after, 11)).toEqual([]);
  });

  test("of less than a chunk has times, too", () => {
    const given = { rows: 5, columns: 2, chunk: 96 };
    const memory = () => ({ heap: 0, kernel: 0, rss: 0 });
    const { outcomes } = stream(given, [welfordLoop(10, 2)], memory);
    expect(outcomes[0]?.update).toBeGreaterThan(0);
  });
});

describe("a run fails", () => {
  const flat = { heap: 5e6, kernel: 2 ** 24, rss: 7e7 };
  const timed = { update: 1, toFirst: { update: 1 } };
  const ours = (mean: number, variance = 0) => [
    { ...timed, name: "RunningMoments, tensor", errors: { mean, variance } },
    { ...timed, name: "Welford loop", errors: { mean: 1, variance: 1 } },
  ];

  test("where ours is off, by more than its chunks can round", () => {
    expect(faultsOf(ours(100 * 2 ** -33), flat, flat, 100)).toEqual([]);
    expect(faultsOf(ours(101 * 2 ** -33), flat, flat, 100)).toEqual([
      expect.stringContaining("a mean is off by"),
    ]);
    expect(faultsOf(ours(0, 1.1e-6), flat, flat, 100)[0]).toContain("a variance is off by");
    expect(faultsOf(ours(Number.NaN), flat, flat, 100)).toHaveLength(1);
  });

  test("where kernel memory or the heap isn't flat, whatever the process has", () => {
    expect(faultsOf(ours(0), flat, { ...flat, rss: 9e8 }, 100)).toEqual([]);
    expect(faultsOf(ours(0), flat, { ...flat, kernel: 2 ** 24 + 65536 }, 100)[0]).toContain(
      "kernel memory is not flat",
    );
    expect(faultsOf(ours(0), flat, { ...flat, heap: 5e6 + 2 ** 19 + 1 }, 100)[0]).toContain(
      "the heap is not flat",
    );
  });
});
