/**
 * Batch norm of one channel in float64 on float32 inputs, ε as the float64 it is: the
 * truth that errors are counted from. To a few 2⁻⁵³ of each quantity's natural size:
 * sums carry what their additions lose, and deviations are taken from a mean that is
 * itself corrected, so that neither 10⁷ values nor an offset of 10⁷ σ shows.
 */

/**
 * Σ term(i), with the rounding of every addition carried along (Neumaier, 1974).
 *
 * @param {number} length @param {(i: number) => number} term
 */
export function sum(length, term) {
  let [total, lost] = [0, 0];
  for (let i = 0; i < length; i++) {
    const value = term(i);
    const next = total + value;
    lost += Math.abs(total) >= Math.abs(value) ? total - next + value : value - next + total;
    total = next;
  }
  return total + lost;
}

/**
 * Mean, and each value's deviation from it.
 *
 * @param {Float32Array} values
 */
export function center(values) {
  const { length } = values;
  // The rounding of the mean counts where it is far from 0: deviations are corrected by theirs.
  const mean = sum(length, (i) => at(values, i)) / length;
  const rest = sum(length, (i) => at(values, i) - mean) / length;
  const deviations = each(length, (i) => at(values, i) - mean - rest);
  return { mean: mean + rest, deviations };
}

/**
 * y = γ·(x − μ)/√(σ² + ε) + β by given statistics.
 *
 * @param {Float32Array} x
 * @param {{ mean: number, variance: number, weight: number, bias: number, eps: number }} values
 */
export function inference(x, { mean, variance, weight, bias, eps }) {
  const scale = weight / Math.sqrt(variance + eps);
  return each(x.length, (i) => (at(x, i) - mean) * scale + bias);
}

/**
 * y by the batch's statistics, and these; gradients through them:
 * dβ = Σdy, dγ = Σdy·x̂, dx = γ/√(σ² + ε)·(dy − dβ/n − x̂·dγ/n). Since Σx̂ = 0, dγ is
 * Σ(dy − dβ/n)·x̂, in which a large mean of dy doesn't count.
 *
 * @param {Float32Array} x @param {Float32Array} dy
 * @param {{ weight: number, bias: number, eps: number }} parameters
 */
export function training(x, dy, { weight, bias, eps }) {
  const { length } = x;
  const { mean, deviations } = center(x);
  const variance = sum(length, (i) => at(deviations, i) ** 2) / length;
  const inverseStd = variance + eps === 0 ? 0 : 1 / Math.sqrt(variance + eps);
  const normalized = each(length, (i) => at(deviations, i) * inverseStd);
  const { deviations: apart } = center(dy);
  const dweight = sum(length, (i) => at(apart, i) * at(normalized, i));
  const rest = dweight / length;
  return {
    mean,
    variance,
    unbiasedVariance: (variance * length) / (length - 1),
    y: each(length, (i) => at(normalized, i) * weight + bias),
    dx: each(length, (i) => weight * inverseStd * (at(apart, i) - at(normalized, i) * rest)),
    dweight,
    dbias: sum(length, (i) => at(dy, i)),
  };
}

/** @param {number} length @param {(i: number) => number} value */
function each(length, value) {
  const values = new Float64Array(length);
  for (let i = 0; i < length; i++) values[i] = value(i);
  return values;
}

/** @param {ArrayLike<number>} values @param {number} i */
function at(values, i) {
  return /** @type {number} */ (values[i]);
}
