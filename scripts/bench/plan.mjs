/** What to measure and how long: from the options that the terminal and the page share. */
import { cellsOf, cellsOfNorms, cellsOfThreads, cellsOfVariants, label } from "./cells.mjs";
import { SECONDARY } from "./overview.mjs";
import { expectedTime } from "./words.mjs";

/** @type {{ [set in import("./cells.mjs").SetName | "threads"]: import("./rounds.mjs").Effort }} */
const EFFORTS = {
  quick: { slice: 2, warmup: 40, budget: 80, fewest: 2, most: 20, longest: 400 },
  default: { slice: 3, warmup: 80, budget: 150, fewest: 3, most: 30, longest: 2000 },
  full: { slice: 3, warmup: 80, budget: 150, fewest: 3, most: 30, longest: 2000 },
  threads: { slice: 3, warmup: 80, budget: 150, fewest: 5, most: 30, longest: 2000, wakes: true },
};

/**
 * @param {object} options
 * @param {import("./cells.mjs").SetName} options.set
 * @param {string} options.filter of cells and contestants; the limit is always there
 * @param {boolean} [options.norms] the other norms, instead of batch norm's set
 * @param {boolean} [options.variants] batch norm's variants, instead of its set
 * @param {number} [options.threads] of each contestant; several have a set of their own
 * @param {readonly import("./contestant.d.ts").Contestant[]} contestants
 * @returns what to measure, by whom, and the ms that each cell is expected to take
 */
export function makePlan(
  { set, filter, norms = false, variants = false, threads = 1 },
  contestants,
) {
  const pattern = new RegExp(filter, "i");
  // Who filters says what they want.
  const leftOut = set === "quick" && filter === "" ? SECONDARY : [];
  /** @param {import("./contestant.d.ts").Cell} cell @param {import("./contestant.d.ts").Contestant} contestant */
  const isAsked = (cell, { kind, norms = ["batch"], variants = [], threads: its }) => {
    if (kind !== "limit" && (threads > 1 ? its === undefined : its === "one")) return false;
    const limitsAll = kind === "limit" && variants.length === 0;
    if (cell.variant) return limitsAll || variants.includes(cell.variant);
    return kind === "limit" ? limitsAll : norms.includes(cell.norm ?? "batch");
  };
  /** @param {import("./contestant.d.ts").Cell} cell @param {import("./contestant.d.ts").Contestant} contestant */
  const wanted = (cell, contestant) => {
    const { kind, name } = contestant;
    const isMeant = pattern.test(`${label(cell)} ${name}`) && !leftOut.includes(name);
    return isAsked(cell, contestant) && (kind === "limit" || isMeant);
  };
  const all = norms
    ? cellsOfNorms()
    : variants
      ? cellsOfVariants()
      : threads > 1
        ? cellsOfThreads()
        : cellsOf(set);
  const cells = all.filter((cell) =>
    contestants.some((contestant) => contestant.kind !== "limit" && wanted(cell, contestant)),
  );
  if (cells.length === 0) throw new Error(`nothing in the ${set} set matches ${pattern}`);
  const effort = EFFORTS[threads > 1 ? "threads" : set];
  const times = cells.map((cell) => {
    const field = contestants.filter((contestant) => wanted(cell, contestant));
    return expectedTime(cell, field.length, effort);
  });
  const names = contestants
    .filter((contestant) => cells.some((cell) => wanted(cell, contestant)))
    .map(({ name }) => name);
  return { cells, effort, wanted, names, times, threads };
}
