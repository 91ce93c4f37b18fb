/** The records of each cell, by what targets compare: ours, the limits, the rivals. */
import { label } from "../cells.mjs";
import { BARE_LOOPS, MEMORY_COPY } from "../limits/names.mjs";

/**
 * @typedef {import("../contestant.d.ts").Record} Record
 * @typedef {import("../contestant.d.ts").Cell} Cell
 */

/**
 * What was timed in one cell.
 *
 * @typedef {object} Group
 * @property {Cell} cell
 * @property {Record | undefined} ours
 * @property {Record | undefined} copy
 * @property {Record | undefined} bare
 * @property {Record | undefined} native the fastest of them
 * @property {Record | undefined} javascript the fastest other JavaScript or wasm
 */

/** Of batch norm, without variants. @param {readonly Record[]} records @returns {Group[]} */
export function groups(records) {
  return groupsOfAll(records.filter(({ norm = "batch", variant }) => norm === "batch" && !variant));
}

/** @param {readonly Record[]} records @returns {Group[]} */
export function groupsOfAll(records) {
  /** @type {Map<string, Record[]>} */
  const cells = new Map();
  for (const record of records) {
    const key = label(record);
    cells.set(key, [...(cells.get(key) ?? []), record]);
  }
  return [...cells.values()].map((all) => {
    const timed = all.filter(({ status }) => status === "ok");
    const named = (/** @type {string} */ name) =>
      timed.find(({ contestant }) => contestant === name);
    return {
      cell: /** @type {Cell} */ (/** @type {unknown} */ (all[0])),
      ours: timed.find(({ kind }) => kind === "ours"),
      copy: named(MEMORY_COPY),
      bare: named(BARE_LOOPS),
      native: fastest(timed, "native"),
      javascript: fastest(timed, "javascript"),
    };
  });
}

/** By its time over ours. @param {readonly Record[]} timed @param {Record["kind"]} kind */
function fastest(timed, kind) {
  const ratio = (/** @type {Record} */ { ratio_to_ours }) => ratio_to_ours ?? Number.NaN;
  return timed
    .filter((record) => record.kind === kind && record.ratio_to_ours !== undefined)
    .sort((a, b) => ratio(a) - ratio(b))[0];
}

/**
 * Contestants that were not there at all, of those that may be the fastest: what was not
 * compared is not met. One that refuses an operation was there.
 *
 * @param {readonly Record[]} records @param {readonly string[]} names
 */
export function missingOf(records, names) {
  const there = new Set(
    records.flatMap(({ contestant, status }) => (status === "absent" ? [] : [contestant])),
  );
  return names.filter((name) => !there.has(name));
}
