import { describe, expect, test } from "vitest";
import type { Cell, Record, Results } from "../../scripts/bench/contestant.js";
import { digits, duration, size, table } from "../../scripts/bench/format.mjs";
import { reasonsOf } from "../../scripts/bench/overview.mjs";
import { betweenMarkers, page, readmeSection } from "../../scripts/bench/report/markdown.mjs";
import { serialize } from "../../scripts/bench/results.mjs";

const CELL = {
  op: "inference",
  layout: "NC",
  shape: [4096, 256],
  name: "headline",
} as const;

function ok(
  contestant: string,
  kind: Record["kind"],
  median_ms: number,
  cell: Partial<Cell> = {},
): Record {
  const ratios = { ratio_to_copy: median_ms / 0.5, ratio_to_ours: median_ms / 0.6 };
  const about = { ...CELL, ...cell, contestant, kind, version: "1.0" };
  return { ...about, status: "ok", median_ms, first_ms: 9, warmup_ms: 20, rounds: 5, ...ratios };
}

const records = [
  ok("memory.copy", "limit", 0.5),
  ok("batchnorm-wasm", "ours", 0.6),
  ok("flat loop", "javascript", 2.4),
  ok("onnxruntime-web", "javascript", 1.2),
  ok("JAX", "native", 0.54321987),
  {
    ...ok("tfjs wasm", "javascript", 9),
    status: "wrong" as const,
    reason: "y is off by 1e-1",
    median_ms: undefined as never,
  },
  {
    ...ok("PyTorch", "native", 9),
    status: "refused" as const,
    reason: "would take 12 s a call",
    median_ms: undefined as never,
  },
];
const results: Results = {
  date: "2026-01-02T03:04:05.678Z",
  command: "npm run bench -- --full",
  machine: { processor: "a processor", cores: 2, memory_gb: 24, system: "linux" },
  versions: { node: "20.19.0", commit: "abc" },
  records,
};

const PICTURE = { file: "overview.svg", title: "ms a call" };

describe("the README's section", () => {
  const lines = readmeSection(results, PICTURE).split("\n");
  const table = lines.findIndex((line) => line.startsWith("| ms |"));

  test("has a picture, and says what it means", () => {
    expect(lines[0]).toBe("![ms a call](docs/bench/overview.svg)");
    expect(lines[2]).toBe(
      "Of all that runs in a browser, the fastest for each tensor takes 2.00 times as long for inference as this package does. Of native code on one thread, the fastest for each tensor takes 0.905 times as long for inference. (Geometric means over tensors of 64 KB and more; below 1 the rival is faster.)",
    );
  });

  test("has a row for each headline, the fastest in bold, the limit never", () => {
    expect(lines[table]).toBe(
      "| ms | memory.copy | batchnorm-wasm | flat loop | onnxruntime-web | JAX | tfjs wasm | PyTorch |",
    );
    expect(lines[table + 2]).toBe(
      "| inference, NC 4096×256 | 0.500 | 0.600 | 2.40 | 1.20 | **0.543** | wrong | – |",
    );
    expect(lines[table + 3]).toBe("");
    expect(lines[table + 4]).toContain("a processor, linux, Node 20.19.0, 2026-01-02, commit abc");
  });

  test("says what bare loops are where there are any", () => {
    const bare = { ...results, records: [...records, ok("bare loops", "limit", 0.4)] };
    const last = (some: Results) => readmeSection(some, PICTURE).split("\n").at(-1);
    expect(last(results)).not.toContain("bare loops");
    expect(last(bare)).toContain("bare loops");
  });

  test("replaces what is between the markers, and needs them", () => {
    const text = "a\n<!-- bench:begin -->\nold $&\n<!-- bench:end -->\nb\n";
    const once = betweenMarkers(text, "new $& $1");
    expect(once).toBe("a\n<!-- bench:begin -->\n\nnew $& $1\n\n<!-- bench:end -->\nb\n");
    expect(betweenMarkers(once, "new $& $1")).toBe(once);
    expect(() => betweenMarkers("a\nb\n", "new")).toThrow("markers");
  });
});

