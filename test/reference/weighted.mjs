/**
 * Batch norm whose statistics count positions by their weights, as its formulas stand: float64 on
 * float32 inputs, one element at a time.
 *
 * ```text
 * W = Σw       μ = Σwx/W     σ² = Σw(x − μ)²/W      over a channel's elements with w > 0
 * x̂ = (x − μ)/√(σ² + ε)      y = γ·x̂ + β            of all elements
 *
 * dβ = Σdy     dγ = Σdy·x̂                            over all elements
 * dx = γ/√(σ² + ε)·(dy − w/W·(dβ + x̂·dγ))
 *
 * running ← (1 − share)·running + share·batch, its variance times W/(W − 1) where W > 1, or as it is
 * ```
 */
import * as batch from "./batch.mjs";
import { channelsOf, parameterOf } from "./channels.mjs";
import { at, deviationsOf, each, sumOf } from "./sums.mjs";

/** @typedef {import("./sums.mjs").Values} Values */

/**
 * The channels, the weight of each element, and W.
 *
 * @typedef {object} Weighted
 * @property {import("./sums.mjs").Sets} channels
 * @property {Float64Array} weights
 * @property {number} total
 */

/**
 * Weights over a shape without its channel axis, of a shape that broadcasts to it as NumPy has it.
 *
 * @param {readonly number[]} shape @param {number} axis
 * @param {Values} weights @param {readonly number[]} [over] their shape
 * @returns {Weighted}
 */
export function weighted(shape, axis, weights, over) {
  const channels = channelsOf(shape, axis);
  const along = axis < 0 ? axis + shape.length : axis;
  const positions = shape.filter((_, i) => i !== along);
  const given = over ?? positions;
  const all = each(channels.of.length, (element) => {
    // The index of the element, axis by axis, from the last one on.
    const index = [...shape];
    let rest = element;
    for (let i = shape.length - 1; i >= 0; i--) {
      index[i] = rest % at(shape, i);
      rest = Math.floor(rest / at(shape, i));
    }
    index.splice(along, 1);
    let place = 0;
    for (let i = 0; i < given.length; i++) {
      const size = at(given, i);
      const own = size === 1 ? 0 : at(index, positions.length - given.length + i);
      place = place * size + own;
    }
    return at(weights, place);
  });
  const total = at(
    sumOf((i) => at(all, i), channels),
    0,
  );
  return { channels, weights: all, total };
}

/**
 * μ and σ² of each channel.
 *
 * @param {Values} x @param {Weighted} weighted @returns {Required<batch.Statistics>}
 */
export function statistics(x, { channels, weights, total }) {
  const over = (/** @type {(i: number) => number} */ value) =>
    sumOf((i) => (at(weights, i) > 0 ? at(weights, i) * value(i) : 0), channels).map(
      (sum) => sum / total,
    );
  // In two parts, as `centerOf` has it.
  const rounded = over((i) => at(x, i));
  const off = over((i) => at(x, i) - at(rounded, at(channels.of, i)));
  const mean = rounded.map((value, c) => value + at(off, c));
  const low = mean.map((value, c) => at(rounded, c) - value + at(off, c));
  const deviations = deviationsOf(x, channels, { mean, low });
  return { mean, low, variance: over((i) => at(deviations, i) ** 2) };
}

/**
 * y by the weighted statistics.
 *
 * @param {Values} x @param {Weighted} weighted @param {batch.Parameters} parameters
 */
export function forward(x, weighted, parameters) {
  return batch.forward(x, weighted.channels, statistics(x, weighted), parameters);
}

/**
 * Gradients through the weighted statistics.
 *
 * @param {Values} x @param {Values} dy @param {Weighted} weighted
 * @param {Pick<batch.Parameters, "weight" | "eps">} parameters @returns {batch.Gradients}
 */
export function backward(x, dy, weighted, { weight, eps }) {
  const { channels, weights, total } = weighted;
  const own = statistics(x, weighted);
  const scale = batch.inverseStd(own, eps);
  const xHat = batch.normalized(x, channels, own, eps);
  const dweight = sumOf((i) => at(dy, i) * at(xHat, i), channels);
  const dbias = sumOf((i) => at(dy, i), channels);
  const dx = each(x.length, (i) => {
    const c = at(channels.of, i);
    const through = (at(weights, i) / total) * (at(dbias, c) + at(xHat, i) * at(dweight, c));
    return parameterOf(weight, c, 1) * at(scale, c) * (at(dy, i) - through);
  });
  return { dx, dweight, dbias };
}

/**
 * Running statistics after a batch; `share` is the weight of the new ones.
 *
 * @param {batch.Statistics} running @param {batch.Statistics} own
 * @param {Weighted} weighted @param {number} share @param {"biased" | "unbiased"} kind
 */
export function moved(running, own, { total }, share, kind) {
  return batch.moved(running, own, total, share, total > 1 ? kind : "biased");
}
