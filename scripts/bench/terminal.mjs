/** What is seen while it runs, and at the end. */
import { label } from "./cells.mjs";
import { digits, duration, table } from "./format.mjs";
import { describe, gainOf, sectionsOf, timeColumns } from "./overview.mjs";
import { groupsOfAll } from "./targets/groups.mjs";
import {
  judge,
  judgeThreads,
  judgeVariants,
  TARGET_COLUMNS,
  TARGET_WORDS,
  targetRow,
} from "./targets/index.mjs";

/**
 * @typedef {import("./contestant.d.ts").Record} Record
 * @typedef {import("./contestant.d.ts").Cell} Cell
 */

/**
 * One line that is overwritten on a terminal; a line a cell elsewhere. Both tell the time
 * left: first as it is expected, then by how long the cells before took.
 *
 * @param {readonly Cell[]} cells @param {readonly number[]} times expected, ms a cell
 * @param {NodeJS.WriteStream} stream
 */
export function makeProgress(cells, times, stream) {
  const start = performance.now();
  const timeLeft = makeClock(times);
  const clear = () => stream.isTTY && stream.write("\r\x1b[K");
  const place = (/** @type {number} */ index, /** @type {number} */ done) => {
    const number = String(index + 1).padStart(String(cells.length).length);
    return `${number}/${cells.length}  ${clock(timeLeft(done, performance.now() - start))} left`;
  };
  return {
    /** @param {Cell} cell @param {number} index @param {string} contestant */
    running(cell, index, contestant) {
      if (!stream.isTTY) return;
      const line = `${place(index, index)}  ${label(cell)}: ${contestant}`;
      clear();
      stream.write(line.slice(0, (stream.columns ?? 80) - 1));
    },
    /** @param {Cell} cell @param {number} index @param {readonly Record[]} records */
    finished(cell, index, records) {
      clear();
      stream.write(`${place(index, index + 1)}  ${label(cell)}: ${summary(records)}\n`);
    },
  };
}

/**
 * The time left, from what is expected and how far that was off so far.
 *
 * @param {readonly number[]} times expected, ms
 */
export function makeClock(times) {
  const sum = (/** @type {readonly number[]} */ some) => some.reduce((a, b) => a + b, 0);
  return (/** @type {number} */ done, /** @type {number} */ elapsed) => {
    const [past, rest] = [sum(times.slice(0, done)), sum(times.slice(done))];
    return past > 0 ? (elapsed / past) * rest : rest;
  };
}

/** "1:05". @param {number} ms */
function clock(ms) {
  const seconds = Math.round(ms / 1000);
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
}

/** Ours and the fastest others. @param {readonly Record[]} records */
function summary(records) {
  const [group] = groupsOfAll(records);
  const { ours, native, javascript } = /** @type {NonNullable<typeof group>} */ (group);
  const parts = [];
  if (ours?.median_ms) {
    parts.push(`${duration(ours.median_ms)}, ${digits(ours.ratio_to_copy ?? 0)} × copy`);
    if (ours.gain) parts.push(`${gainOf(ours)} × one thread`);
    if (ours.ratio_to_bare) parts.push(`${digits(ours.ratio_to_bare)} × bare loops`);
    if (ours.ratio_to_alone) parts.push(`${digits(ours.ratio_to_alone)} × the norm alone`);
  }
  const rival = (/** @type {Record | undefined} */ record) => {
    const ratio = record?.ratio_to_ours;
    if (record && ratio) parts.push(`${record.contestant} ${digits(ratio)} ×`);
  };
  rival(javascript);
  rival(native);
  const bad = records.filter(({ status }) => status === "wrong" || status === "failed");
  for (const { contestant, status } of bad) parts.push(`${contestant} ${status}`);
  return parts.join("; ");
}

/** All times. @param {readonly Record[]} records */
export function timesTable(records) {
  return sectionsOf(records)
    .map(({ title, rows }) => {
      const columns = timeColumns(rows);
      return table(
        [title, ...columns.head],
        rows.map(({ cell, times }) => [describe(cell), ...columns.row(times)]),
      );
    })
    .join("\n\n");
}

/**
 * Those that this run says something about.
 *
 * @param {Pick<import("./contestant.d.ts").Results, "records" | "kernel_gzip" | "threads">} results
 */
export function targetsTable(results) {
  // The others' bounds are of one thread.
  const all = results.threads
    ? judgeThreads(results)
    : [...judge(results), ...judgeVariants(results)];
  const some = all.filter(({ figures }) => figures.length > 0);
  const rows = table(TARGET_COLUMNS, some.map(targetRow), TARGET_WORDS);
  const rest = all.length - some.length;
  return rest === 0
    ? rows
    : `${rows}\n${rest} targets are of cells or contestants that were not in this run: --full --native, --variants --native and --threads 2 have all`;
}
