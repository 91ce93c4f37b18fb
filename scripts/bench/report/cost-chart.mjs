/** ns an element against the size of x, both logarithmic: a chart a layout, a panel an operation. */
import { bytesOf, OPS } from "../cells.mjs";
import { contestantsOf, SECONDARY } from "../overview.mjs";
import { SERIES_NAME } from "../shapes.mjs";
import { CONFIG, scales } from "./style.mjs";

/**
 * @typedef {import("../contestant.d.ts").Record} Record
 * @typedef {import("../contestant.d.ts").Layout} Layout
 */

/** Sizes without which there is no line to see. */
const FEWEST = 4;

/** Of a layout that was measured at enough sizes. @param {readonly Record[]} records @param {Layout} layout */
export function costRows(records, layout) {
  const series = records.filter(
    (record) =>
      record.name === SERIES_NAME &&
      record.layout === layout &&
      record.status === "ok" &&
      !SECONDARY.includes(record.contestant),
  );
  if (new Set(series.map(bytesOf)).size < FEWEST) return { rows: [], names: [] };
  const rows = series.map((record) => ({
    op: record.op,
    contestant: record.contestant,
    bytes: bytesOf(record),
    ns: ((record.median_ms ?? Number.NaN) * 1e6) / (bytesOf(record) / 4),
  }));
  return { rows, names: contestantsOf(series) };
}

const SIZES = [10, 14, 18, 22, 26, 30].map((power) => 2 ** power);

/** @param {readonly Record[]} records @param {Layout} layout @param {string} title */
export function costSpec(records, layout, title) {
  const { rows, names } = costRows(records, layout);
  const { color, dash } = scales(names);
  return {
    title,
    data: { values: rows },
    facet: {
      row: { field: "op", sort: [...OPS], header: { labelOrient: "top", labelAnchor: "start" } },
    },
    spec: {
      width: 310,
      height: 200,
      mark: { type: "line", clip: true },
      encoding: {
        x: {
          field: "bytes",
          type: "quantitative",
          scale: { type: "log", base: 2, nice: false },
          axis: {
            values: SIZES,
            labelExpr:
              "datum.value < 1048576 ? datum.value / 1024 + ' KB' : datum.value < 1073741824 ? datum.value / 1048576 + ' MB' : datum.value / 1073741824 + ' GB'",
            title: "bytes of x, 64 channels",
          },
        },
        y: {
          field: "ns",
          type: "quantitative",
          scale: { type: "log", nice: false },
          axis: {
            title: "ns an element (less is better)",
            titleFontSize: 11,
            values: [0.01, 0.1, 1, 10, 100, 1000, 10000],
            format: "~g",
          },
        },
        color: { field: "contestant", scale: color, sort: names },
        strokeDash: { field: "contestant", scale: dash, sort: names },
        strokeWidth: {
          condition: { test: "datum.contestant == 'batchnorm-wasm'", value: 3 },
          value: 1.4,
        },
      },
    },
    resolve: { axis: { x: "independent", y: "independent" } },
    // Names of a few may be long: one below the other, a chart stays as wide as the others.
    config: names.length > 3 ? CONFIG : { ...CONFIG, legend: { ...CONFIG.legend, columns: 1 } },
  };
}
