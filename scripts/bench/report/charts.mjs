/**
 * Results as charts, by Vega-Lite. One file serves light and dark pages: the background
 * is the page's, text and lines are of a grey that both can show.
 */
import { parse, View } from "vega";
import { compile } from "vega-lite";
import { bytesOf, LAYOUTS, OPS } from "../cells.mjs";
import { digits } from "../format.mjs";
import { contestantsOf, shapeOf, timeOf } from "../overview.mjs";
import { SERIES_NAME } from "../shapes.mjs";

/**
 * @typedef {import("../contestant.d.ts").Record} Record
 */

const GREY = "#7d838c";
const [SOLID, DASHED, DOTTED] = [
  [1, 0],
  [6, 3],
  [2, 3],
];

/**
 * Colours that colour-blind readers can tell apart (Okabe & Ito, 2008; Tol, 2021), one a
 * family, and dashes within it. Ours has the one that stands out, and a thicker line.
 *
 * @type {{ [contestant: string]: { color: string, dash: number[] } }}
 */
const STYLES = {
  "memory.copy": { color: GREY, dash: DASHED },
  "batchnorm-wasm": { color: "#d55e00", dash: SOLID },
  "batchnorm-wasm plain": { color: "#d55e00", dash: DOTTED },
  "naive loop": { color: "#56b4e9", dash: DOTTED },
  "flat loop": { color: "#56b4e9", dash: SOLID },
  "tfjs cpu": { color: "#b39b00", dash: DOTTED },
  "tfjs wasm": { color: "#b39b00", dash: SOLID },
  "onnxruntime-web": { color: "#009e73", dash: DOTTED },
  "onnxruntime-node": { color: "#009e73", dash: SOLID },
  PyTorch: { color: "#cc79a7", dash: SOLID },
  "torch.compile": { color: "#cc79a7", dash: DASHED },
  JAX: { color: "#5b6fd6", dash: SOLID },
};

/** What the charts of bars show; the others are in the tables. */
const BAR_CELLS = [
  "headline",
  "ResNet-50 layer3",
  "ResNet-50 layer4",
  "U-Net top",
  "odd: C = 3, 513×513",
];

/** @param {readonly Record[]} records */
export async function makeCharts(records) {
  const charts = [
    {
      file: "cost.svg",
      title: "Cost of an element against the size of x",
      spec: costSpec(records),
    },
    ...OPS.map((op) => ({
      file: `${op}.svg`,
      title: `${op}: time over memory.copy of x's bytes`,
      spec: barSpec(records.filter((record) => record.op === op)),
    })),
  ];
  return Promise.all(
    charts.map(async ({ file, title, spec }) => ({ file, title, svg: await render(spec) })),
  );
}

/** @param {import("vega-lite").TopLevelSpec} spec */
async function render(spec) {
  const { spec: compiled } = compile(spec);
  const view = new View(parse(compiled), { renderer: "none" });
  return `${await view.toSVG()}\n`;
}

const CONFIG = {
  background: null,
  font: "system-ui, sans-serif",
  view: { stroke: null },
  axis: {
    labelColor: GREY,
    titleColor: GREY,
    domainColor: GREY,
    tickColor: GREY,
    gridColor: GREY,
    gridOpacity: 0.25,
    labelFontSize: 11,
    titleFontSize: 12,
    titleFontWeight: "normal",
  },
  header: { labelColor: GREY, labelFontSize: 13, labelFontWeight: "bold", title: null },
  legend: {
    labelColor: GREY,
    labelFontSize: 12,
    labelLimit: 0,
    title: null,
    orient: "bottom",
    columns: 4,
    symbolType: "stroke",
    symbolSize: 500,
    symbolStrokeWidth: 2,
  },
};

/** @param {readonly string[]} names */
function scales(names) {
  const styles = names.map(styleOf);
  return {
    color: { domain: names, range: styles.map(({ color }) => color) },
    dash: { domain: names, range: styles.map(({ dash }) => dash) },
  };
}

