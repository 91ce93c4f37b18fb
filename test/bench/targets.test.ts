/** Targets judge what was measured, cell by cell, and never take for met what was not. */
import { describe, expect, test } from "vitest";
import type { Cell, Record } from "../../scripts/bench/contestant.js";
import {
  judge,
  judgeNative,
  judgeThreads,
  judgeVariants,
  targetRow,
} from "../../scripts/bench/targets/index.mjs";
import { PROGRAMS } from "../../scripts/size.mjs";

const CELL = { op: "inference", layout: "NC", shape: [4096, 256], name: "test" } as const;
type Where = Partial<Pick<Cell, "op" | "layout" | "shape" | "name">>;

/** Times as if a copy took 1 ms, bare loops 2 and ours 4, where nothing else is said. */
function ok(contestant: string, kind: Record["kind"], ms: number, where: Where = {}): Record {
  const ratios = { ratio_to_copy: ms, ratio_to_bare: ms / 2, ratio_to_ours: ms / 4 };
  const about = { ...CELL, ...where, contestant, kind, version: "1.0" };
  return { ...about, status: "ok", median_ms: ms, ...ratios };
}
const copy = (where: Where = {}) => ok("memory.copy", "limit", 1, where);
const bare = (where: Where = {}) => ok("bare loops", "limit", 2, where);
const ours = (ms: number, where: Where = {}) => ok("batchnorm-wasm", "ours", ms, where);
const natives = (ms: number, where: Where = {}) =>
  ["onnxruntime-node", "PyTorch", "torch.compile", "JAX"].map((name) =>
    ok(name, "native", ms, where),
  );

function find(records: readonly Record[], target: string) {
  const found = judge({ records: [...records] }).filter((one) => one.target.startsWith(target));
  expect(found).toHaveLength(1);
  return found[0] as (typeof found)[number];
}
const values = (records: readonly Record[], target: string) =>
  find(records, target).figures.map(({ value }) => value);

describe("ours over bare loops", () => {
  const target = "inference: ours ÷ (bare loops";
  const MB = 2 ** 20;

  test("has an allowance of 3 ns for each channel", () => {
    // 256 · 3 ns on 2 ms, and 2 MB that are no wide rows from memory yet.
    const some = [bare({ shape: [2048, 256] }), ours(3.2, { shape: [2048, 256] })];
    const { figures, status } = find(some, target);
    expect(figures[0]?.value).toBeCloseTo(3.2 / (2 + 256 * 3e-6), 10);
    expect(status).toBe("met");
  });

  test.each([
    ["inference", 3],
    ["inference-in-place", 3],
    ["training", 6],
    ["backward", 7],
    ["forward-backward", 13],
  ] as const)("of %s is %i ns", (op, ns) => {
    const some = [bare({ op }), ours(3, { op })];
    expect(values(some, `${op}: ours ÷ (bare loops`)[0]).toBeCloseTo(3 / (2 + 256 * ns * 1e-6), 10);
  });

  test("may be 2.3 where rows exceed 512 B and tensors reach 8 MB together, else 1.6", () => {
    const bound = (where: Where) => find([bare(where), ours(4, where)], target).figures[0]?.bound;
    expect(bound({ shape: [4096, 256] })).toBe(2.3);
    expect(bound({ shape: [4095, 256] })).toBe(1.6);
    expect(bound({ shape: [8192, 128] })).toBe(1.6);
    expect(bound({ layout: "channels-last", shape: [16, 16, 16, 256] })).toBe(2.3);
    expect(bound({ layout: "channels-first", shape: [16, 256, 16, 16] })).toBe(1.6);
  });

  test("counts from 64 KB to 32 MB", () => {
    const count = (bytes: number) => {
      const where = { shape: [bytes / 256, 64] };
      return find([bare(where), ours(3, where)], target).figures.length;
    };
    expect([65536 - 256, 65536, 32 * MB, 32 * MB + 256].map(count)).toEqual([0, 1, 1, 0]);
  });

  test("is open without bare loops, and the geometric mean is over all operations", () => {
    expect(find([copy(), ours(4)], target)).toMatchObject({
      status: "open",
      note: "no bare loops in these results",
    });
    const two = (ms: number) =>
      (["training", "backward"] as const).flatMap((op) => [
        bare({ op }),
        ours(op === "training" ? 2 : ms, { op }),
      ]);
    expect(find(two(3.6), "all operations").status).toBe("met");
    expect(find(two(3.8), "all operations").status).toBe("missed");
  });
});

