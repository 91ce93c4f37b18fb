/** What the two JavaScript loops share: arrays, made once, and which loops run for an operation. */
import { extents } from "../data.mjs";
import { timed } from "./timed.mjs";

/**
 * A tensor as [outer, channels, inner] and one value a channel of each vector.
 *
 * @typedef {ReturnType<typeof extents> & {
 *   x: Float32Array, y: Float32Array, dy: Float32Array, dx: Float32Array,
 *   weight: Float32Array, bias: Float32Array, eps: number,
 *   mean: Float32Array | Float64Array, variance: Float32Array | Float64Array,
 *   dweight: Float64Array, dbias: Float64Array,
 * }} Arrays
 */

/**
 * @typedef {object} Loops
 * @property {(arrays: Arrays) => void} statistics writes mean and variance
 * @property {(arrays: Arrays) => void} normalize x to y by mean and variance
 * @property {(arrays: Arrays) => void} backward writes dx, dweight and dbias
 */

/**
 * @param {string} name @param {(cell: import("../contestant.d.ts").Cell) => Loops} loopsOf
 * @returns {import("../contestant.d.ts").Contestant}
 */
export function loopContestant(name, loopsOf) {
  return {
    name,
    kind: "javascript",
    async start() {
      return {
        version: "",
        refuses: () => undefined,
        prepare: async (cell, data) => prepare(loopsOf(cell), cell, data),
      };
    },
  };
}

const NONE = new Float32Array(0);

/**
 * @param {Loops} loops
 * @param {import("../contestant.d.ts").Cell} cell
 * @param {import("../contestant.d.ts").Data} data
 * @returns {import("../contestant.d.ts").Prepared}
 */
function prepare({ statistics, normalize, backward }, cell, data) {
  const { op } = cell;
  const all = extents(cell);
  const needsGradients = op.endsWith("backward");
  const ofBatch = needsGradients || op === "training";
  const x = op === "inference-in-place" ? data.x.slice() : data.x;
  /** @type {Arrays} */
  const arrays = {
    ...all,
    x,
    y: op === "inference-in-place" ? x : op === "backward" ? NONE : new Float32Array(all.size),
    dy: needsGradients ? data.dy : NONE,
    dx: needsGradients ? new Float32Array(all.size) : NONE,
    weight: data.weight,
    bias: data.bias,
    eps: data.eps,
    mean: ofBatch ? new Float64Array(all.channels) : data.mean,
    variance: ofBatch ? new Float64Array(all.channels) : data.variance,
    dweight: new Float64Array(all.channels),
    dbias: new Float64Array(all.channels),
  };
  if (op === "backward") statistics(arrays);
  const steps = {
    inference: [normalize],
    "inference-in-place": [normalize],
    training: [statistics, normalize],
    backward: [backward],
    "forward-backward": [statistics, normalize, backward],
  }[op];
  const { y, dx, dweight, dbias, mean, variance } = arrays;
  return {
    run: timed(() => {
      for (const step of steps) step(arrays);
    }),
    outputs: async () => ({
      ...(op === "backward" ? {} : { y }),
      ...(op === "training"
        ? { mean: Float32Array.from(mean), variance: Float32Array.from(variance) }
        : {}),
      ...(needsGradients
        ? { dx, dweight: Float32Array.from(dweight), dbias: Float32Array.from(dbias) }
        : {}),
    }),
    dispose() {},
  };
}
