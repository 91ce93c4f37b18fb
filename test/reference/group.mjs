/**
 * Group normalization (Wu & He, 2018, arXiv:1803.08494) as its formulas stand, float64 on
 * float32 inputs; with as many groups as channels it is instance normalization.
 *
 * ```text
 * μ, σ²: of a group of channels of one sample, a set of m elements
 * x̂ = (x − μ)/√(σ² + ε)                       0 where σ² + ε = 0
 * y = γ·x̂ + β
 *
 * dβ = Σdy     dγ = Σdy·x̂                     over a channel of all samples
 * dx = (γ·dy − Σγ·dy/m − x̂·Σγ·dy·x̂/m)/√(σ² + ε)
 * ```
 */
import * as batch from "./batch.mjs";
import { channelsOf, parameterOf } from "./channels.mjs";
import { at, centerOf, deviationsOf, each, meanOf, sumOf } from "./sums.mjs";

/** @typedef {import("./sums.mjs").Values} Values */
/** @typedef {import("./sums.mjs").Sets} Sets */

/**
 * Which elements share statistics (sets: groups of each sample), and which γ and β (channels);
 * strands are the channels of each sample.
 *
 * @typedef {{ sets: Sets, strands: Sets, channels: Sets }} Groups
 */

/**
 * The groups of a shape with channels along `axis`; the first axis counts samples, unless it is
 * that.
 *
 * @param {readonly number[]} shape @param {number} axis @param {number} number of each sample
 * @returns {Groups}
 */
export function groupsOf(shape, axis, number) {
  const channels = channelsOf(shape, axis);
  const unbatched = axis === 0 || axis === -shape.length;
  const samples = unbatched ? 1 : at(shape, 0);
  const inner = channels.of.length / samples;
  const strands = channels.of.map((c, i) => Math.floor(i / inner) * channels.number + c);
  const size = channels.number / number;
  return {
    channels,
    strands: { number: samples * channels.number, of: strands },
    sets: { number: samples * number, of: strands.map((strand) => Math.floor(strand / size)) },
  };
}

/** μ and σ² of each set. @param {Values} x @param {Groups} groups */
export const statistics = (x, { sets }) => batch.statistics(x, sets);

/** @param {Values} x @param {Groups} groups @param {batch.Parameters} parameters */
export function forward(x, { sets, channels }, { weight, bias, eps }) {
  const xHat = batch.normalized(x, sets, batch.statistics(x, sets), eps);
  return each(x.length, (i) => {
    const c = at(channels.of, i);
    return at(xHat, i) * parameterOf(weight, c, 1) + parameterOf(bias, c, 0);
  });
}

/**
 * Of a loss whose gradient with respect to y is dy.
 *
 * @param {Values} x @param {Values} dy @param {Groups} groups
 * @param {Pick<batch.Parameters, "weight" | "eps">} parameters @returns {batch.Gradients}
 */
export function backward(x, dy, { sets, channels }, { weight, eps }) {
  const own = batch.statistics(x, sets);
  const scale = batch.inverseStd(own, eps);
  const xHat = batch.normalized(x, sets, own, eps);
  const weighed = each(x.length, (i) => at(dy, i) * parameterOf(weight, at(channels.of, i), 1));
  // Σx̂ = 0 of a set: what is taken from γ·dy makes no difference, and fewer roundings.
  const apart = deviationsOf(weighed, sets, centerOf(weighed, sets));
  const slope = meanOf((i) => at(apart, i) * at(xHat, i), sets);
  const dx = each(x.length, (i) => {
    const set = at(sets.of, i);
    return at(scale, set) * (at(apart, i) - at(xHat, i) * at(slope, set));
  });
  return {
    dx,
    dweight: sumOf((i) => at(dy, i) * at(xHat, i), channels),
    dbias: sumOf((i) => at(dy, i), channels),
  };
}
