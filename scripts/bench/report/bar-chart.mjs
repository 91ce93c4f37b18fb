/** An operation on several tensors: bars from a copy, which is 1, to what a contestant takes. */
import { digits } from "../format.mjs";
import { MEMORY_COPY } from "../limits/names.mjs";
import { contestantsOf, SECONDARY, shapeOf, timeOf } from "../overview.mjs";
import { reasonTeller, withoutTimes } from "./reasons.mjs";
import { BAR, BAR_TEXT, barColors, CONFIG, NAME_AXIS } from "./style.mjs";

/** @typedef {import("../contestant.d.ts").Record} Record */

/** What is pictured; the others are in the tables. */
const CELLS = ["headline", "ResNet-50 layer4", "odd: C = 3, 513×513"];

/** @param {readonly Record[]} records of one operation */
export function barRows(records) {
  const { shown, lines } = withoutTimes(
    records.filter(
      ({ name, contestant, status }) =>
        CELLS.includes(name) &&
        status !== "absent" &&
        contestant !== MEMORY_COPY &&
        !SECONDARY.includes(contestant),
    ),
  );
  const reasonOf = reasonTeller();
  const rows = shown
    .map((record) => ({ record, panel: `${record.layout} ${shapeOf(record)}` }))
    .sort((a, b) => a.panel.localeCompare(b.panel))
    .map(({ record, panel }) => {
      const { contestant, ratio_to_copy: ratio } = record;
      const text = ratio ? `${digits(ratio)} (${timeOf(record)})` : reasonOf(record);
      // Of a bar that ends left of 1 the label would lie on it: it stands at 1.
      return { panel, contestant, ratio: ratio ?? 1, label: Math.max(ratio ?? 1, 1), text };
    });
  return { rows, lines, names: contestantsOf(shown) };
}

const TICKS = [0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000];

/** From a bar's end on the left, or a little room there, to the longest. @param {readonly { ratio: number }[]} rows */
function domainOf(rows) {
  const ratios = rows.map(({ ratio }) => ratio);
  return [Math.min(0.7, ...ratios), Math.max(3, ...ratios)];
}

/** @param {readonly Record[]} records of one operation @param {string} title */
export function barSpec(records, title) {
  const { rows, lines, names } = barRows(records);
  const x = { type: "quantitative", scale: { type: "log", domain: domainOf(rows), nice: false } };
  return {
    title: { text: title, subtitle: lines },
    data: { values: rows },
    facet: {
      row: {
        field: "panel",
        sort: [...new Set(rows.map(({ panel }) => panel))],
        header: { labelOrient: "top", labelAnchor: "start" },
      },
    },
    spec: {
      width: BAR.width,
      height: { step: BAR.step },
      encoding: { y: { field: "contestant", sort: names, axis: NAME_AXIS } },
      layer: [
        {
          mark: { type: "bar", cornerRadius: 2 },
          encoding: {
            x: {
              field: "ratio",
              ...x,
              axis: {
                title: "time ÷ memory.copy of x (less is better)",
                values: TICKS,
                format: "~g",
              },
            },
            x2: { datum: 1 },
            ...barColors(names),
          },
        },
        {
          mark: BAR_TEXT,
          encoding: { x: { field: "label", ...x }, text: { field: "text" } },
        },
      ],
    },
    // Each panel has its axis: one at the bottom would be a screen away on a phone.
    resolve: { axis: { x: "independent", y: "independent" } },
    config: CONFIG,
  };
}
