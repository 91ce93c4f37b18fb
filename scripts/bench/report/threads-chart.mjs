/** ns an element against the size of x: this package on one thread and on several, and the fastest rival. */
import { LAYOUTS } from "../cells.mjs";
import { ONE_THREAD } from "../limits/names.mjs";
import { contestantsOf, rowsOf } from "../overview.mjs";
import { numbered } from "../words.mjs";
import { costRows, costSpec } from "./cost-chart.mjs";
import { FASTEST } from "./style.mjs";

/** @typedef {import("../contestant.d.ts").Record} Record */

/**
 * What is drawn: of each cell ours, ours on one thread, and the fastest of all others by that name.
 *
 * @param {readonly Record[]} records
 * @returns {Record[]} in the order of the legend
 */
export function threadRecords(records) {
  const cells = rowsOf(records.filter(({ norm, variant }) => norm === undefined && !variant));
  const drawn = cells.flatMap(({ times }) => {
    const timed = [...times.values()].filter(({ status }) => status === "ok");
    const own = timed.filter(({ kind }) => kind === "ours");
    const [fastest] = timed
      .filter(({ kind }) => kind === "javascript" || kind === "native")
      .sort((a, b) => (a.median_ms ?? Number.NaN) - (b.median_ms ?? Number.NaN));
    return fastest ? [...own, { ...fastest, contestant: FASTEST }] : own;
  });
  // A chart without either says nothing of threads.
  return contestantsOf(drawn).includes(ONE_THREAD) ? drawn : [];
}

/**
 * A chart for each layout that was measured at enough sizes.
 *
 * @param {Pick<import("../contestant.d.ts").Results, "records" | "threads">} results
 */
export function threadChartsOf({ records, threads = 1 }) {
  const drawn = threadRecords(records);
  return LAYOUTS.filter((layout) => costRows(drawn, layout).rows.length > 0).map((layout) => {
    const title = `Cost of an element on ${numbered(threads)}, ${layout}`;
    return { file: `threads-${layout}.svg`, title, spec: costSpec(drawn, layout, title) };
  });
}
