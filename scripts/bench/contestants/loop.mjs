/** What the JavaScript loops share: arrays, made once, and which loops run for an operation. */
import { ACTIVATED, VARIANTS } from "../cells.mjs";
import { extents } from "../data.mjs";
import { timed } from "./timed.mjs";

/**
 * A tensor as [outer, channels, inner] and one value a channel of each vector.
 *
 * @typedef {ReturnType<typeof extents> & {
 *   x: Float32Array, y: Float32Array, dy: Float32Array, dx: Float32Array,
 *   weight: Float32Array, bias: Float32Array, eps: number,
 *   mean: Float32Array | Float64Array, variance: Float32Array | Float64Array,
 *   dweight: Float64Array, dbias: Float64Array, dresidual: Float32Array,
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
 * @param {(cell: import("../contestant.d.ts").Cell, data: import("../contestant.d.ts").Data, loops: Loops) => Loops} [varied]
 *   the same of a variant; without it, it is asked for none
 * @returns {import("../contestant.d.ts").Contestant}
 */
export function loopContestant(name, loopsOf, varied) {
  return {
    name,
    kind: "javascript",
    variants: varied ? VARIANTS : [],
    async start() {
      return {
        version: "",
        refuses: () => undefined,
        async prepare(cell, data) {
          const loops = loopsOf(cell);
          return prepare(cell.variant && varied ? varied(cell, data, loops) : loops, cell, data);
        },
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
  const isActivated = cell.variant !== undefined && ACTIVATED.includes(cell.variant);
  const hasY = op !== "backward" || isActivated;
  /** @type {Arrays} */
  const arrays = {
    ...all,
    x,
    y: op === "inference-in-place" ? x : hasY ? new Float32Array(all.size) : NONE,
    dy: needsGradients ? data.dy : NONE,
    dx: needsGradients ? new Float32Array(all.size) : NONE,
    weight: data.weight,
    bias: data.bias,
    eps: data.eps,
    mean: ofBatch ? new Float64Array(all.channels) : data.mean,
    variance: ofBatch ? new Float64Array(all.channels) : data.variance,
    dweight: new Float64Array(all.channels),
    dbias: new Float64Array(all.channels),
    dresidual:
      needsGradients && cell.variant === "residual-relu" ? new Float32Array(all.size) : NONE,
  };
  if (op === "backward") {
    statistics(arrays);
    // An activation's gradient needs y.
    if (isActivated) normalize(arrays);
  }
  const steps = {
    inference: [normalize],
    "inference-in-place": [normalize],
    training: [statistics, normalize],
    backward: [backward],
    "forward-backward": [statistics, normalize, backward],
  }[op];
  const { y, dx, dweight, dbias, dresidual, mean, variance } = arrays;
  return {
    run: timed(() => {
      for (const step of steps) step(arrays);
    }),
    outputs: async () => ({
      ...(op === "backward" ? {} : { y }),
      ...(op === "training" && !cell.variant
        ? { mean: Float32Array.from(mean), variance: Float32Array.from(variance) }
        : {}),
      ...(needsGradients
        ? { dx, dweight: Float32Array.from(dweight), dbias: Float32Array.from(dbias), dresidual }
        : {}),
    }),
    dispose() {},
  };
}