describe("ours over a copy, from 25 MB", () => {
  const wide = { layout: "NC", shape: [25088, 256] } as const;
  const images = { layout: "channels-first", shape: [32, 64, 56, 56] } as const;

  test("has bounds by operation, layout and width of rows", () => {
    const bound = (where: Where, target: string) =>
      find([ours(1, where)], target).figures[0]?.bound;
    expect(bound(images, "inference channels-first: ours")).toBe(1.1);
    expect(bound(wide, "inference channels-last, NC")).toBe(1.35);
    expect(bound({ ...wide, op: "inference-in-place" }, "inference-in-place: ours ÷ memory")).toBe(
      0.75,
    );
    expect(bound({ ...images, op: "training" }, "training: ours ÷ memory")).toBe(1.6);
    expect(bound({ ...images, op: "backward" }, "backward: ours ÷ memory")).toBe(2.6);
    expect(bound({ ...wide, op: "backward" }, "backward, rows over 512 B")).toBe(4);
  });

  test("leaves smaller ones out, and is open without larger ones", () => {
    expect(find([ours(9)], "inference channels-last, NC")).toMatchObject({
      figures: [],
      status: "open",
      note: "no cell of it in these results",
    });
  });
});

describe("the fastest native over ours", () => {
  test("is met only with all of them there", () => {
    const target = "fastest native ÷ ours, each cell";
    const all = [ours(4), ...natives(6)];
    expect(find(all, target).status).toBe("met");
    const absent = all.map((record) =>
      record.contestant === "torch.compile" ? { ...record, status: "absent" as const } : record,
    );
    expect(find(absent, target)).toMatchObject({ status: "open", note: "without torch.compile" });
    expect(find(all.slice(0, -1), target)).toMatchObject({ status: "open", note: "without JAX" });
    expect(judgeNative({ records: all }).map(({ status }) => status)).toEqual([
      "met",
      "met",
      "met",
    ]);
  });

  test("takes the fastest, and no cell may be under 0.65 unless ours is at the bare loops", () => {
    const target = "fastest native ÷ ours, each cell";
    const slow = [bare(), ours(4), ...natives(6), ok("JAX", "native", 2.4)];
    expect(find(slow, target)).toMatchObject({ status: "missed", misses: 1, note: "" });
    expect(find(slow, target).figures[0]?.value).toBe(0.6);
    const atTheLimit = slow.map((record) =>
      record.kind === "ours" ? { ...record, ratio_to_bare: 1.25 } : record,
    );
    expect(find(atTheLimit, target)).toMatchObject({
      misses: 0,
      figures: [],
      note: "1 below it are at the bare loops; no cell of it in these results",
    });
  });

  test("has a mean of each operation and layout to reach, and one of all", () => {
    const first = { layout: "channels-first", shape: [2, 3, 5] } as const;
    const some = [ours(4), ...natives(3.9), ours(4, first), ...natives(8, first)];
    const each = find(some, "fastest native ÷ ours, geomean of each");
    expect(each.figures.map(({ cell, value }) => [cell, value])).toEqual([
      ["inference NC", 3.9 / 4],
      ["inference channels-first", 2],
    ]);
    expect(each.misses).toBe(1);
    expect(find(some, "fastest native ÷ ours, all cells").status).toBe("met");
  });
});

describe("the fastest JavaScript or wasm over ours, from 64 KB", () => {
  const rivals = (ms: number, where: Where = {}) =>
    ["flat loop", "tfjs wasm", "onnxruntime-web"].map((name, i) =>
      ok(name, "javascript", ms + i, where),
    );

  test("is three, or 0.8 times what the rival has over the copy where that is within 4", () => {
    const target = "inference: fastest JavaScript";
    const bound = (ms: number) => find([ours(4), ...rivals(ms)], target).figures[0]?.bound;
    expect([2, 3.7, 3.9, 4, 4.1].map(bound)).toEqual([1.6, 0.8 * 3.7, 3, 3, 3]);
    expect(find([ours(4), ...rivals(12)], target).status).toBe("met");
    expect(find([ours(4), ...rivals(12).slice(0, 2)], target).note).toBe("without onnxruntime-web");
  });

  test("is four elsewhere, and smaller cells don't count", () => {
    const training = { op: "training" } as const;
    const target = "training: fastest JavaScript";
    expect(find([ours(4, training), ...rivals(15.9, training)], target).misses).toBe(1);
    const small = { ...training, shape: [100, 100] };
    expect(find([ours(4, small), ...rivals(1, small)], target).figures).toEqual([]);
  });
});