/** ns an element against bytes, both logarithmic; panels by operation and layout. */
function costSpec(/** @type {readonly Record[]} */ records) {
  const series = records.filter(({ name, status }) => name === SERIES_NAME && status === "ok");
  const names = contestantsOf(series);
  const { color, dash } = scales(names);
  const values = series.map((record) => ({
    op: record.op,
    layout: record.layout,
    contestant: record.contestant,
    bytes: bytesOf(record),
    ns: ((record.median_ms ?? Number.NaN) * 1e6) / (bytesOf(record) / 4),
  }));
  const sizes = [10, 14, 18, 22, 26, 30].map((power) => 2 ** power);
  return /** @type {import("vega-lite").TopLevelSpec} */ ({
    data: { values },
    facet: {
      row: { field: "op", sort: [...OPS] },
      column: { field: "layout", sort: [...LAYOUTS] },
    },
    spec: {
      width: 330,
      height: 200,
      mark: "line",
      encoding: {
        x: {
          field: "bytes",
          type: "quantitative",
          scale: { type: "log", base: 2, nice: false },
          axis: {
            values: sizes,
            labelExpr:
              "datum.value < 1048576 ? datum.value / 1024 + ' KB' : datum.value < 1073741824 ? datum.value / 1048576 + ' MB' : datum.value / 1073741824 + ' GB'",
            title: null,
          },
        },
        y: {
          field: "ns",
          type: "quantitative",
          scale: { type: "log" },
          axis: { title: "ns an element", tickCount: 5, format: "~g" },
        },
        color: { field: "contestant", scale: color, sort: names },
        strokeDash: { field: "contestant", scale: dash, sort: names },
        strokeWidth: {
          condition: { test: "datum.contestant == 'batchnorm-wasm'", value: 3 },
          value: 1.4,
        },
      },
    },
    config: CONFIG,
  });
}

/** Bars from 1 (a copy) to what a contestant takes, logarithmic; a panel a cell. */
function barSpec(/** @type {readonly Record[]} */ records) {
  const shown = records.filter(
    ({ name, kind, status }) => BAR_CELLS.includes(name) && kind !== "limit" && status !== "absent",
  );
  const names = contestantsOf(shown);
  const values = shown
    .map((record) => ({
      cell: `${record.layout} ${shapeOf(record)}`,
      contestant: record.contestant,
      ratio: record.ratio_to_copy ?? 1,
      text: record.ratio_to_copy
        ? `${digits(record.ratio_to_copy)}  (${timeOf(record)})`
        : record.status,
    }))
    .sort((a, b) => a.cell.localeCompare(b.cell));
  return /** @type {import("vega-lite").TopLevelSpec} */ ({
    data: { values },
    facet: { field: "cell", sort: [...new Set(values.map(({ cell }) => cell))] },
    columns: 2,
    spec: {
      width: 260,
      height: { step: 17 },
      encoding: {
        y: {
          field: "contestant",
          sort: names,
          axis: { title: null, domain: false, ticks: false, labelFontSize: 11, labelLimit: 0 },
        },
        x: {
          field: "ratio",
          type: "quantitative",
          scale: { type: "log" },
          axis: { title: null, tickCount: 4, format: "~g" },
        },
        x2: { datum: 1 },
      },
      layer: [
        {
          mark: { type: "bar", cornerRadius: 2 },
          encoding: {
            color: { field: "contestant", scale: scales(names).color, legend: null },
            // As the dashes of lines: the lesser of two of a family.
            opacity: {
              condition: {
                test: { field: "contestant", oneOf: names.filter(isDashed) },
                value: 0.5,
              },
              value: 1,
            },
          },
        },
        {
          mark: { type: "text", align: "left", dx: 4, color: GREY, fontSize: 10 },
          encoding: { text: { field: "text" }, x2: null },
        },
      ],
    },
    config: CONFIG,
  });
}

/** @param {string} name */
const isDashed = (name) => styleOf(name).dash !== SOLID;

/** @param {string} name */
function styleOf(name) {
  const style = STYLES[name];
  // A contestant without a style would look like another one.
  if (!style) throw new Error(`charts.mjs has no style for ${name}`);
  return style;
}
