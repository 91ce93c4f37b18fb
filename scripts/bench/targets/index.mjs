/** What the kernels are to reach, and how far they are: from results alone. */
import { digits } from "../format.mjs";
import { groups } from "./groups.mjs";
import { bareTargets, copyTargets } from "./limits.mjs";
import { callTargets, channelTargets, runTargets, sizeTarget } from "./own.mjs";
import { javascriptTargets, nativeTargets } from "./rivals.mjs";
import { threadTargets } from "./threads.mjs";
import { variantTargets } from "./variants.mjs";

/**
 * @typedef {import("../contestant.d.ts").Results} Results
 * @typedef {import("./verdict.mjs").Verdict} Verdict
 */

/** Every target of batch norm itself, those too that these results say nothing about. @param {Pick<Results, "records" | "kernel_gzip">} results */
export function judge({ records, kernel_gzip }) {
  const all = groups(records);
  return [
    ...bareTargets(all),
    ...copyTargets(all),
    ...nativeTargets(all, records),
    ...javascriptTargets(all, records),
    ...runTargets(all),
    ...channelTargets(all),
    ...callTargets(all),
    sizeTarget(kernel_gzip),
  ];
}

/** Those that compare with native contestants. @param {Pick<Results, "records">} results */
export function judgeNative({ records }) {
  return nativeTargets(groups(records), records);
}

/** Those of batch norm's variants. @param {Pick<Results, "records">} results */
export function judgeVariants({ records }) {
  return variantTargets(records);
}

/** Those of several threads. @param {Pick<Results, "records" | "threads">} results */
export function judgeThreads(results) {
  return threadTargets(results);
}

export const TARGET_COLUMNS = ["target", "bound", "geomean", "furthest", "cells", ""];
/** Which of these are words. */
export const TARGET_WORDS = [0, 1, 5];

/** How many of the cells that miss are named. */
const NAMED = 3;

/** A line of a table. @param {Verdict} verdict */
export function targetRow({ target, bound, geomean, figures, misses, status, note }) {
  const named = figures
    .slice(0, status === "missed" ? Math.max(1, Math.min(misses || NAMED, NAMED)) : 1)
    .map(({ cell, value }) => `${cell} ${digits(value)}`)
    .join(", ");
  const where = misses > 0 ? ` in ${misses}: ${named}` : named === "" ? "" : `; furthest ${named}`;
  return [
    ...[target, bound, geomean === undefined ? "" : digits(geomean)],
    ...[figures[0] ? digits(figures[0].value) : "", String(figures.length)],
    [`${status}${where}`, note].filter((text) => text !== "").join("; "),
  ];
}
