/**
 * Batch normalization (Ioffe & Szegedy, 2015, arXiv:1502.03167) as its formulas stand:
 * float64 on float32 inputs, one element at a time, any shape and axis. Obviously right
 * rather than fast. Tests, benchmarks and the accuracy report have their truth from here.
 *
 * ```text
 * μ = Σx/n     σ² = Σ(x − μ)²/n               over the n elements of a channel
 * x̂ = (x − μ)/√(σ² + ε)                       0 where σ² + ε = 0
 * y = γ·x̂ + β
 *
 * dβ = Σdy     dγ = Σdy·x̂
 * dx = γ/√(σ² + ε)·(dy − dβ/n − x̂·dγ/n)       through the batch's own statistics
 * dx = γ/√(σ² + ε)·dy                         through given ones, which are constants
 *
 * running ← (1 − w)·running + w·batch
 * ```
 */
import { parameterOf } from "./channels.mjs";
import { at, centerOf, deviationsOf, each, meanOf, sumOf } from "./sums.mjs";

export { channelsOf } from "./channels.mjs";

/** @typedef {import("./sums.mjs").Values} Values */
/** @typedef {import("./sums.mjs").Sets} Channels */

/**
 * One mean and one biased variance a channel.
 *
 * @typedef {object} Statistics
 * @property {Float64Array} mean
 * @property {Float64Array} variance
 * @property {Float64Array} [low] of the mean: where it is known beyond float64
 */

/**
 * γ (1 where absent) and β (0 where absent), one a channel, and ε.
 *
 * @typedef {object} Parameters
 * @property {Values | null} [weight]
 * @property {Values | null} [bias]
 * @property {number} eps
 */

/**
 * Of a loss whose gradient with respect to y is dy.
 *
 * @typedef {object} Gradients
 * @property {Float64Array} dx
 * @property {Float64Array} dweight
 * @property {Float64Array} dbias
 */

/**
 * μ and σ² of each channel.
 *
 * @param {Values} x @param {Channels} channels @returns {Required<Statistics>}
 */
export function statistics(x, channels) {
  const center = centerOf(x, channels);
  const deviations = deviationsOf(x, channels, center);
  return { ...center, variance: meanOf((i) => at(deviations, i) ** 2, channels) };
}

/**
 * 1/√(σ² + ε); 0 instead of 1/0, because every x − μ is 0 there.
 *
 * @param {Pick<Statistics, "variance">} statistics @param {number} eps
 */
export function inverseStd({ variance }, eps) {
  return variance.map((value) => (value + eps === 0 ? 0 : 1 / Math.sqrt(value + eps)));
}

/**
 * x̂ by the batch's own statistics or given ones.
 *
 * @param {Values} x @param {Channels} channels @param {Statistics} statistics @param {number} eps
 */
export function normalized(x, channels, statistics, eps) {
  const scale = inverseStd(statistics, eps);
  const deviations = deviationsOf(x, channels, statistics);
  return each(x.length, (i) => at(deviations, i) * at(scale, at(channels.of, i)));
}

/**
 * y by the batch's own statistics or given ones.
 *
 * @param {Values} x @param {Channels} channels @param {Statistics} statistics
 * @param {Parameters} parameters
 */
export function forward(x, channels, statistics, { weight, bias, eps }) {
  const xHat = normalized(x, channels, statistics, eps);
  return each(x.length, (i) => {
    const c = at(channels.of, i);
    return at(xHat, i) * parameterOf(weight, c, 1) + parameterOf(bias, c, 0);
  });
}

/**
 * Gradients through the batch's own statistics. Since Σx̂ = 0, dγ is Σ(dy − dβ/n)·x̂ as
 * well: with dy itself the rounding of x̂, times Σdy, would count.
 *
 * @param {Values} x @param {Values} dy @param {Channels} channels
 * @param {Pick<Parameters, "weight" | "eps">} parameters
 * @param {Statistics} [batch] its {@link statistics}, where they are known
 * @returns {Gradients}
 */
export function backward(x, dy, channels, { weight, eps }, batch = statistics(x, channels)) {
  const scale = inverseStd(batch, eps);
  const xHat = normalized(x, channels, batch, eps);
  const apart = deviationsOf(dy, channels, centerOf(dy, channels));
  const dweight = sumOf((i) => at(apart, i) * at(xHat, i), channels);
  const slope = dweight.map((sum) => (sum * channels.number) / x.length);
  const dx = each(x.length, (i) => {
    const c = at(channels.of, i);
    const residual = at(apart, i) - at(xHat, i) * at(slope, c);
    return parameterOf(weight, c, 1) * at(scale, c) * residual;
  });
  return { dx, dweight, dbias: sumOf((i) => at(dy, i), channels) };
}

/**
 * Gradients through given statistics, which are constants.
 *
 * @param {Values} x @param {Values} dy @param {Channels} channels @param {Statistics} statistics
 * @param {Pick<Parameters, "weight" | "eps">} parameters @returns {Gradients}
 */
export function backwardConstant(x, dy, channels, statistics, { weight, eps }) {
  const scale = inverseStd(statistics, eps);
  const xHat = normalized(x, channels, statistics, eps);
  const dx = each(x.length, (i) => {
    const c = at(channels.of, i);
    return parameterOf(weight, c, 1) * at(scale, c) * at(dy, i);
  });
  const dweight = sumOf((i) => at(dy, i) * at(xHat, i), channels);
  return { dx, dweight, dbias: sumOf((i) => at(dy, i), channels) };
}

/**
 * Running statistics after a batch of `count` values a channel: `share` is w, the weight
 * of the new ones.
 *
 * @param {Statistics} running @param {Statistics} batch
 * @param {number} count @param {number} share @param {"biased" | "unbiased"} kind
 * @returns {Statistics}
 */
export function moved(running, batch, count, share, kind) {
  const correction = kind === "unbiased" ? count / (count - 1) : 1;
  const move = (/** @type {number} */ old, /** @type {number} */ value) =>
    (1 - share) * old + share * value;
  return {
    mean: running.mean.map((old, c) => move(old, at(batch.mean, c))),
    variance: running.variance.map((old, c) => move(old, correction * at(batch.variance, c))),
  };
}
