/**
 * Sums over sets of a tensor's elements, for the references of all norms. float64, with
 * the rounding of every addition carried along, so that neither 10⁷ values nor a mean
 * of 10⁷ σ shows.
 */

/** @typedef {ArrayLike<number>} Values */

/**
 * Which set each element of a row-major tensor belongs to; all sets are of one size. Of
 * batch norm they are the channels.
 *
 * @typedef {object} Sets
 * @property {number} number
 * @property {Int32Array} of
 */

/**
 * Σ value(i) over each set's elements, with what each addition loses (Knuth's two-sum,
 * "The Art of Computer Programming" 2, 4.2.2). Of a sum that is not finite that is no number.
 *
 * @param {(i: number) => number} value @param {Sets} sets
 */
export function sumOf(value, { number, of }) {
  const sums = new Float64Array(number);
  const lost = new Float64Array(number);
  for (let i = 0; i < of.length; i++) {
    const set = at(of, i);
    const sum = at(sums, set);
    const term = value(i);
    const next = sum + term;
    const added = next - sum;
    sums[set] = next;
    lost[set] = at(lost, set) + (sum - (next - added)) + (term - added);
  }
  return sums.map((sum, set) => (Number.isFinite(sum) ? sum + at(lost, set) : sum));
}

/**
 * Mean of value(i) over each set's elements.
 *
 * @param {(i: number) => number} value @param {Sets} sets
 */
export function meanOf(value, sets) {
  const count = sets.of.length / sets.number;
  return sumOf(value, sets).map((sum) => sum / count);
}

/**
 * Each set's mean in two parts, the nearest float64 and what it lacks: a deviation from
 * one alone would be that of another mean, where |mean| ≫ σ.
 *
 * @param {Values} x @param {Sets} sets
 */
export function centerOf(x, sets) {
  const rounded = meanOf((i) => at(x, i), sets);
  const off = meanOf((i) => at(x, i) - at(rounded, at(sets.of, i)), sets);
  const mean = rounded.map((value, set) => value + at(off, set));
  return { mean, low: mean.map((value, set) => at(rounded, set) - value + at(off, set)) };
}

/**
 * x − mean of each element's set.
 *
 * @param {Values} x @param {Sets} sets @param {{ mean: Values, low?: Values }} center
 */
export function deviationsOf(x, { of }, { mean, low }) {
  return each(of.length, (i) => {
    const set = at(of, i);
    return at(x, i) - at(mean, set) - (low ? at(low, set) : 0);
  });
}

/**
 * value(0), value(1), …; a typed array's own `map` would take ten times as long.
 *
 * @param {number} length @param {(i: number) => number} value
 */
export function each(length, value) {
  const values = new Float64Array(length);
  for (let i = 0; i < length; i++) values[i] = value(i);
  return values;
}

/** @param {Values} values @param {number} i */
export function at(values, i) {
  return /** @type {number} */ (values[i]);
}
