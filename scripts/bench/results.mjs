/** Results on disk: a header, then a record a line, so that two runs can be compared by eye. */
import { mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";

/** @typedef {import("./contestant.d.ts").Results} Results */

/** @param {Results} results */
export function serialize({ records, ...header }) {
  const head = JSON.stringify(header, null, 2).slice(0, -2);
  return `${head},\n  "records": [\n${records.map((record) => JSON.stringify(round(record))).join(",\n")}\n]}\n`;
}

/** A whole file or none: an interrupted run keeps what it has. @param {string} path @param {Results} results */
export function writeResults(path, results) {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(`${path}.part`, serialize(results));
  renameSync(`${path}.part`, path);
}

/** @param {string | URL} path @returns {Results} */
export function readResults(path) {
  return JSON.parse(readFileSync(path, "utf8"));
}

/** Five digits: more would be noise. @param {import("./contestant.d.ts").Record} record */
function round(record) {
  return Object.fromEntries(
    Object.entries(record).map(([name, value]) => [
      name,
      typeof value === "number" && !Number.isInteger(value) ? Number(value.toPrecision(5)) : value,
    ]),
  );
}
