/**
 * The target: y and gradients at or below PyTorch float32's error everywhere, at or below
 * 1/100 of it where |mean|/std ≥ 10⁴; statistics at or below its error + 1 ULP.
 *
 * Errors are in ULPs of the largest |truth| (`ulp.mjs`), maximum and median alike.
 */

/** |mean|/std from which on an output has to be far closer. */
const FAR_FROM_ZERO = 1e4;

/** What rounding the true value to float32 costs at most; PyTorch's error holds it, too. */
const ROUNDING = 0.5;

const STATISTICS = ["mean", "variance"];

/**
 * How large an error may be where PyTorch's is so large.
 *
 * @param {string} array @param {number} theirs @param {number} meanOverStd
 */
export function allowed(array, theirs, meanOverStd) {
  if (STATISTICS.includes(array)) return theirs + 1;
  return (meanOverStd >= FAR_FROM_ZERO ? theirs / 100 : theirs) + ROUNDING;
}

/**
 * @typedef {object} Record An array of a case by a contestant.
 * @property {string} distribution
 * @property {string} layout
 * @property {readonly number[]} shape
 * @property {string} op
 * @property {string} array
 * @property {number} mean_over_std the median of the channels
 * @property {string} contestant
 * @property {import("./ulp.mjs").Errors} errors
 */

/**
 * @typedef {Pick<Record, "distribution" | "layout" | "shape" | "op" | "array"> & {
 *   figure: "max" | "median", our: number, their: number, bound: number, violated: boolean,
 * }} Comparison
 */

/**
 * Compares two contestants array by array.
 *
 * @param {readonly Record[]} records @param {string} us @param {string} them
 * @returns {Comparison[]}
 */
export function judge(records, us, them) {
  const key = (/** @type {Record} */ { distribution, layout, shape, op, array }) =>
    [distribution, layout, shape, op, array].join();
  const byKey = new Map(records.filter((r) => r.contestant === them).map((r) => [key(r), r]));
  /** @type {Comparison[]} */
  const compared = [];
  for (const ours of records.filter((record) => record.contestant === us)) {
    const theirs = byKey.get(key(ours));
    if (!theirs) continue;
    for (const figure of /** @type {const} */ (["max", "median"])) {
      const [our, their] = [ours.errors.largest[figure], theirs.errors.largest[figure]];
      const bound = allowed(ours.array, their, ours.mean_over_std);
      const { distribution, layout, shape, op, array } = ours;
      // Negated, so that NaN fails.
      const violated = !(our <= bound);
      compared.push({
        distribution,
        layout,
        shape,
        op,
        array,
        figure,
        our,
        their,
        bound,
        violated,
      });
    }
  }
  return compared;
}
