/** Which charts there are, and their files. */
import { LAYOUTS, OPS } from "../cells.mjs";
import { barRows, barSpec } from "./bar-chart.mjs";
import { costRows, costSpec } from "./cost-chart.mjs";
import { overviewSpec } from "./overview-chart.mjs";

/** @typedef {import("../contestant.d.ts").Record} Record */

export const OVERVIEW = "overview.svg";

/**
 * @param {readonly Record[]} records
 * @returns {{ file: string, title: string, spec: object }[]} the overview first
 */
export function chartsOf(records) {
  const layouts = LAYOUTS.filter((layout) => costRows(records, layout).rows.length > 0);
  return [
    {
      file: OVERVIEW,
      title: "ms a call for inference and training, by what computes it",
      spec: overviewSpec(records),
    },
    ...layouts.map((layout) => {
      const title = `Cost of an element, ${layout}`;
      return { file: `cost-${layout}.svg`, title, spec: costSpec(records, layout, title) };
    }),
    ...OPS.flatMap((op) => {
      const some = records.filter((record) => record.op === op);
      if (barRows(some).rows.length === 0) return [];
      const title = `${op}, beside a copy`;
      return [{ file: `${op}.svg`, title, spec: barSpec(some, title) }];
    }),
  ];
}
