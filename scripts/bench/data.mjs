/**
 * Inputs of a cell: the same values in every run and for every contestant.
 *
 * Running statistics and parameters make inference a contraction (|γ|/√(σ²+ε) from
 * 0.35 to 0.96) towards values of the size of 1, so that it can be done in place over
 * and over: nothing overflows, and nothing becomes denormal, which would be slow.
 */
import { activated } from "../../test/reference/activation.mjs";
import { channelsOf, forward, statistics } from "../../test/reference/batch.mjs";
import { Random } from "../random.mjs";
import { ACTIVATED } from "./cells.mjs";

/** Standard normal values. @param {number} length @param {number} seed */
export function normals(length, seed) {
  return new Random(seed).normals(length);
}

/** @param {number} length @param {number} from @param {number} to @param {number} seed */
function between(length, from, to, seed) {
  const random = new Random(seed);
  return Float32Array.from({ length }, () => from + (to - from) * random.uniform());
}

/**
 * A shape around its channel axis: element (o, c, i) lies at (o·channels + c)·inner + i.
 *
 * @param {Pick<import("./contestant.d.ts").Cell, "shape" | "axis">} cell
 */
export function extents({ shape, axis }) {
  const product = (/** @type {readonly number[]} */ sizes) => sizes.reduce((a, b) => a * b, 1);
  const [outer, inner] = [product(shape.slice(0, axis)), product(shape.slice(axis + 1))];
  const channels = /** @type {number} */ (shape[axis]);
  return { outer, channels, inner, size: outer * channels * inner };
}

// A gigabyte of normal values would take longer than to measure with it: primes of
// values are repeated, which no shape is in step with.
const [X_PERIOD, DY_PERIOD] = [1048573, 524287];

/**
 * Normal values with a mean and a spread of each channel's own, so that an output with
 * channels mixed up is far off.
 *
 * @param {ReturnType<typeof extents>} extents @param {number} period
 * @param {number} seed @param {number} offset
 */
function tensor({ outer, channels, inner, size }, period, seed, offset) {
  const pattern = normals(Math.min(period, size), seed);
  const means = between(channels, offset - 0.5, offset + 0.5, seed + 1);
  const spreads = between(channels, 0.5, 1.5, seed + 2);
  const values = new Float32Array(size);
  let i = 0;
  let p = 0;
  for (let o = 0; o < outer; o++) {
    for (let c = 0; c < channels; c++) {
      const mean = /** @type {number} */ (means[c]);
      const spread = /** @type {number} */ (spreads[c]);
      for (const end = i + inner; i < end; i++) {
        values[i] = mean + spread * /** @type {number} */ (pattern[p]);
        if (++p === pattern.length) p = 0;
      }
    }
  }
  return values;
}

/**
 * A gradient that goes along with x, as that of a loss does. Of one that doesn't, Σdy·x̂
 * would be what is left of large terms, and tell how a contestant rounds, not whether
 * it is right.
 *
 * @param {Float32Array} x @param {Float32Array} dy is overwritten
 */
function alongside(x, dy) {
  for (let i = 0; i < dy.length; i++) {
    dy[i] = /** @type {number} */ (dy[i]) + 0.5 * /** @type {number} */ (x[i]);
  }
  return dy;
}

/** So near to 0 rounding decides which sign a result has, and so whether its gradient is let through. */
const DOUBTFUL = 1e-4;

/**
 * No gradient where nobody can say whether an activation lets it through: a single element would
 * be off by all of it.
 *
 * @param {Pick<import("./contestant.d.ts").Cell, "shape" | "axis">} cell
 * @param {import("./contestant.d.ts").Data} data
 * @param {Float32Array | null} residual @param {Float32Array} dy is overwritten
 */
function withoutDoubt({ shape, axis }, { x, weight, bias, eps }, residual, dy) {
  const channels = channelsOf(shape, axis);
  const norm = forward(x, channels, statistics(x, channels), { weight, bias, eps });
  // A slope of 1: what the activation gets.
  const v = activated(norm, residual, 1);
  for (let i = 0; i < dy.length; i++) {
    if (Math.abs(/** @type {number} */ (v[i])) < DOUBTFUL) dy[i] = 0;
  }
  return dy;
}

/** Of three positions in four. @param {number} length @param {number} seed */
function maskOf(length, seed) {
  const random = new Random(seed);
  return Float32Array.from({ length }, () => (random.oneIn(4) ? 0 : 1));
}

/**
 * @param {Pick<import("./contestant.d.ts").Cell, "shape" | "axis" | "variant">} cell
 * @returns {Required<import("./contestant.d.ts").Data>}
 */
export function makeData(cell) {
  const all = extents(cell);
  const { channels } = all;
  const { variant } = cell;
  /** @type {Record<string, Float32Array>} */
  const made = {};
  const once = (/** @type {string} */ name, /** @type {() => Float32Array} */ make) => {
    made[name] ??= make();
    return made[name];
  };
  return {
    get x() {
      return once("x", () => tensor(all, X_PERIOD, 1, 0.5));
    },
    get dy() {
      return once("dy", () => {
        const dy = alongside(this.x, tensor(all, DY_PERIOD, 11, 0));
        if (!variant || !ACTIVATED.includes(variant)) return dy;
        return withoutDoubt(cell, this, variant === "relu" ? null : this.residual, dy);
      });
    },
    get residual() {
      return once("residual", () => tensor(all, DY_PERIOD, 61, 0));
    },
    get mask() {
      return once("mask", () => maskOf(all.outer * all.inner, 71));
    },
    weight: between(channels, 0.5, 1, 21),
    bias: between(channels, 0.1, 1, 31),
    mean: between(channels, -0.5, 0.5, 41),
    variance: between(channels, 1.1, 2, 51),
    eps: 1e-5,
  };
}
