/** Ours beside what the machine can do: bare loops in and near the caches, a copy from memory. */
import { bytesOf, channelsOf, label, OPS, rowBytesOf, togetherOf } from "../cells.mjs";
import { verdict } from "./verdict.mjs";

/**
 * @typedef {import("../contestant.d.ts").Op} Op
 * @typedef {import("../contestant.d.ts").Layout} Layout
 * @typedef {import("./groups.mjs").Group} Group
 */

const KB = 2 ** 10;
const MB = 2 ** 20;

/** ns that a channel may take beside the loops. @type {{ readonly [op in Op]: number }} */
const CHANNEL = {
  inference: 3,
  "inference-in-place": 3,
  training: 6,
  backward: 7,
  "forward-backward": 6 + 7,
};

const [FROM, TO] = [64 * KB, 32 * MB];
const GEOMEAN = 1.35;
const CELL = 1.6;
/** Of wide rows from memory: constants of all channels don't stay in the first cache. */
const WIDE = { row: 512, together: 8 * MB, cell: 2.3 };

const isWide = (/** @type {Group} */ { cell }) => rowBytesOf(cell) > WIDE.row;

/** Ours over bare loops and channels. @param {Group} group */
function overBare({ cell, ours, bare }) {
  if (ours?.ratio_to_bare === undefined || bare?.median_ms === undefined) return undefined;
  const channels = (channelsOf(cell) * CHANNEL[cell.op]) / 1e6;
  return (ours.ratio_to_bare * bare.median_ms) / (bare.median_ms + channels);
}

/** @param {readonly Group[]} all */
export function bareTargets(all) {
  const missing = all.some(({ bare }) => bare) ? "" : "no bare loops in these results";
  const figures = all.flatMap((group) => {
    const value = overBare(group);
    const bytes = bytesOf(group.cell);
    if (value === undefined || bytes < FROM || bytes > TO) return [];
    const wide = isWide(group) && togetherOf(group.cell) >= WIDE.together;
    const { op } = group.cell;
    return [{ op, cell: label(group.cell), value, bound: wide ? WIDE.cell : CELL }];
  });
  const range = "64 KB to 32 MB";
  return [
    verdict({
      target: `all operations: ours ÷ (bare loops + ns a channel), ${range}`,
      bound: `geomean ≤ ${GEOMEAN}`,
      sign: "≤",
      figures: figures.map(({ cell, value }) => ({ cell, value })),
      geomean: GEOMEAN,
      missing,
    }),
    ...OPS.map((op) =>
      verdict({
        target: `${op}: ours ÷ (bare loops + ${CHANNEL[op]} ns a channel), ${range}`,
        bound: `≤ ${CELL}; rows over ${WIDE.row} B, from 8 MB together: ≤ ${WIDE.cell}`,
        sign: "≤",
        figures: figures.filter((figure) => figure.op === op),
        missing,
      }),
    ),
  ];
}

/** From the headline's size up; that is 24.5 · 2^20. */
export const MEMORY = 25e6;

/** @type {readonly [string, number, (group: Group) => boolean][]} */
const COPIES = [
  ["inference channels-first", 1.1, is("inference", ["channels-first"])],
  ["inference channels-last, NC", 1.35, is("inference", ["channels-last", "NC"])],
  ["inference-in-place", 0.75, is("inference-in-place")],
  ["training", 1.6, is("training")],
  ["backward", 2.6, (group) => is("backward")(group) && !isWide(group)],
  [`backward, rows over ${WIDE.row} B`, 4, (group) => is("backward")(group) && isWide(group)],
];

/** @param {Op} op @param {readonly Layout[]} [layouts] */
function is(op, layouts) {
  return (/** @type {Group} */ { cell }) =>
    cell.op === op && (layouts === undefined || layouts.includes(cell.layout));
}

/** @param {readonly Group[]} all */
export function copyTargets(all) {
  return COPIES.map(([name, bound, among]) =>
    verdict({
      target: `${name}: ours ÷ memory.copy, from 25 MB`,
      bound: `≤ ${bound}`,
      sign: "≤",
      figures: all
        .filter((group) => among(group) && bytesOf(group.cell) >= MEMORY)
        .flatMap(({ cell, ours }) =>
          ours?.ratio_to_copy ? [{ cell: label(cell), value: ours.ratio_to_copy, bound }] : [],
        ),
    }),
  );
}
