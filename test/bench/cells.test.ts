import { describe, expect, test } from "vitest";
import {
  bytesOf,
  cellsOf,
  cellsOfThreads,
  channelsOf,
  label,
  NORMS,
  OPS,
  rowBytesOf,
  runOf,
  SETS,
  togetherOf,
} from "../../scripts/bench/cells.mjs";
import { extents, makeData } from "../../scripts/bench/data.mjs";
import { makePlan } from "../../scripts/bench/plan.mjs";
import { LARGE } from "../../scripts/bench/runner.mjs";
import { CHANNEL_PAIRS } from "../../scripts/bench/shapes.mjs";

describe("cells", () => {
  test.each(SETS)("of the %s set have labels of their own", (set) => {
    const labels = cellsOf(set).map(label);
    expect(new Set(labels).size).toBe(labels.length);
  });

  test("of a set are all in the next one", () => {
    const [quick, normal, full] = SETS.map((set) => cellsOf(set).map(label));
    expect(normal).toEqual(expect.arrayContaining(quick as string[]));
    expect(full).toEqual(expect.arrayContaining(normal as string[]));
  });

  test("go from 16 elements to 1 GB, all operations on a tensor in a row", () => {
    const cells = cellsOf("full");
    const bytes = cells.map(bytesOf);
    expect([bytes[0], bytes.at(-1)]).toEqual([64, 2 ** 30]);
    expect(bytes).toEqual([...bytes].sort((a, b) => a - b));
    for (let i = 0; i < cells.length; i += OPS.length) {
      const some = cells.slice(i, i + OPS.length);
      expect(some.map(({ op }) => op)).toEqual(OPS);
      expect(new Set(some.map(({ shape, layout }) => `${layout} ${shape}`)).size).toBe(1);
    }
  });
});

test("cells of several threads have labels of their own, and fit in with all contestants", () => {
  const cells = cellsOfThreads();
  expect(new Set(cells.map(label)).size).toBe(cells.length);
  expect(Math.max(...cells.map(bytesOf))).toBeLessThan(LARGE);
  // Where one goes alone, where two help, and from memory.
  const bytes = cells.map(bytesOf);
  expect(bytes.some((size) => size < 2 ** 20)).toBe(true);
  expect(bytes.some((size) => size > 25e6)).toBe(true);
  expect(new Set(cells.map(({ norm = "batch" }) => norm))).toEqual(new Set(NORMS));
  expect(cells.filter(({ norm, op }) => norm && op === "inference")).toEqual([]);
});

test("a cell's sizes are those of its layout", () => {
  const sizes = (layout: "channels-first" | "channels-last" | "NC", shape: number[]) => {
    const cell = { op: "backward", layout, shape } as const;
    return [channelsOf(cell), runOf(cell), rowBytesOf(cell), bytesOf(cell), togetherOf(cell)];
  };
  expect(sizes("channels-first", [2, 3, 4, 5])).toEqual([3, 20, 0, 480, 1440]);
  expect(sizes("channels-last", [2, 4, 5, 3])).toEqual([3, 1, 12, 480, 1440]);
  expect(sizes("NC", [40, 3])).toEqual([3, 1, 12, 480, 1440]);
});

describe("shapes that targets compare are there, of equal bytes", () => {
  const ordinary = cellsOf("default").filter(({ op }) => op === "training");
  const find = (layout: string, shape: readonly number[]) =>
    ordinary.find((cell) => cell.layout === layout && `${cell.shape}` === `${shape}`);

  test.each(CHANNEL_PAIRS)("many and few channels, $layout", ({ layout, many, few }) => {
    const [one, other] = [find(layout, many), find(layout, few)];
    expect(one && bytesOf(one)).toBe(65536);
    expect(other && bytesOf(other)).toBe(65536);
    expect([one, other].map((cell) => cell && channelsOf(cell))).toEqual([1024, 64]);
  });

  test.each(["default", "full"] as const)("7×7 and 14×14 of the %s set", (set) => {
    const runs = cellsOf(set).filter(({ op }) => op === "training");
    const like = (length: number) =>
      runs
        .filter((cell) => runOf(cell) === length)
        .map((cell) => `${cell.shape[0]} ${bytesOf(cell)}`);
    const both = like(49).filter((one) => like(196).includes(one));
    expect(both).toHaveLength(set === "full" ? 2 : 1);
  });
});

describe("a plan", () => {
  const contestant = (name: string, kind: "ours" | "limit" | "javascript") => ({
    name,
    kind,
    start: () => Promise.reject(new Error("not in this test")),
  });
  const contestants = [
    contestant("memory.copy", "limit"),
    contestant("batchnorm-wasm", "ours"),
    contestant("tfjs cpu", "javascript"),
  ];

  test("is filtered by cell and contestant, and keeps the limit", () => {
    const { cells, wanted } = makePlan(
      { set: "quick", filter: "^training NC .*TFJS" },
      contestants,
    );
    expect(cells.map(label)).toEqual(["training NC 4096×256 headline"]);
    const names = contestants.filter((one) => wanted(cells[0] as never, one as never));
    expect(names.map(({ name }) => name)).toEqual(["memory.copy", "tfjs cpu"]);
  });

  test("of several threads asks those that can have them, and one beside them; of one, all others", () => {
    const some = [
      ...contestants,
      { ...contestant("several", "ours"), threads: "several" as const },
      { ...contestant("beside it", "ours"), threads: "one" as const },
    ];
    const names = (threads: number) =>
      makePlan({ set: "default", filter: "", threads }, some).names;
    expect(names(2)).toEqual(["memory.copy", "several", "beside it"]);
    expect(names(1)).toEqual(["memory.copy", "batchnorm-wasm", "tfjs cpu", "several"]);
    const { cells, effort, threads } = makePlan({ set: "default", filter: "", threads: 3 }, some);
    expect(cells.map(label)).toEqual(
      cellsOfThreads()
        .filter(({ norm }) => !norm)
        .map(label),
    );
    expect([effort.wakes, threads]).toEqual([true, 3]);
    expect(makePlan({ set: "default", filter: "" }, some).effort.wakes).toBeUndefined();
  });

  test("of nothing is an error", () => {
    expect(() => makePlan({ set: "quick", filter: "layer norm" }, contestants)).toThrow(/nothing/);
  });
});

describe("data", () => {
  const cell = { shape: [3, 5, 7], axis: 1 };

  test("are the same in every run, x and dy are not alike", () => {
    const [a, b] = [makeData(cell), makeData(cell)];
    expect(a.x).toEqual(b.x);
    expect(a.dy).toEqual(b.dy);
    expect(a.x).not.toEqual(a.dy);
  });

  test("can be normalized in place 10,000 times and stay of the size of 1", () => {
    const { x, weight, bias, mean, variance, eps } = makeData(cell);
    const { channels, inner } = extents(cell);
    for (let i = 0; i < x.length; i++) {
      const c = Math.floor(i / inner) % channels;
      const at = (vector: Float32Array) => vector[c] as number;
      let value = x[i] as number;
      for (let call = 0; call < 10_000; call++) {
        value = Math.fround(
          ((value - at(mean)) / Math.sqrt(at(variance) + eps)) * at(weight) + at(bias),
        );
      }
      expect(Math.abs(value)).toBeLessThan(100);
      expect(Math.abs(value)).toBeGreaterThan(1e-6);
    }
  });
});