describe("the page", () => {
  const charts = [PICTURE, { file: "cost.svg", title: "Cost" }];

  test("has the picture and what it means first, then charts, targets, versions and the reasons", () => {
    const text = page([results], charts);
    const places = [
      "# Benchmarks\n\n![ms a call](bench/overview.svg)\n\nOf all that runs in a browser",
      "| flat loop: JavaScript at its best, without a library | **4.00** (4.00–4.00) | – |",
      "![Cost](bench/cost.svg)",
      "| fastest native ÷ ours, all cells | geomean ≥ 1.3 | 0.905 | 0.905 | 1 | missed; furthest inference NC 4096×256 headline 0.905; without onnxruntime-node, torch.compile |",
      "Not measured yet: `npm run bench -- --full --native --avx2",
      "`npm run bench -- --full`: processor a processor; cores 2",
      "| 4096×256 headline, 4 MB | 500 µs | 600 µs | 2.40 ms |",
      "- tfjs wasm wrong: y is off by 1e-1 (1 cell)",
      "| batchnorm-wasm | 9.00 ms | 20.0 ms |",
    ].map((part) => {
      expect(text).toContain(part);
      return text.indexOf(part);
    });
    expect(places).toEqual([...places].sort((a, b) => a - b));
  });

  test("tells what keeps missed targets, with the bare loops beside a copy, where these were measured", () => {
    const large = { shape: [32768, 256] };
    const ours = {
      ...ok("batchnorm-wasm", "ours", 0.9, large),
      ...{ ratio_to_copy: 1.8, ratio_to_bare: 1.2 },
    };
    const text = page([{ ...results, records: [...records, ours] }], charts);
    expect(text).toContain("| inference | 1.50 | 1.20 | 1.20 |");
    expect(page([results], charts)).not.toContain("What keeps");
  });

  test("has ours over the bare loops in each row, where these were measured", () => {
    const ours = { ...ok("batchnorm-wasm", "ours", 0.6), ratio_to_bare: 1.5 };
    const some = [ok("memory.copy", "limit", 0.5), ok("bare loops", "limit", 0.4), ours];
    const text = page([{ ...results, records: some }], charts);
    expect(text).toContain("|  | memory.copy | bare loops | batchnorm-wasm | ours ÷ bare loops |");
    expect(text).toContain("| 4096×256 headline, 4 MB | 500 µs | 400 µs | 600 µs | 1.50 |");
    expect(page([results], charts)).not.toContain("| ours ÷ bare loops |");
  });

  test("states the native targets for both classes of machines where both were measured", () => {
    const avx2 = { ...results, avx2: true, records: [...records, ok("PyTorch", "native", 0.9)] };
    const text = page([results, avx2], charts);
    const section = text.slice(text.indexOf("## Without AVX-512"), text.indexOf("## How it is"));
    expect(section).toContain("native rivals held to AVX2");
    expect(section).toContain("| fastest native ÷ ours, all cells |");
    expect(section).not.toContain("Not measured yet");
  });
});

describe("the page's section of variants", () => {
  const charts = [PICTURE];
  const relu = (record: Record, ratio: number): Record => ({
    ...{ ...record, variant: "relu", ratio_to_alone: ratio },
  });
  const varied = [
    relu(ok("norm alone", "limit", 0.5), 1),
    relu(ok("batchnorm-wasm", "ours", 0.6), 1.2),
    relu(ok("batchnorm-wasm in two passes", "ours", 0.9), 1.8),
    relu(ok("PyTorch", "native", 1.2), 2.4),
  ];
  const section = (run: Results) => {
    const text = page([results, run], charts);
    return text.slice(text.indexOf("## Batch norm's variants"), text.indexOf("## How it is"));
  };
  const busy = { ...results.machine, load_before: 0.2, load_most: 1.2 };

  test("has the rivals, what each costs beside batch norm alone, and its targets", () => {
    const text = section({ ...results, machine: busy, records: varied });
    expect(text).toContain("|  | batchnorm-wasm in two passes | PyTorch |");
    expect(text).toContain("| ReLU, inference | **1.50** (1.50–1.50) | **2.00** (2.00–2.00) |");
    expect(text).toContain("|  | 4096×256 NC |\n|---|---:|\n| ReLU, inference | 1.20 |");
    expect(text).toContain("| ReLU, forward: ours ÷ batch norm alone | ≤ 1.05 |");
    expect(text).not.toContain("Others used the machine");
  });

  test("says where others used the machine, and isn't there where no variant was measured", () => {
    const at = (load_most: number) =>
      section({ ...results, records: varied, machine: { ...busy, load_most } });
    expect(at(1.9)).toContain("the load was 0.2 before the run and up to 1.9 in it, on 2 cores.");
    expect(at(1.9)).not.toContain("measure again");
    expect(at(4.5)).toContain("measure again");
    expect(page([results], charts)).not.toContain("Batch norm's variants");
  });

  test("times have a table of their own, with who was asked and ours over the norm alone", () => {
    const text = page([results, { ...results, records: [...records, ...varied] }], charts);
    expect(text).toContain("### ReLU, inference, NC");
    expect(text).toContain(
      "|  | norm alone | batchnorm-wasm | batchnorm-wasm in two passes | PyTorch | ours ÷ norm alone |",
    );
    expect(text).toContain(
      "| 4096×256 headline, 4 MB | 500 µs | 600 µs | 900 µs | 1.20 ms | 1.20 |",
    );
  });
});

