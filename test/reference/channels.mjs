/** Channels of a tensor, and one value for each of them. */
import { at } from "./sums.mjs";

/** @typedef {import("./sums.mjs").Values} Values */
/** @typedef {import("./sums.mjs").Sets} Channels */

/**
 * The channels of a shape along `axis`, negative from the end.
 *
 * @param {readonly number[]} shape @param {number} axis @returns {Channels}
 */
export function channelsOf(shape, axis) {
  const product = (/** @type {readonly number[]} */ sizes) => sizes.reduce((a, b) => a * b, 1);
  const along = axis < 0 ? axis + shape.length : axis;
  const [number, inner] = [at(shape, along), product(shape.slice(along + 1))];
  const of = new Int32Array(product(shape));
  for (let i = 0; i < of.length; i++) of[i] = Math.floor(i / inner) % number;
  return { number, of };
}

/**
 * A parameter's value for channel c.
 *
 * @param {Values | null | undefined} parameter @param {number} c @param {number} absent
 */
export function parameterOf(parameter, c, absent) {
  return parameter ? at(parameter, c) : absent;
}
