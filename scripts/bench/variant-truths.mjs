/** The truth of batch norm and its variants, over a tensor as [outer, channels, inner]. */
import { activated, gated } from "../../test/reference/activation.mjs";
import { backward, channelsOf, forward, statistics } from "../../test/reference/batch.mjs";
import * as renorm from "../../test/reference/renorm.mjs";
import { at, each } from "../../test/reference/sums.mjs";
import * as weighted from "../../test/reference/weighted.mjs";
import { ACTIVATED, RENORM, virtualBatchSizeOf } from "./cells.mjs";
import { once } from "./once.mjs";

/**
 * @typedef {import("../../test/reference/sums.mjs").Sets} Channels
 * @typedef {import("../../test/reference/batch.mjs").Parameters} Parameters
 * @typedef {import("../../test/reference/batch.mjs").Statistics} Statistics
 * @typedef {import("../../test/reference/batch.mjs").Gradients} Gradients
 */

/**
 * @typedef {object} Problem
 * @property {number[]} shape [outer, channels, inner]
 * @property {Float32Array} x
 * @property {Channels} channels
 * @property {Parameters} parameters
 * @property {Statistics} running
 * @property {() => Float32Array} residual
 * @property {() => Float32Array} mask of [outer, inner]
 */

/**
 * What training gives, y and maybe the batch's statistics, and the gradients of a dy.
 *
 * @typedef {object} Truth
 * @property {() => { [array: string]: Float64Array }} training
 * @property {(dy: Float32Array) => { [array: string]: Float64Array }} gradients
 * @property {(norm: Float64Array) => Float64Array} activate what follows the norm
 */

/**
 * @param {Pick<import("./contestant.d.ts").Cell, "shape" | "variant">} cell
 * @param {Problem} problem @returns {Truth}
 */
export function truthOfVariant(cell, problem) {
  const isActivated = cell.variant !== undefined && ACTIVATED.includes(cell.variant);
  const norm = isActivated ? plain(problem) : normOf(cell, problem);
  if (!isActivated) return { ...norm, activate: (y) => y };
  const residual = cell.variant === "residual-relu" ? problem.residual() : null;
  const activate = (/** @type {Float64Array} */ y) => activated(y, residual, 0);
  const training = once(() => ({ y: activate(norm.training().y) }));
  return {
    activate,
    training,
    gradients(dy) {
      const dv = gated(dy, training().y, 0);
      return { ...norm.gradients(dv), ...(residual ? { dresidual: dv } : {}) };
    },
  };
}

/** @param {Pick<import("./contestant.d.ts").Cell, "shape" | "variant">} cell @param {Problem} problem */
function normOf(cell, problem) {
  switch (cell.variant) {
    case "ghost":
      // Of channels-last rows belong to a sample.
      return ghost(problem, virtualBatchSizeOf(cell) * (at(problem.shape, 0) / at(cell.shape, 0)));
    case "renorm":
      return renormed(problem);
    case "mask":
      return masked(problem);
    default:
      return plain(problem);
  }
}

/** @typedef {ArrayLike<number>} Values */

/** @param {Problem} problem */
function plain({ x, channels, parameters }) {
  const batch = once(() => statistics(x, channels));
  return {
    training: () => {
      const { mean, variance } = batch();
      return { y: forward(x, channels, batch(), parameters), mean, variance };
    },
    gradients: (/** @type {Values} */ dy) => ({
      ...backward(x, dy, channels, parameters, batch()),
    }),
  };
}

/**
 * Slices by themselves, whose gradients of γ and β are added.
 *
 * @param {Problem} problem @param {number} size of a slice, along the first axis
 */
function ghost({ x, shape, parameters }, size) {
  const [outer = 0, ...others] = shape;
  const each = x.length / outer;
  const slices = Array.from({ length: Math.ceil(outer / size) }, (_, slice) => {
    const [from, to] = [slice * size, Math.min((slice + 1) * size, outer)];
    const part = (/** @type {Values} */ values) =>
      Float64Array.from(values).subarray(from * each, to * each);
    return { part, channels: channelsOf([to - from, ...others], 1) };
  });
  const joined = (/** @type {Float64Array[]} */ parts) => {
    const whole = new Float64Array(x.length);
    let end = 0;
    for (const part of parts) {
      whole.set(part, end);
      end += part.length;
    }
    return whole;
  };
  const added = (/** @type {Float64Array[]} */ parts) =>
    parts.reduce((sum, part) => sum.map((value, c) => value + at(part, c)));
  return {
    training: () => ({
      y: joined(
        slices.map(({ part, channels }) => {
          const own = part(x);
          return forward(own, channels, statistics(own, channels), parameters);
        }),
      ),
    }),
    gradients(/** @type {Values} */ dy) {
      const all = slices.map(({ part, channels }) =>
        backward(part(x), part(dy), channels, parameters),
      );
      return {
        dx: joined(all.map(({ dx }) => dx)),
        dweight: added(all.map(({ dweight }) => dweight)),
        dbias: added(all.map(({ dbias }) => dbias)),
      };
    },
  };
}

/** @param {Problem} problem */
function renormed({ x, channels, parameters, running }) {
  const batch = statistics(x, channels);
  const { r, d } = renorm.corrections(batch, running, RENORM, parameters.eps);
  const by = renorm.corrected(parameters, { r, d });
  return {
    training: () => ({ y: forward(x, channels, batch, by) }),
    gradients(/** @type {Values} */ dy) {
      const { dx, dweight: products, dbias } = backward(x, dy, channels, by, batch);
      const dweight = each(r.length, (c) => at(r, c) * at(products, c) + at(d, c) * at(dbias, c));
      return { dx, dweight, dbias };
    },
  };
}

/** @param {Problem} problem */
function masked({ x, shape, parameters, mask }) {
  const by = weighted.weighted(shape, 1, mask());
  return {
    training: () => ({ y: weighted.forward(x, by, parameters) }),
    gradients: (/** @type {Values} */ dy) => ({ ...weighted.backward(x, dy, by, parameters) }),
  };
}
