/** What charts show, before anything is drawn: labels beside bars, reasons once, no empty panels. */
import { describe, expect, test } from "vitest";
import type { Cell, Record } from "../../scripts/bench/contestant.js";
import { timesAsLong } from "../../scripts/bench/report/answers.mjs";
import { barRows, barSpec } from "../../scripts/bench/report/bar-chart.mjs";
import { chartsOf, OVERVIEW } from "../../scripts/bench/report/charts.mjs";
import { costRows } from "../../scripts/bench/report/cost-chart.mjs";
import { overviewRows } from "../../scripts/bench/report/overview-chart.mjs";
import { scales } from "../../scripts/bench/report/style.mjs";
import { threadChartsOf, threadRecords } from "../../scripts/bench/report/threads-chart.mjs";

const CELL = {
  op: "inference",
  layout: "channels-first",
  shape: [32, 64, 56, 56],
  name: "headline",
} as const;
type Where = Partial<Pick<Cell, "op" | "layout" | "shape" | "name">>;

function ok(contestant: string, kind: Record["kind"], ms: number, where: Where = {}): Record {
  const ratios = { ratio_to_copy: ms / 2, ratio_to_ours: ms / 4 };
  const about = { ...CELL, ...where, contestant, kind, version: "1.0" };
  return { ...about, status: "ok", median_ms: ms, ...ratios };
}
function not(contestant: string, reason: string, where: Where = {}, status = "refused"): Record {
  const about = { ...CELL, ...where, contestant, kind: "javascript", version: null };
  return { ...about, status, reason } as Record;
}

const last = { layout: "channels-last", shape: [32, 56, 56, 64] } as const;

describe("bars", () => {
  test("have their label at their end, or at 1 where they end before it", () => {
    const { rows } = barRows([ok("batchnorm-wasm", "ours", 1), ok("flat loop", "javascript", 9)]);
    expect(rows.map(({ ratio, label, text }) => [ratio, label, text])).toEqual([
      [0.5, 1, "0.500 (1.00 ms)"],
      [4.5, 4.5, "4.50 (9.00 ms)"],
    ]);
  });

  test("leave out the copy, which is 1, and show the bare loops", () => {
    const { names } = barRows([
      ok("memory.copy", "limit", 2),
      ok("bare loops", "limit", 1),
      ok("batchnorm-wasm", "ours", 1),
      ok("naive loop", "javascript", 99),
    ]);
    expect(names).toEqual(["bare loops", "batchnorm-wasm"]);
  });

  test("who has no time anywhere is named above them, once for each reason", () => {
    const { rows, lines } = barRows([
      ok("batchnorm-wasm", "ours", 1),
      not("onnxruntime-web", "the package has no gradients"),
      not("onnxruntime-node", "the package has no gradients"),
      not("onnxruntime-node", "the package has no gradients", last),
    ]);
    expect(rows).toHaveLength(1);
    expect(lines.join(" ")).toBe("Not here: onnxruntime-web, onnxruntime-node (has no gradients)");
  });

  test("a reason of some tensors stands beside the first", () => {
    const { rows } = barRows([
      ok("onnxruntime-web", "javascript", 4),
      not("onnxruntime-web", "the operator knows channels-first alone", last),
      not("onnxruntime-web", "the operator knows channels-first alone", {
        ...last,
        shape: [1, 513, 513, 3],
        name: "odd: C = 3, 513×513",
      }),
    ]);
    expect(rows.map(({ text }) => text)).toEqual([
      "2.00 (4.00 ms)",
      "knows channels-first alone",
      "–",
    ]);
  });

  test("reasons too long for a row are told below", () => {
    const { rows } = barRows([
      ok("tfjs wasm", "javascript", 4),
      not("tfjs wasm", "y".repeat(50), last),
      not("tfjs wasm", "would take 1.20 s a call", {
        ...last,
        shape: [32, 7, 7, 2048],
        name: "ResNet-50 layer4",
      }),
    ]);
    expect(rows.map(({ text }) => text).slice(1)).toEqual([
      "refused, see below",
      "too slow to be timed",
    ]);
  });

  test("say what their axis is, and that less is better", () => {
    const spec = JSON.stringify(barSpec([ok("batchnorm-wasm", "ours", 1)], "inference"));
    expect(spec).toContain("time ÷ memory.copy of x (less is better)");
  });
});

test("an operation that was not measured has no chart", () => {
  const files = chartsOf([ok("batchnorm-wasm", "ours", 1)]).map(({ file }) => file);
  expect(files).toEqual([OVERVIEW, "inference.svg"]);
});

