/**
 * How far an output is from the truth. One ULP of a value is the distance between
 * float32 numbers at its magnitude: 2⁻²³ of the power of two at or below it, and from
 * 2⁻¹²⁶ down, where float32 is denormal, always 2⁻¹⁴⁹.
 *
 * The same difference is told in three ways:
 *
 * - `largest`: ULPs of the array's largest |truth|. This is what is judged: an element
 *   near 0 can't be closer than what was added and taken away to make it. All channels of
 *   a case are of one distribution, so that none hides behind another.
 * - `own`: ULPs of the element's own truth.
 * - `relative`: over the element's own |truth|; 0 where both are 0.
 */

/** @typedef {{ max: number, median: number }} Spread */
/** @typedef {{ largest: Spread, own: Spread, relative: Spread }} Errors */

/** Of more elements, so many evenly spread ones make the median; the maximum is of all. */
const MEDIAN_OF = 2 ** 16;

const MANTISSA = 23;
const LEAST_EXPONENT = -126;

/** 2 to the power of a float64's exponent field less float32's mantissa. */
const ULPS = Float64Array.from({ length: 2048 }, (_, field) => {
  return 2 ** (Math.max(field - 1023, LEAST_EXPONENT) - MANTISSA);
});
const view = new DataView(new ArrayBuffer(8));

/** The distance between float32 numbers at a value. @param {number} value */
export function ulp(value) {
  view.setFloat64(0, value);
  return /** @type {number} */ (ULPS[(view.getUint16(0) >> 4) & 0x7ff]);
}

/**
 * An output's errors. NaN where the truth isn't counts as infinitely wrong.
 *
 * @param {ArrayLike<number>} output @param {Float64Array} truth
 * @returns {Errors}
 */
export function errorsOf(output, truth) {
  if (output.length !== truth.length) {
    throw new Error(`${output.length} values instead of ${truth.length}`);
  }
  const largest = collector(truth.length);
  const own = collector(truth.length);
  const relative = collector(truth.length);
  const unit = ulp(truth.reduce((most, value) => Math.max(most, Math.abs(value)), 0));
  for (let i = 0; i < truth.length; i++) {
    const value = /** @type {number} */ (truth[i]);
    const difference = Math.abs(/** @type {number} */ (output[i]) - value);
    const error = Number.isNaN(difference) ? Number.POSITIVE_INFINITY : difference;
    largest.add(i, error / unit);
    own.add(i, error / ulp(value));
    relative.add(i, error === 0 ? 0 : error / Math.abs(value));
  }
  return { largest: largest.spread(), own: own.spread(), relative: relative.spread() };
}

/** @param {number} length */
function collector(length) {
  const step = Math.ceil(length / MEDIAN_OF);
  const kept = new Float64Array(Math.ceil(length / step));
  let max = 0;
  return {
    /** @param {number} i @param {number} error */
    add(i, error) {
      if (error > max) max = error;
      if (i % step === 0) kept[i / step] = error;
    },
    /** @returns {Spread} */
    spread() {
      return { max, median: median(kept) };
    },
  };
}

/** @param {Float64Array} values */
export function median(values) {
  const sorted = values.toSorted();
  const middle = (sorted.length - 1) / 2;
  const at = (/** @type {number} */ i) => /** @type {number} */ (sorted[i]);
  return (at(Math.floor(middle)) + at(Math.ceil(middle))) / 2;
}