describe("ours beside itself", () => {
  test("7×7 is compared with 14×14 of the same batch and bytes", () => {
    const first = (shape: number[]) => ({ layout: "channels-first", shape }) as const;
    const some = [
      ours(3, first([32, 512, 7, 7])),
      ours(2, first([32, 128, 14, 14])),
      ours(1, first([8, 512, 14, 14])),
      ours(9, first([64, 64, 7, 7])),
    ];
    expect(find(some, "inference: time on 7×7")).toMatchObject({ misses: 1, status: "missed" });
    expect(values(some, "inference: time on 7×7")).toEqual([1.5]);
  });

  test("a channel's work is the slope between many and few channels of equal bytes", () => {
    const some = [
      ours(0.01, { shape: [16, 1024] }),
      ours(0.004, { shape: [256, 64] }),
      ours(0.02, { layout: "channels-first", shape: [1, 1024, 4, 4] }),
    ];
    expect(values(some, "inference: ns a channel")[0]).toBeCloseTo(6000 / 960, 10);
    expect(values(some, "inference: ns a channel")).toHaveLength(1);
    // What the spread of the measurement makes negative is a figure, too, but has no mean.
    const fewer = some.map((record) => ({ ...record, median_ms: 0.02 - (record.median_ms ?? 0) }));
    expect(find(fewer, "inference: ns a channel")).toMatchObject({
      status: "met",
      geomean: undefined,
    });
  });

  test("calls on 16 elements are in µs, and the kernel has its size", () => {
    const tiny = { shape: [4, 4] };
    expect(find([ours(0.0005, tiny)], "inference: µs a call")).toMatchObject({ status: "missed" });
    expect(values([ours(0.0005, tiny)], "inference: µs a call")[0]).toBeCloseTo(0.5, 10);
    const size = (kernel_gzip?: number) =>
      judge({ records: [], ...(kernel_gzip ? { kernel_gzip } : {}) }).at(-1)?.status;
    expect([size(15_000), size(15_001), size()]).toEqual(["met", "missed", "open"]);
    // As an issue asked it of fewer norms: what is held beside it stands there.
    const [budget] = PROGRAMS.filter(({ name }) => name === "a layer").map((one) => one.budget);
    expect(find([], "bytes of the kernel").note).toContain(`a layer ${budget}`);
  });
});

describe("variants over batch norm alone", () => {
  const varied = (variant: Cell["variant"], where: Where, ratio: number): Record =>
    ({ ...ours(4, where), variant, ratio_to_alone: ratio }) as Record;
  const find = (records: readonly Record[], target: string) => {
    const found = judgeVariants({ records: [...records] }).filter((one) =>
      one.target.startsWith(target),
    );
    expect(found).toHaveLength(1);
    return found[0] as (typeof found)[number];
  };

  test.each([
    ["ghost", "training", "ghost batches", 1.15],
    ["renorm", "forward-backward", "renorm", 1.05],
    ["mask", "backward", "mask", 1.4],
    ["relu", "inference", "ReLU, forward", 1.05],
    ["relu", "training", "ReLU, forward", 1.05],
    ["relu", "backward", "ReLU, backward", 1.4],
  ] as const)("%s, %s: %s may take %d", (variant, op, target, bound) => {
    const status = (ratio: number) => find([varied(variant, { op }, ratio)], target).status;
    expect([status(bound), status(bound + 0.01)]).toEqual(["met", "missed"]);
  });

  test("of ghost batches from 1024 elements a set, whatever they lie in", () => {
    const count = (layout: Cell["layout"], shape: number[]) =>
      find([varied("ghost", { op: "training", layout, shape }, 1)], "ghost").figures.length;
    expect(count("NC", [4096, 256])).toBe(1);
    expect(count("NC", [4092, 256])).toBe(0);
    // Slices of 2 and of 4 samples.
    expect(count("channels-first", [8, 64, 28, 28])).toBe(1);
    expect(count("channels-first", [16, 256, 14, 14])).toBe(0);
    expect(count("channels-last", [8, 28, 28, 64])).toBe(1);
    expect(count("channels-last", [16, 14, 14, 256])).toBe(0);
  });

  test("a residual reads one more tensor than batch norm alone, and has no bound", () => {
    const all = judgeVariants({
      records: [varied("residual-relu", { op: "training" }, 9)],
    });
    expect(all.filter(({ status }) => status === "missed")).toEqual([]);
  });

  test("the fastest native of what is fused is compared with ours, all of them there", () => {
    const relu = { op: "training", variant: "relu" } as const;
    const of = (ms: number) =>
      [ours(4), ...natives(ms)].map((record) => ({ ...record, ...relu }) as Record);
    const target = "ReLU, residual + ReLU: fastest native";
    expect(find(of(4.1), target).status).toBe("met");
    expect(find(of(3.9), target).status).toBe("missed");
    expect(find(of(4.1).slice(0, -1), target)).toMatchObject({
      ...{ status: "open", note: "without JAX" },
    });
    // Natives of batch norm itself aren't those of a variant.
    expect(find([...of(4.1).slice(0, 1), ...natives(9)], target)).toMatchObject({
      note: "without onnxruntime-node, PyTorch, torch.compile, JAX",
    });
  });

  test("are no cells of batch norm's own targets", () => {
    const records = [bare(), ours(9), ...natives(9)].map((one) => ({ ...one, variant: "relu" }));
    const own = judge({ records: records as Record[] });
    expect(own.flatMap(({ figures }) => figures)).toEqual([]);
  });
});