test("the overview has ours and rivals in ms, as multiples of ours, and reasons", () => {
  const both = { op: "forward-backward" } as const;
  const { rows, panels, title } = overviewRows([
    ok("memory.copy", "limit", 2),
    ok("batchnorm-wasm", "ours", 4),
    ok("tfjs wasm", "javascript", 9),
    ok("naive loop", "javascript", 99),
    ok("batchnorm-wasm", "ours", 8, both),
    not("tfjs wasm", "would take 9 s a call", both),
    ok("tfjs wasm", "javascript", 1, last),
  ]);
  expect(title).toBe("32×64×56×56 float32, one thread");
  expect(panels).toHaveLength(3);
  expect(rows.map(({ contestant, text }) => [contestant, text])).toEqual([
    ["batchnorm-wasm", "4.00 ms"],
    ["tfjs wasm", "9.00 ms · 2.25 ×"],
    ["batchnorm-wasm", "8.00 ms"],
    ["tfjs wasm", "too slow to be timed"],
  ]);
});

describe("cost against size", () => {
  const series = (layout: Cell["layout"], sizes: number) =>
    Array.from({ length: sizes }, (_, i) =>
      ok("batchnorm-wasm", "ours", 1, { name: "size series", layout, shape: [4 ** i, 64, 1, 1] }),
    );

  test("has a chart for each layout that was measured at enough sizes", () => {
    const some = [
      ...series("channels-first", 5),
      ...series("channels-last", 4),
      ...series("NC", 3),
    ];
    const files = chartsOf(some).map(({ file }) => file);
    expect(files[0]).toBe(OVERVIEW);
    expect(files.filter((file) => file.startsWith("cost"))).toEqual([
      "cost-channels-first.svg",
      "cost-channels-last.svg",
    ]);
  });

  test("is in ns an element", () => {
    const { rows } = costRows(series("channels-first", 4), "channels-first");
    expect(rows.map(({ bytes, ns }) => [bytes, ns])).toEqual(
      [1, 4, 16, 64].map((n) => [256 * n, 1e6 / (64 * n)]),
    );
  });
});

describe("cost on several threads", () => {
  const one = "batchnorm-wasm on one thread";
  const cell = (size: number) =>
    ({ name: "size series", layout: "channels-first", shape: [4 ** size, 64, 1, 1] }) as const;
  const timed = (size: number, jax: number) => [
    ok("memory.copy", "limit", 1, cell(size)),
    ok("batchnorm-wasm", "ours", 3, cell(size)),
    ok(one, "ours", 5, cell(size)),
    ok("onnxruntime-web", "javascript", 4, cell(size)),
    ok("JAX", "native", jax, cell(size)),
    not("PyTorch", "not here", cell(size), "absent"),
  ];
  const series = [timed(0, 2), timed(1, 6), timed(2, 6), timed(3, 6)].flat();

  test("is drawn of ours with and without, and of whoever else is the fastest of each cell", () => {
    const drawn = threadRecords(series);
    expect(drawn.slice(0, 6).map(({ contestant, median_ms }) => [contestant, median_ms])).toEqual([
      ...[
        ["batchnorm-wasm", 3],
        [one, 5],
        ["fastest rival", 2],
      ],
      ...[
        ["batchnorm-wasm", 3],
        [one, 5],
        ["fastest rival", 4],
      ],
    ]);
    const varied = series.map((record) => ({ ...record, norm: "layer" }) as Record);
    expect(threadRecords(varied)).toEqual([]);
  });

  test("has a chart for each layout, none where ours on one thread wasn't measured", () => {
    const [chart, ...others] = threadChartsOf({ records: series, threads: 2 });
    expect(others).toEqual([]);
    expect(chart).toMatchObject({
      file: "threads-channels-first.svg",
      title: "Cost of an element on 2 threads, channels-first",
    });
    const without = series.filter(({ contestant }) => contestant !== one);
    expect(threadChartsOf({ records: without, threads: 2 })).toEqual([]);
  });
});

test("every contestant has a style of its own", () => {
  expect(() => scales(["a new one"])).toThrow("style.mjs has no style for a new one");
  const { color } = scales(["bare loops", "batchnorm-wasm", "JAX"]);
  expect(new Set(color.range).size).toBe(3);
});

test("times as long are geometric means with their spread, from 64 KB on", () => {
  const rows = timesAsLong([
    ok("batchnorm-wasm", "ours", 4),
    ok("tfjs wasm", "javascript", 8),
    ok("tfjs wasm", "javascript", 32, { shape: [16, 64, 56, 56] }),
    ok("tfjs wasm", "javascript", 4000, { shape: [1, 64, 2, 2] }),
    ok("tfjs wasm", "javascript", 12, { op: "training" }),
  ]);
  expect(rows).toEqual([
    [
      "tfjs wasm: TensorFlow.js on its WebAssembly backend",
      ...["**4.00** (2.00–8.00)", "–", "**3.00** (3.00–3.00)", "–", "–"],
    ],
  ]);
});
