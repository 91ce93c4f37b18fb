/** From the figures of a target's cells to whether it is met, and where it is furthest from it. */
import { geometricMean } from "simple-statistics";

/**
 * @typedef {object} Figure
 * @property {string} cell
 * @property {number} value
 * @property {number} [best] the end of the value's interval that is nearer to the bound, where it has
 *   one: what is missed within the noise isn't missed
 * @property {number} [bound] none where the target is one of the geometric mean alone
 */

/**
 * @typedef {object} Verdict
 * @property {string} target
 * @property {string} bound in words
 * @property {number | undefined} geomean of the figures
 * @property {Figure[]} figures the furthest from its bound first
 * @property {number} misses how many of them are over or under their bound
 * @property {"met" | "missed" | "open"} status open: as far as measured it is met, but not all
 *   that it speaks of was measured
 * @property {string} note what is missing, or excused
 */

/**
 * @param {object} given
 * @param {string} given.target
 * @param {string} given.bound
 * @param {"≤" | "≥"} given.sign
 * @param {readonly Figure[]} given.figures
 * @param {number} [given.geomean] that their geometric mean is to reach, too
 * @param {string} [given.missing] what was not measured, if anything
 * @param {string} [given.note]
 * @returns {Verdict}
 */
export function verdict({
  target,
  bound,
  sign,
  figures,
  geomean: wanted,
  missing = "",
  note = "",
}) {
  const holds = (/** @type {number} */ value, /** @type {number | undefined} */ to) =>
    to === undefined || (sign === "≥" ? value >= to : value <= to);
  const far = (/** @type {Figure} */ { value, best = value, bound = 1 }) =>
    (sign === "≥" ? bound - best : best - bound) / bound;
  const sorted = [...figures].sort((a, b) => far(b) - far(a));
  const values = figures.map(({ value }) => value);
  const geomean =
    values.length > 0 && values.every((value) => value > 0) ? geometricMean(values) : undefined;
  const misses = figures.filter(({ value, best = value, bound }) => !holds(best, bound)).length;
  const reached = geomean === undefined || holds(geomean, wanted);
  const measured = figures.length > 0 && missing === "";
  const status = misses > 0 || !reached ? "missed" : measured ? "met" : "open";
  const empty = figures.length === 0 && missing === "" ? "no cell of it in these results" : "";
  const notes = [missing, note, empty].filter((text) => text !== "").join("; ");
  return { target, bound, geomean, figures: sorted, misses, status, note: notes };
}