describe("what two threads gain", () => {
  const gained = (bytes: number, gain: number, low = gain, high = gain): Record => ({
    ...ours(4, { shape: [bytes / 256, 64] }),
    ...{ gain, gain_low: low, gain_high: high },
  });
  const MB = 2 ** 20;
  const find = (records: readonly Record[], target: string, threads: number | undefined = 2) => {
    const all = judgeThreads({ records: [...records], threads: threads as number });
    const found = all.filter((one) => one.target.startsWith(`gain of two threads, ${target}`));
    expect(found).toHaveLength(1);
    return found[0] as (typeof found)[number];
  };

  test.each([
    ["each cell below", MB - 256, 0.97],
    ["each cell from 1 to 25", MB, 1.25],
    ["each cell from 1 to 25", 23 * MB, 1.25],
    ["each cell from 25 MB", 24.5 * MB, 1.1],
  ])("%s: a cell of %i bytes is held to %d", (target, bytes, bound) => {
    expect(find([gained(bytes, bound)], target)).toMatchObject({ status: "met", misses: 0 });
    expect(find([gained(bytes, bound - 0.01)], target)).toMatchObject({ misses: 1 });
    const others = judgeThreads({ records: [gained(bytes, 0.1)], threads: 2 });
    expect(others.filter(({ misses }) => misses > 0).map((one) => one.target)).toEqual([
      expect.stringContaining(target),
    ]);
  });

  test("is missed where the whole interval is below the bound, and told by its median", () => {
    const below = "each cell below";
    const noisy = find([gained(4096, 0.95, 0.9, 0.98)], below);
    expect(noisy).toMatchObject({ status: "met", misses: 0 });
    expect(targetRow(noisy).at(3)).toBe("0.950");
    expect(find([gained(4096, 0.95, 0.94, 0.96)], below).status).toBe("missed");
    // The furthest is whose interval is: a median further off may be noise.
    const two = [gained(4096, 0.9, 0.5, 1), gained(8192, 0.95, 0.94, 0.96)];
    expect(find(two, below).figures.map(({ value }) => value)).toEqual([0.95, 0.9]);
  });

  test("has a mean to reach from 1 MB on, of medians", () => {
    const mean = (gain: number) => [gained(MB, 2), gained(64 * MB, gain), gained(4096, 0.5)];
    expect(find(mean(1.13), "from 1 MB")).toMatchObject({ status: "met", misses: 0 });
    expect(find(mean(1.12), "from 1 MB").status).toBe("missed");
  });

  test("of other numbers of threads is shown, and neither met nor missed", () => {
    const all = judgeThreads({ records: [gained(4096, 0.1), gained(MB, 0.1)], threads: 4 });
    expect(all.map(({ figures }) => figures.length)).toEqual([1, 1, 0, 1]);
    for (const { status, note } of all) {
      expect(status).toBe("open");
      expect(note).toContain("of 2 threads, and these results are of 4");
    }
    const of = (records: Record[]) => judgeThreads({ records }).map(({ status }) => status);
    expect(of([ours(4)])).toEqual(["open", "open", "open", "open"]);
  });
});

test("every target is there without a single record, none of them met", () => {
  const verdicts = [
    ...[...judge({ records: [] }), ...judgeVariants({ records: [] })],
    ...judgeThreads({ records: [], threads: 2 }),
  ];
  expect(verdicts.length).toBeGreaterThan(31);
  expect(new Set(verdicts.map(({ status }) => status))).toEqual(new Set(["open"]));
  expect(verdicts.every(({ note }) => note !== "")).toBe(true);
});

test("a row names the worst cells, three at most, by how far they are from their own bound", () => {
  const figures = (op: Cell["op"], ms: number, rows: number) => {
    const where = { op, shape: [rows, 256] };
    return [bare(where), ours(ms, where)];
  };
  const some = [
    ...figures("training", 5, 4096), // 2.5 of 2.3
    ...figures("training", 4, 1000), // 2.0 of 1.6
    ...figures("training", 3.4, 1001), // 1.7 of 1.6
    ...figures("training", 3.3, 1002), // 1.65 of 1.6
    ...figures("training", 3, 1003), // 1.5 of 1.6
  ];
  const row = targetRow(find(some, "training: ours ÷ (bare"));
  expect(row.at(-1)).toBe(
    "missed in 4: training NC 1000×256 test 2.00, training NC 4096×256 test 2.50, training NC 1001×256 test 1.70",
  );
  expect(row.slice(3, 5)).toEqual(["2.00", "5"]);
});
