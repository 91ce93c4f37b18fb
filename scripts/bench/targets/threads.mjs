/** Ours with several threads beside ours on one, in the same rounds. */
import { bytesOf, label } from "../cells.mjs";
import { MEMORY } from "./limits.mjs";
import { verdict } from "./verdict.mjs";

/** From this size of x on threads are to help; below it they aren't to harm. */
export const HELPS = 2 ** 20;

const GEOMEAN = 1.5;
const CELL = 1.25;
/** There threads wait for the same memory. */
const FROM_MEMORY = 1.1;
const HARMLESS = 0.97;

/** Of so many threads the bounds are. */
const NUMBER = 2;

/**
 * A cell misses where the whole interval of its gain does: a few percent of a call of some µs are noise.
 *
 * @param {Pick<import("../contestant.d.ts").Results, "records" | "threads">} results
 */
export function threadTargets({ records, threads = 1 }) {
  // Of another number the figures are shown, and nothing is held against them.
  const judged = threads === NUMBER;
  const missing = judged ? "" : `of ${NUMBER} threads, and these results are of ${threads}`;
  const all = records.flatMap((record) => {
    const { gain, gain_high } = record;
    if (gain === undefined || gain_high === undefined) return [];
    return [{ cell: label(record), bytes: bytesOf(record), value: gain, best: gain_high }];
  });
  const large = all.filter(({ bytes }) => bytes >= HELPS);
  /** @param {typeof all} some @param {number} bound */
  const bounded = (some, bound) =>
    some.map(({ cell, value, best }) => ({ cell, value, best, ...(judged ? { bound } : {}) }));
  const common = { sign: /** @type {const} */ ("≥"), missing };
  return [
    verdict({
      ...common,
      target: "gain of two threads, from 1 MB",
      bound: `geomean ≥ ${GEOMEAN}`,
      figures: large.map(({ cell, value }) => ({ cell, value })),
      ...(judged ? { geomean: GEOMEAN } : {}),
    }),
    verdict({
      ...common,
      target: "gain of two threads, each cell from 1 to 25 MB",
      bound: `≥ ${CELL}`,
      figures: bounded(
        large.filter(({ bytes }) => bytes < MEMORY),
        CELL,
      ),
    }),
    verdict({
      ...common,
      target: "gain of two threads, each cell from 25 MB, from memory",
      bound: `≥ ${FROM_MEMORY}`,
      figures: bounded(
        large.filter(({ bytes }) => bytes >= MEMORY),
        FROM_MEMORY,
      ),
    }),
    verdict({
      ...common,
      target: "gain of two threads, each cell below 1 MB",
      bound: `≥ ${HARMLESS}`,
      figures: bounded(
        all.filter(({ bytes }) => bytes < HELPS),
        HARMLESS,
      ),
    }),
  ];
}
