/** What the kernels are to reach, and how far they are: from records alone. */
import { geometricMean, max, min } from "simple-statistics";
import { bytesOf, label, OPS } from "./cells.mjs";

/**
 * @typedef {import("./contestant.d.ts").Record} Record
 * @typedef {import("./contestant.d.ts").Cell} Cell
 */

/**
 * The records of one cell, those with a time.
 *
 * @typedef {object} Group
 * @property {Cell} cell
 * @property {Record | undefined} ours
 * @property {number | undefined} native the fastest native contestant's time over ours
 * @property {number | undefined} javascript the fastest other JavaScript or wasm, likewise
 */

/**
 * @typedef {object} Verdict
 * @property {string} target
 * @property {string} bound
 * @property {number} cells
 * @property {number} geomean
 * @property {number} worst of the cells
 * @property {string} cell that has it
 * @property {boolean} met
 */

const KB = 2 ** 10;
/** The targets count in millions. */
const MB = 1e6;

/** @param {readonly Record[]} records @returns {Group[]} */
export function groups(records) {
  /** @type {Map<string, Record[]>} */
  const cells = new Map();
  for (const record of records) {
    const key = label(record);
    cells.set(key, [...(cells.get(key) ?? []), record]);
  }
  return [...cells.values()].map((all) => {
    const timed = all.filter(({ status }) => status === "ok");
    const fastest = (/** @type {Record["kind"]} */ kind) => {
      const rivals = timed.filter((record) => record.kind === kind);
      const found = rivals.flatMap(({ ratio_to_ours }) => ratio_to_ours ?? []);
      return found.length > 0 ? min(found) : undefined;
    };
    return {
      cell: /** @type {Cell} */ (/** @type {unknown} */ (all[0])),
      ours: timed.find(({ kind }) => kind === "ours"),
      native: fastest("native"),
      javascript: fastest("javascript"),
    };
  });
}

/**
 * Every target that the records say something about.
 *
 * @param {readonly Record[]} records @returns {Verdict[]}
 */
export function judge(records) {
  const all = groups(records);
  /** @type {Verdict[]} */
  const verdicts = [];

  /**
   * @param {string} target @param {"≥" | "≤"} sign @param {number} bound
   * @param {(group: Group) => boolean} among @param {(group: Group) => number | undefined} ratio
   * @param {number} [geomeanBound]
   */
  function add(target, sign, bound, among, ratio, geomeanBound) {
    const found = all.filter(among).flatMap((group) => {
      const value = ratio(group);
      return value === undefined ? [] : [{ value, cell: label(group.cell) }];
    });
    if (found.length === 0) return;
    const values = found.map(({ value }) => value);
    const geomean = geometricMean(values);
    const worst = sign === "≥" ? min(values) : max(values);
    const holds = (/** @type {number} */ value, /** @type {number} */ to) =>
      sign === "≥" ? value >= to : value <= to;
    verdicts.push({
      target,
      bound: `${sign} ${bound}${geomeanBound ? `, geomean ${sign} ${geomeanBound}` : ""}`,
      cells: found.length,
      geomean,
      worst,
      cell: found.find(({ value }) => value === worst)?.cell ?? "",
      met: holds(worst, bound) && (!geomeanBound || holds(geomean, geomeanBound)),
    });
  }

  const is =
    (/** @type {string} */ op, /** @type {string} */ layout = "") =>
    (/** @type {Group} */ { cell }) =>
      cell.op === op && (layout === "" || cell.layout === layout);
  const toCopy = (/** @type {Group} */ { ours }) => ours?.ratio_to_copy;

  for (const op of OPS) {
    add(`${op}: fastest native ÷ ours`, "≥", 1, is(op), ({ native }) => native, 1.5);
  }
  for (const op of OPS) {
    const from64KB = (/** @type {Group} */ group) =>
      is(op)(group) && bytesOf(group.cell) >= 64 * KB;
    const bound = op.startsWith("inference") ? 3 : 5;
    add(
      `${op}: fastest JavaScript ÷ ours, from 64 KB`,
      "≥",
      bound,
      from64KB,
      (group) => group.javascript,
    );
  }

  /** @type {[string, { [layout: string]: number }][]} */
  const large = [
    ["inference", { "channels-first": 1.1, "channels-last": 1.35, NC: 1.35 }],
    ["inference-in-place", { "channels-first": 0.7, "channels-last": 0.7, NC: 0.7 }],
    ["training", { "channels-first": 1.5, "channels-last": 1.5, NC: 1.5 }],
    ["backward", { "channels-first": 2.8, "channels-last": 2.8, NC: 2.8 }],
  ];
  for (const [op, bounds] of large) {
    for (const [layout, bound] of Object.entries(bounds)) {
      const among = (/** @type {Group} */ group) =>
        is(op, layout)(group) && bytesOf(group.cell) >= 3 * MB;
      add(`${op} ${layout}: ours ÷ copy, from 3 MB`, "≤", bound, among, toCopy);
    }
  }
  const about25MB = (/** @type {Group} */ group) =>
    is("backward")(group) && Math.abs(bytesOf(group.cell) / (25 * MB) - 1) < 0.1;
  add("backward: ours ÷ copy, at 25 MB", "≤", 2.2, about25MB, toCopy);

  for (const [op, bound] of /** @type {const} */ ([
    ["inference", 1.6],
    ["training", 3],
    ["backward", 4.5],
  ])) {
    const inCache = (/** @type {Group} */ group) =>
      is(op)(group) && bytesOf(group.cell) >= 64 * KB && bytesOf(group.cell) <= 1024 * KB;
    add(`${op}: ours ÷ copy, 64 KB to 1 MB`, "≤", bound, inCache, toCopy);
  }

  for (const op of OPS) {
    add(
      `${op}: cost of an element at 7×7 ÷ at 14×14`,
      "≤",
      1.3,
      ({ cell }) => cell.op === op && /layer4$/.test(cell.name),
      (group) => {
        const other = all.find(
          ({ cell }) =>
            cell.op === op && cell.layout === group.cell.layout && /layer3$/.test(cell.name),
        );
        const [short, long] = [perElement(group), other && perElement(other)];
        return short && long && short / long;
      },
    );
  }
  for (const [op, bound] of /** @type {const} */ ([
    ["inference", 0.5],
    ["training", 1],
  ])) {
    const tiny = (/** @type {Group} */ group) => is(op)(group) && bytesOf(group.cell) === 64;
    add(
      `${op}: µs a call on 16 elements`,
      "≤",
      bound,
      tiny,
      ({ ours }) => ours?.median_ms && ours.median_ms * 1000,
    );
  }
  return verdicts;
}

/** ms. @param {Group} group */
function perElement({ cell, ours }) {
  return ours?.median_ms && ours.median_ms / bytesOf(cell);
}
