/** Runs contestants over one table, chunk by chunk in turn, with their times and the memory that stays. */
import { quartiles } from "../statistics.mjs";
import { add, chunksOf, errorsOf, makeSums } from "./rows.mjs";

/**
 * @typedef {import("./contestants.mjs").Contestant} Contestant
 * @typedef {{ heap: number, kernel: number, rss: number }} Memory bytes
 */

/**
 * @typedef {object} Outcome
 * @property {string} name
 * @property {number} update ns a row, the median of the chunks
 * @property {number} [normalize] likewise
 * @property {{ update: number, normalize?: number }} toFirst over those of the first contestant, chunk by
 *   chunk: what slows a machine down for a while slows both
 * @property {{ mean: number, variance: number }} errors
 */

/** Chunks before the memory is looked at: engines compile, and buffers are made. */
const SETTLED = 0.05;

/**
 * @param {{ rows: number, columns: number, chunk: number }} table
 * @param {readonly Contestant[]} contestants
 * @param {() => Memory} memory after garbage was collected
 * @returns {{ outcomes: Outcome[], before: Memory, after: Memory, seconds: number[] }} seconds of all updates
 */
export function stream(table, contestants, memory) {
  const { rows, columns, chunk } = table;
  const chunks = Math.ceil(rows / chunk);
  const sums = makeSums(columns);
  const times = contestants.map((contestant) => ({
    contestant,
    update: new Float64Array(chunks),
    normalize: new Float64Array(chunks),
  }));
  const settled = Math.ceil(chunks * SETTLED);
  /** @type {Memory | undefined} */
  let before;
  let index = 0;
  for (const values of chunksOf(table)) {
    if (index === settled) before = memory();
    add(sums, values);
    // In one order, and then in the reverse: nobody has the chunk always fresh in the cache.
    const order = index % 2 === 0 ? times : [...times].reverse();
    for (const { contestant, update, normalize } of order) {
      contestant.bring(values);
      update[index] = timeOf(contestant.update);
      if (contestant.normalize) normalize[index] = timeOf(contestant.normalize);
    }
    index++;
  }
  const after = memory();
  // Of full chunks, but where there is none.
  const full = Math.max(1, Math.floor(rows / chunk));
  const median = (/** @type {Float64Array} */ values) => quartiles(values.subarray(0, full)).median;
  const nsARow = (/** @type {Float64Array} */ ms) => (median(ms) * 1e6) / Math.min(chunk, rows);
  const over = (/** @type {Float64Array} */ ms, /** @type {Float64Array} */ base) =>
    median(ms.map((time, i) => time / /** @type {number} */ (base[i])));
  const [first] = times;
  if (!first) throw new Error("there is nobody to run");
  return {
    outcomes: times.map(({ contestant, update, normalize }) => {
      const both = contestant.normalize && first.contestant.normalize;
      return {
        name: contestant.name,
        update: nsARow(update),
        ...(contestant.normalize ? { normalize: nsARow(normalize) } : {}),
        toFirst: {
          update: over(update, first.update),
          ...(both ? { normalize: over(normalize, first.normalize) } : {}),
        },
        errors: errorsOf(contestant.moments(), sums, rows),
      };
    }),
    before: before ?? after,
    after,
    seconds: times.map(({ update }) => update.reduce((a, b) => a + b, 0) / 1000),
  };
}

/** ms. @param {() => void} call */
function timeOf(call) {
  const start = performance.now();
  call();
  return performance.now() - start;
}
