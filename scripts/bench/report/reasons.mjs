/** Why there is no time where there is none, told once. */
import { contestantsOf } from "../overview.mjs";

/** @typedef {import("../contestant.d.ts").Record} Record */

/** Characters that a row has room for. */
const ROOM = 32;
/** And a line above the panels. */
const LINE = 60;

/** As short as a row of a chart has room for. @param {Record} record */
function shortReason({ status, reason = "" }) {
  if (/a call$/.test(reason)) return "too slow to be timed";
  if (status === "wrong") return `wrong: ${reason}`;
  const short = reason.replace(/^the (package|operator) /, "").replace(/:.*$/, "") || status;
  return short.length > ROOM ? `${status}, see below` : short;
}

/**
 * Contestants without any time leave the chart; a line for each reason tells it.
 *
 * @param {readonly Record[]} records
 */
export function withoutTimes(records) {
  const timed = records.filter(({ status }) => status === "ok");
  const names = new Set(contestantsOf(timed));
  /** @type {Map<string, string[]>} */
  const reasons = new Map();
  for (const record of records) {
    if (names.has(record.contestant)) continue;
    const reason = shortReason(record);
    const some = reasons.get(reason) ?? [];
    if (!some.includes(record.contestant)) reasons.set(reason, [...some, record.contestant]);
  }
  return {
    shown: records.filter(({ contestant }) => names.has(contestant)),
    lines: [...reasons].flatMap(([reason, some]) =>
      wrapped(`Not here: ${some.join(", ")} (${reason})`),
    ),
  };
}

/** Lines as long as a chart is wide. @param {string} text */
function wrapped(text) {
  /** @type {string[]} */
  const lines = [];
  for (const word of text.split(" ")) {
    const longer = lines.length > 0 ? `${lines.at(-1)} ${word}` : word;
    if (lines.length > 0 && longer.length <= LINE) lines[lines.length - 1] = longer;
    else lines.push(word);
  }
  return lines;
}

/**
 * What stands beside a row without a time: its reason at the first such row of a contestant,
 * then a dash.
 */
export function reasonTeller() {
  const told = new Set();
  return (/** @type {Record} */ record) => {
    const reason = shortReason(record);
    const key = `${record.contestant} ${reason}`;
    if (told.has(key)) return "–";
    told.add(key);
    return reason;
  };
}
