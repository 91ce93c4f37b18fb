/**
 * Batch renormalization (Ioffe, 2017, arXiv:1702.03275) as its formulas stand, over those of batch
 * norm.
 *
 * ```text
 * r = clip(σ_B/σ, rMin, rMax)     d = clip((μ_B − μ)/σ, −dMax, dMax)     σ = √(σ² + ε)
 * y = γ·(r·x̂ + d) + β             of which r and d are constants
 * dγ = Σdy·(r·x̂ + d)
 * ```
 */
import { parameterOf } from "./channels.mjs";
import { at, each } from "./sums.mjs";

/** @typedef {import("./batch.mjs").Statistics} Statistics */
/** @typedef {import("./batch.mjs").Parameters} Parameters */

/** @typedef {{ rMin: number, rMax: number, dMax: number }} Limits */
/** @typedef {{ r: Float64Array, d: Float64Array }} Corrections */

/**
 * @param {Statistics} batch @param {Statistics} running @param {Limits} limits @param {number} eps
 * @returns {Corrections}
 */
export function corrections(batch, running, { rMin, rMax, dMax }, eps) {
  const std = (/** @type {Float64Array} */ variance, /** @type {number} */ c) =>
    Math.sqrt(at(variance, c) + eps);
  const number = batch.mean.length;
  const clip = (
    /** @type {number} */ value,
    /** @type {number} */ low,
    /** @type {number} */ high,
  ) => Math.min(Math.max(value, low), high);
  return {
    r: each(number, (c) => clip(std(batch.variance, c) / std(running.variance, c), rMin, rMax)),
    d: each(number, (c) => {
      const off = at(batch.mean, c) - at(running.mean, c);
      return clip(off / std(running.variance, c), -dMax, dMax);
    }),
  };
}

/**
 * The parameters with which batch norm gives the same: γ·r and β + γ·d.
 *
 * @param {Parameters} parameters @param {Corrections} corrections @returns {Parameters}
 */
export function corrected({ weight, bias, eps }, { r, d }) {
  const gamma = (/** @type {number} */ c) => parameterOf(weight, c, 1);
  return {
    weight: each(r.length, (c) => gamma(c) * at(r, c)),
    bias: each(r.length, (c) => parameterOf(bias, c, 0) + gamma(c) * at(d, c)),
    eps,
  };
}
