/** The axes over which rows are normalized: read, and counted from 0. */
import { checkAxis } from "../core/checks.js";
import { fail } from "../core/errors.js";
import { readNumbers, resolveAxis } from "../core/geometry.js";
import { showShape } from "../core/show.js";

/** One axis or several, negative from the end. */
export type Axes = number | readonly number[];

/**
 * A copy of what was given, each read once; the last axis if nothing was.
 *
 * @throws BatchNormError `invalid-option`, `invalid-shape`
 */
export function readAxes(given: Axes | null | undefined, owner: string): readonly number[] {
  if (given == null) return [-1];
  if (typeof given !== "object") {
    checkAxis(given, owner);
    return [given];
  }
  const axes = readNumbers(given, `${owner}: axes`);
  for (const axis of axes) checkAxis(axis, owner);
  return axes;
}

/**
 * Axes of a tensor of this rank, counted from 0 and in order.
 *
 * @throws BatchNormError `shape-mismatch` where there is no such axis, `invalid-option` where one
 *   is named twice
 */
export function resolveAxes(axes: readonly number[], rank: number, owner: string): number[] {
  const all = axes.map((axis) => resolveAxis(axis, rank, owner)).sort((a, b) => a - b);
  if (new Set(all).size < all.length) {
    fail("invalid-option", `${owner}: axes ${showShape(axes)} name one twice, of rank ${rank}`);
  }
  return all;
}
