/** A run tells what it is going to do, how long that takes, and what came out. */
import { describe, expect, test } from "vitest";
import type { Cell, Record } from "../../scripts/bench/contestant.js";
import { makePlan } from "../../scripts/bench/plan.mjs";
import { makeClock, makeProgress } from "../../scripts/bench/terminal.mjs";
import { conclude, describePlan, expectedTime, roughly } from "../../scripts/bench/words.mjs";

const cell = (op: Cell["op"], shape: number[]): Cell => ({
  op,
  layout: "NC",
  shape,
  axis: 1,
  name: "headline",
});

test("what is going to be done is said in words, with the time", () => {
  const cells = [
    cell("inference", [4, 4]),
    cell("training", [4, 4]),
    cell("training", [4096, 256]),
  ];
  expect(describePlan(cells, ["memory.copy", "ours"], 43_000)).toBe(
    `Batch norm (inference, training) on 2 tensors, 64 B to 4 MB,
by memory.copy, ours.
Each is checked against float64, warmed up, and timed in short turns with the others, on one thread.
That makes 3 cells, and takes about 45 s.`,
  );
  expect(describePlan(cells.slice(0, 1), ["a"], 1)).toContain("1 tensor, 64 B,");
  expect(describePlan(cells, ["a"], 1, 2)).toContain("with the others, on 2 threads.");
  const varied = (["relu", "ghost"] as const).map((variant) => ({
    ...cell("training", [4, 4]),
    variant,
  }));
  expect(describePlan(varied, ["a"], 1)).toMatch(
    /^Batch norm with ghost batches, ReLU \(training\) on 1 tensor/,
  );
});

test("times are as rough as they are known", () => {
  expect([1, 43_000, 89_000, 100_000, 3_500_000, 4_000_000].map(roughly)).toEqual([
    "5 s",
    "45 s",
    "2 min",
    "2 min",
    "58 min",
    "1 h 07 min",
  ]);
});

test("larger tensors and more contestants are expected to take longer", () => {
  const effort = { slice: 2, warmup: 40, budget: 80, fewest: 2, most: 20, longest: 400 };
  const time = (rows: number, contestants: number) =>
    expectedTime(cell("training", [rows, 256]), contestants, effort);
  expect(time(4096, 7)).toBeGreaterThan(time(4, 7));
  expect(time(4, 14)).toBe(2 * time(4, 7));
});

describe("the time left", () => {
  test("is first what is expected, then what the cells before make of it", () => {
    const left = makeClock([10, 20, 30]);
    expect(left(0, 5)).toBe(60);
    expect(left(1, 20)).toBe(100);
    expect(left(3, 99)).toBe(0);
  });

  test("stands in every line, where no terminal overwrites them, too", () => {
    const written: string[] = [];
    const stream = { isTTY: false, write: (text: string) => written.push(text) };
    const cells = [cell("inference", [4, 4]), cell("training", [4, 4])];
    const progress = makeProgress(cells, [60_000, 60_000], stream as never);
    progress.running(cells[0] as Cell, 0, "ours");
    const { axis, ...about } = cells[0] as Cell;
    const record = { ...about, contestant: "ours", kind: "ours", version: null, status: "failed" };
    progress.finished(cells[0] as Cell, 0, [record as Record]);
    expect(written).toEqual(["1/2  0:00 left  inference NC 4×4 headline: ours failed\n"]);
  });
});

test("what came out is told for the headline's cells, rivals as multiples of ours", () => {
  const record = (contestant: string, kind: Record["kind"], ms: number, name = "headline") =>
    ({
      ...{ op: "inference", layout: "NC", shape: [4096, 256], name, contestant, kind },
      ...{ version: null, status: "ok", median_ms: ms, ratio_to_ours: ms / 2 },
    }) as Record;
  const records = [
    record("memory.copy", "limit", 1),
    record("batchnorm-wasm", "ours", 2),
    record("batchnorm-wasm plain", "ours", 3),
    record("tfjs wasm", "javascript", 9),
    record("PyTorch", "native", 1),
  ];
  expect(conclude(records)).toBe(
    "inference, NC 4096×256 (256 channels): 2.00 ms; times as long: tfjs wasm 4.50, PyTorch 0.500",
  );
  expect(conclude([...records.slice(0, 1), record("batchnorm-wasm", "ours", 2, "odd")])).toBe("");
  const gained = { ...record("batchnorm-wasm", "ours", 2), gain: 1.8 };
  expect(conclude([gained])).toBe(
    "inference, NC 4096×256 (256 channels): 2.00 ms, 1.80 times as fast as on one thread",
  );
});

test("a quick run leaves out whom one needn't be compared with", () => {
  const contestants = (
    [
      ["memory.copy", "limit"],
      ["batchnorm-wasm", "ours"],
      ["batchnorm-wasm plain", "ours"],
      ["naive loop", "javascript"],
      ["tfjs wasm", "javascript"],
    ] as const
  ).map(([name, kind]) => ({ name, kind, start: () => Promise.reject(new Error("not here")) }));
  const names = (set: "quick" | "default") => makePlan({ set, filter: "" }, contestants).names;
  expect(names("quick")).toEqual(["memory.copy", "batchnorm-wasm", "tfjs wasm"]);
  expect(names("default")).toHaveLength(5);
  const { cells, times } = makePlan({ set: "quick", filter: "NC" }, contestants);
  expect(times).toHaveLength(cells.length);
});
