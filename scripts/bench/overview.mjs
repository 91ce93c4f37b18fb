/** Records arranged for people: who took how long, and why there is no time where there is none. */
import { bytesOf, LAYOUTS, label, NORMS, OPS, VARIANT_NAMES, VARIANTS } from "./cells.mjs";
import { digits, duration, size } from "./format.mjs";
import { BARE_LOOPS, NORM_ALONE, ONE_THREAD } from "./limits/names.mjs";

/**
 * @typedef {import("./contestant.d.ts").Record} Record
 * @typedef {{ cell: Record, times: Map<string, Record> }} Row a cell and its records by contestant
 */

/** Where one stands is seen without these: they are in the full tables alone, and not in quick runs. */
export const SECONDARY = [
  ...["batchnorm-wasm plain", "naive loop", "tfjs cpu"],
  ...["tfjs cpu + batchnorm-wasm", "tfjs wasm + batchnorm-wasm"],
];

/** Contestants in their order. @param {readonly Record[]} records */
export function contestantsOf(records) {
  return [...new Set(records.map(({ contestant }) => contestant))];
}

/** @param {readonly Record[]} records @returns {Row[]} a row for each cell */
export function rowsOf(records) {
  /** @type {Map<string, Row>} */
  const rows = new Map();
  for (const record of records) {
    const key = label(record);
    const row = rows.get(key) ?? { cell: record, times: new Map() };
    row.times.set(record.contestant, record);
    rows.set(key, row);
  }
  return [...rows.values()];
}

/**
 * Norms and variants of batch norm, and what their sections are called.
 *
 * @type {readonly (Pick<Record, "variant"> & { norm: import("./contestant.d.ts").Norm, title: string })[]}
 */
const KINDS = [
  ...NORMS.map((norm) => ({ norm, title: norm === "batch" ? "" : `${norm} norm, ` })),
  ...VARIANTS.map((variant) => ({
    ...{ norm: /** @type {const} */ ("batch"), variant, title: `${VARIANT_NAMES[variant]}, ` },
  })),
];

/** A norm or variant, operation and layout at a time. @param {readonly Record[]} records */
export function sectionsOf(records) {
  const rows = rowsOf(records);
  return KINDS.flatMap(({ norm, variant, title }) =>
    OPS.flatMap((op) =>
      LAYOUTS.map((layout) => ({
        ...{ norm, variant, op, layout },
        title: `${title}${op}, ${norm === "batch" || layout !== "NC" ? layout : "rows"}`,
        rows: rows.filter(
          ({ cell }) =>
            cell.op === op &&
            cell.layout === layout &&
            (cell.norm ?? "batch") === norm &&
            cell.variant === variant,
        ),
      })),
    ),
  ).filter(({ rows }) => rows.length > 0);
}

/** @param {Pick<Record, "shape">} cell */
export const shapeOf = ({ shape }) => shape.join("×");

/** @param {Pick<Record, "shape" | "name">} cell */
export const describe = (cell) => `${shapeOf(cell)} ${cell.name}, ${size(bytesOf(cell))}`;

/** @param {Record | undefined} record */
export function timeOf(record) {
  if (!record) return "";
  if (record.status === "ok") return duration(record.median_ms ?? Number.NaN);
  return record.status === "refused" || record.status === "absent" ? "–" : record.status;
}

/** "1.82 (1.79–1.85)". @param {Pick<Record, "gain" | "gain_low" | "gain_high">} record */
export function gainOf({ gain = Number.NaN, gain_low = gain, gain_high = gain }) {
  return `${digits(gain)} (${digits(gain_low)}–${digits(gain_high)})`;
}

/** What ours is told beside. @type {readonly (readonly [string, "ratio_to_bare" | "ratio_to_alone"])[]} */
const BASES = [
  [BARE_LOOPS, "ratio_to_bare"],
  [NORM_ALONE, "ratio_to_alone"],
];

/**
 * The columns of a table of times: a contestant each, and ours over the bare loops, and over the
 * norm alone, where these were measured.
 *
 * @param {readonly Row[]} rows
 */
export function timeColumns(rows) {
  const names = contestantsOf(rows.flatMap(({ times }) => [...times.values()]));
  const bases = BASES.filter(([name]) => names.includes(name));
  const gains = names.includes(ONE_THREAD) ? ["gain of threads"] : [];
  return {
    head: [...names, ...bases.map(([name]) => `ours ÷ ${name}`), ...gains],
    /** @param {Row["times"]} times */
    row(times) {
      const ours = [...times.values()].find(({ kind }) => kind === "ours");
      const ratios = bases.map(([, ratio]) => (ours?.[ratio] ? digits(ours[ratio]) : ""));
      const gain = gains.map(() => (ours?.gain ? gainOf(ours) : ""));
      return [...names.map((name) => timeOf(times.get(name))), ...ratios, ...gain];
    },
  };
}

/** @param {readonly Record[]} records */
export function reasonsOf(records) {
  /** @type {Map<string, number>} */
  const counts = new Map();
  for (const { contestant, status, reason } of records) {
    if (status === "ok") continue;
    // One line for all that would take too long, whatever the time.
    const line = `${contestant} ${status}: ${reason?.replace(/[\d.]+ s a call/, "too long")}`;
    counts.set(line, (counts.get(line) ?? 0) + 1);
  }
  return [...counts].map(([line, count]) => `${line} (${count} ${count === 1 ? "cell" : "cells"})`);
}
