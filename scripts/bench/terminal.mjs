/** What is seen while it runs, and at the end. */
import { bytesOf, label } from "./cells.mjs";
import { digits, duration, table } from "./format.mjs";
import { contestantsOf, describe, sectionsOf, timeOf } from "./overview.mjs";
import { groups } from "./targets/groups.mjs";
import { judge, TARGET_COLUMNS, TARGET_WORDS, targetRow } from "./targets/index.mjs";

/**
 * @typedef {import("./contestant.d.ts").Record} Record
 * @typedef {import("./contestant.d.ts").Cell} Cell
 */

/** Larger tensors take longer: how the time for a cell grows with its size. @param {Cell} cell */
const work = (cell) => 1 + bytesOf(cell) / 2 ** 25;

/**
 * One line that is overwritten on a terminal; a line a cell elsewhere.
 *
 * @param {readonly Cell[]} cells @param {NodeJS.WriteStream} stream
 */
export function makeProgress(cells, stream) {
  const start = performance.now();
  const total = cells.reduce((sum, cell) => sum + work(cell), 0);
  let done = 0;
  const clock = (/** @type {number} */ ms) => {
    const seconds = Math.round(ms / 1000);
    return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
  };
  const clear = () => stream.isTTY && stream.write("\r\x1b[K");
  return {
    /** @param {Cell} cell @param {number} index @param {string} contestant */
    running(cell, index, contestant) {
      if (!stream.isTTY) return;
      const elapsed = performance.now() - start;
      const left = done > 0 ? `, ${clock((elapsed / done) * (total - done))} left` : "";
      const line = `${index + 1}/${cells.length}  ${clock(elapsed)}${left}  ${label(cell)}: ${contestant}`;
      clear();
      stream.write(line.slice(0, (stream.columns ?? 80) - 1));
    },
    /** @param {Cell} cell @param {number} index @param {readonly Record[]} records */
    finished(cell, index, records) {
      done += work(cell);
      clear();
      const place = `${String(index + 1).padStart(String(cells.length).length)}/${cells.length}`;
      stream.write(`${place}  ${label(cell)}: ${summary(records)}\n`);
    },
  };
}

/** Ours and the fastest others. @param {readonly Record[]} records */
function summary(records) {
  const [group] = groups(records);
  const { ours, native, javascript } = /** @type {NonNullable<typeof group>} */ (group);
  const parts = [];
  if (ours?.median_ms) {
    parts.push(`${duration(ours.median_ms)}, ${digits(ours.ratio_to_copy ?? 0)} × copy`);
    if (ours.ratio_to_bare) parts.push(`${digits(ours.ratio_to_bare)} × bare loops`);
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
  const names = contestantsOf(records);
  return sectionsOf(records)
    .map(({ op, layout, rows }) =>
      table(
        [`${op}, ${layout}`, ...names],
        rows.map(({ cell, times }) => [
          describe(cell),
          ...names.map((name) => timeOf(times.get(name))),
        ]),
      ),
    )
    .join("\n\n");
}

/** @param {Parameters<typeof judge>[0]} results */
export function targetsTable(results) {
  return table(TARGET_COLUMNS, judge(results).map(targetRow), TARGET_WORDS);
}