describe("the page's section of several threads", () => {
  const one = "batchnorm-wasm on one thread";
  const small = { shape: [64, 64] };
  const gained = (record: Record, gain: number): Record => ({
    ...record,
    ...{ gain, gain_low: gain - 0.1, gain_high: gain + 0.05 },
  });
  const layer = (record: Record): Record => ({ ...record, norm: "layer", op: "training" });
  const shared = [
    ok("memory.copy", "limit", 0.5),
    gained(ok("batchnorm-wasm", "ours", 0.6), 1.6),
    ok(one, "ours", 0.96),
    ok("JAX", "native", 0.9),
    gained(ok("batchnorm-wasm", "ours", 0.01, small), 0.99),
    layer(gained(ok("batchnorm-wasm", "ours", 0.6), 1.4)),
  ];
  const machine = { ...results.machine, load_before: 0.2, load_most: 2.2 };
  const run: Results = { ...results, machine, threads: 2, records: shared };
  const chart = { file: "threads.svg", title: "Cost on 2 threads" };
  const text = page([results, run], [PICTURE], [chart]);
  const section = text.slice(text.indexOf("## Several threads"), text.indexOf("## How it is"));

  test("has its chart, what threads gain by size, rivals on as many, and its targets", () => {
    expect(section).toContain("![Cost on 2 threads](bench/threads.svg)");
    expect(section).toContain("|  | below 1 MB | 1 to 25 MB | from 25 MB |");
    expect(section).toContain(
      "| batch norm, inference | **0.990** (0.990–0.990) | **1.60** (1.60–1.60) | – |",
    );
    expect(section).toContain("| layer norm, training | – | **1.40** (1.40–1.40) | – |");
    expect(section).toContain("| batchnorm-wasm on one thread: this package, the ordinary entry |");
    expect(section).toContain(
      "| JAX: compiled by XLA for the shape, native | **1.50** (1.50–1.50)",
    );
    expect(section).toContain("| gain of two threads, from 1 MB | geomean ≥ 1.5 | 1.50 |");
    // Two of its own.
    expect(section).not.toContain("Others used the machine");
    const busy = { ...run, machine: { ...machine, load_most: 2.6 } };
    expect(page([results, busy], [PICTURE], [chart])).toContain("Others used the machine");
  });

  test("has a table of times with the gain and its interval, and says how many threads", () => {
    expect(text).toContain("## Times in Node 20.19.0, 2 threads");
    expect(text).toContain(`| batchnorm-wasm | ${one} | JAX | gain of threads |`);
    expect(text).toContain("| 500 µs | 600 µs | 960 µs | 900 µs | 1.60 (1.50–1.65) |");
  });

  test("is no run of the other norms, and isn't there where nothing was measured", () => {
    expect(text).not.toContain("## The other norms");
    expect(page([results], [PICTURE])).not.toContain("Several threads");
  });
});

describe("results on disk", () => {
  test("have a record a line and come back with five digits", () => {
    const text = serialize(results);
    const back: Results = JSON.parse(text);
    expect(text.split("\n").filter((line) => line.startsWith('{"op"'))).toHaveLength(7);
    expect(back.records[4]?.median_ms).toBe(0.54322);
    expect({ ...back, records: [] }).toEqual({ ...results, records: [] });
  });

  test("of nothing are JSON, too", () => {
    expect(JSON.parse(serialize({ ...results, records: [] })).records).toEqual([]);
  });
});

test("reasons that differ in seconds alone are counted together", () => {
  const slow = (reason: string) => ({ ...records[0], status: "refused", reason }) as Record;
  expect(reasonsOf([slow("would take 12 s a call"), slow("would take 0.5 s a call")])).toEqual([
    "memory.copy refused: would take too long (2 cells)",
  ]);
});

test("numbers have three digits and a unit", () => {
  expect([0.012345, 1.5, 123.4, 12345].map(digits)).toEqual(["0.0123", "1.50", "123", "12345"]);
  expect([1.5e-5, 0.25, 2, 1700].map(duration)).toEqual(["15.0 ns", "250 µs", "2.00 ms", "1.70 s"]);
  expect([64, 2 ** 10, 25690112, 2 ** 30].map(size)).toEqual(["64 B", "1 KB", "24.5 MB", "1 GB"]);
});

test("a table breaks headings and aligns columns", () => {
  expect(table(["cell", "tfjs cpu", "ms"], [["a×b", "1.5", "12"]])).toBe(
    ["      tfjs", "cell   cpu  ms", "a×b    1.5  12"].join("\n"),
  );
});
