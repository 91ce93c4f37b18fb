/**
 * Activations behind a norm, and a residual before them, as their formulas stand: in float64, one
 * element at a time.
 *
 * ```text
 * v  = norm + residual
 * y  = v where v > 0, else slope·v       slope: 0 of ReLU, 1 of none
 * dv = dy where v > 0, else slope·dy     the residual's gradient, and the norm's dy
 * ```
 *
 * The sign of y is that of v. Where the slope is 0 nothing is let through, whatever it is; what
 * isn't a number has no sign, and is let through.
 */
import { at, each } from "./sums.mjs";

/** @typedef {import("./sums.mjs").Values} Values */

/**
 * y of the norm's result.
 *
 * @param {Values} norm @param {Values | null} residual @param {number} slope
 */
export function activated(norm, residual, slope) {
  return each(norm.length, (i) => {
    const v = at(norm, i) + (residual ? at(residual, i) : 0);
    return below(v, v, slope);
  });
}

/**
 * dv of dy, by y.
 *
 * @param {Values} dy @param {Values} y @param {number} slope
 */
export function gated(dy, y, slope) {
  return each(dy.length, (i) => below(at(dy, i), at(y, i), slope));
}

/** @param {number} value @param {number} sign @param {number} slope */
function below(value, sign, slope) {
  if (!(sign <= 0)) return value;
  return slope === 0 ? 0 : slope * value;
}
