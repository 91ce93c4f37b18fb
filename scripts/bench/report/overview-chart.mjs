/** The picture above all: what a user's batch takes, by what they may use today. */
import { digits, duration } from "../format.mjs";
import { contestantsOf, SECONDARY, shapeOf } from "../overview.mjs";
import { reasonTeller } from "./reasons.mjs";
import { BAR, BAR_TEXT, barColors, CONFIG, NAME_AXIS } from "./style.mjs";

/** @typedef {import("../contestant.d.ts").Record} Record */

/** The tensor of the picture: what most networks of images have. */
const PICTURED = { name: "headline", layout: "channels-first" };

/** Panels: operations as a user calls them. @type {readonly (readonly [Record["op"], string])[]} */
const PANELS = [
  ["inference", "inference"],
  ["training", "training, forward"],
  ["forward-backward", "training, forward and backward"],
];

/** @param {readonly Record[]} records */
export function overviewRows(records) {
  const shown = records.filter(
    ({ name, layout, kind, contestant, status }) =>
      name === PICTURED.name &&
      layout === PICTURED.layout &&
      kind !== "limit" &&
      status !== "absent" &&
      !SECONDARY.includes(contestant),
  );
  const ourTime = (/** @type {Record["op"]} */ op) =>
    shown.find((record) => record.op === op && record.kind === "ours")?.median_ms;
  const reasonOf = reasonTeller();
  const rows = PANELS.flatMap(([op, title]) =>
    shown
      .filter((record) => record.op === op)
      .map((record) => {
        const { contestant, kind, median_ms } = record;
        if (record.status !== "ok" || median_ms === undefined) {
          return { panel: title, contestant, ms: 0, text: reasonOf(record) };
        }
        const ours = ourTime(op);
        // Of the times that stand there, or a reader who divides them gets another number.
        const times = ours && kind !== "ours" ? ` · ${digits(median_ms / ours)} ×` : "";
        const text = duration(median_ms) + times;
        return { panel: title, contestant, ms: median_ms, text };
      }),
  );
  const [first] = shown;
  return {
    rows,
    names: contestantsOf(shown),
    panels: PANELS.map(([, title]) => title),
    title: first ? `${shapeOf(first)} float32, one thread` : "",
  };
}

/** @param {readonly Record[]} records */
export function overviewSpec(records) {
  const { rows, names, panels, title } = overviewRows(records);
  const y = { field: "contestant", sort: names, axis: NAME_AXIS };
  return {
    title,
    data: { values: rows },
    facet: {
      row: { field: "panel", sort: panels, header: { labelOrient: "top", labelAnchor: "start" } },
    },
    spec: {
      width: BAR.width,
      height: { step: BAR.step },
      encoding: {
        y,
        x: {
          field: "ms",
          type: "quantitative",
          axis: { title: "ms a call (less is better)", tickCount: 4 },
        },
      },
      layer: [
        {
          mark: { type: "bar", cornerRadiusEnd: 2 },
          encoding: {
            ...barColors(names),
          },
        },
        {
          mark: BAR_TEXT,
          encoding: { text: { field: "text" } },
        },
      ],
    },
    resolve: { scale: { x: "independent" }, axis: { x: "independent", y: "independent" } },
    config: CONFIG,
  };
}
