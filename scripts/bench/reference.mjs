/**
 * How far contestants are from the truth, which is that of the tests.
 *
 * The error of an output array is its largest |output − truth|, over the largest
 * |truth| of that array. One figure then serves y and gradients alike, and an element
 * that happens to be near 0 doesn't make it large; `npm run bench:accuracy` is where
 * accuracy is looked at closely.
 */
import { channelsOf, forward } from "../../test/reference/batch.mjs";
import * as group from "../../test/reference/group.mjs";
import * as rows from "../../test/reference/layer.mjs";
import { extents } from "./data.mjs";
import { once } from "./once.mjs";
import { truthOfVariant } from "./variant-truths.mjs";

/**
 * @typedef {import("./contestant.d.ts").Cell} Cell
 * @typedef {import("./contestant.d.ts").Data} Data
 * @typedef {import("./contestant.d.ts").Outputs} Outputs
 * @typedef {Pick<ReturnType<typeof extents>, "outer" | "channels" | "inner">} Extents
 */

/** Above this a contestant is wrong, not merely imprecise: float32 sums of 10⁶ stay below. */
export const WRONG = 1e-4;

/** More would take longer to compare than to time, and gigabytes. */
const MOST_ELEMENTS = 2 ** 23;

/** The arrays that an operation must give. @type {Record<Cell["op"], (keyof Outputs)[]>} */
const REQUIRED = {
  inference: ["y"],
  "inference-in-place": ["y"],
  training: ["y"],
  backward: ["dx", "dweight", "dbias"],
  "forward-backward": ["y", "dx", "dweight", "dbias"],
};

/** @param {Cell["op"]} op @param {Pick<Cell, "variant">} cell */
function requiredOf(op, { variant }) {
  const isOfResidual = variant === "residual-relu" && op.endsWith("backward");
  return isOfResidual ? [...REQUIRED[op], /** @type {const} */ ("dresidual")] : REQUIRED[op];
}

/**
 * True outputs, each made when it is first needed: the operations on one tensor share
 * them. They hold the channels that are compared, in the order of the tensor.
 *
 * @param {Pick<Cell, "shape" | "axis" | "norm" | "groups" | "variant">} cell @param {Data} data
 * @param {number} [mostElements] of larger tensors some channels are compared, the first
 *   and the last among them; of norms within samples, some of these
 */
export function makeReference(cell, data, mostElements = MOST_ELEMENTS) {
  return cell.norm === undefined || cell.norm === "batch"
    ? referenceOfBatch(cell, data, mostElements)
    : referenceOfSets(cell, data, mostElements / 4);
}

/** @param {Pick<Cell, "shape" | "axis" | "variant">} cell @param {Data} data @param {number} mostElements */
function referenceOfBatch(cell, data, mostElements) {
  const all = extents(cell);
  const chosen = chooseChannels(all, mostElements);
  const some = once(() => channelsOf([all.outer, chosen.length, all.inner], 1));
  const gather = (/** @type {Float32Array} */ values) => gatherChannels(all, chosen, values);
  const pick = (/** @type {Float32Array} */ vector) =>
    Float64Array.from(chosen, (c) => at(vector, c));
  const parameters = { weight: pick(data.weight), bias: pick(data.bias), eps: data.eps };

  const x = once(() => gather(data.x));
  const running = { mean: pick(data.mean), variance: pick(data.variance) };
  const truth = once(() =>
    truthOfVariant(cell, {
      shape: [all.outer, chosen.length, all.inner],
      ...{ x: x(), channels: some(), parameters, running },
      mask: () => /** @type {Float32Array} */ (data.mask),
      residual: () => gather(/** @type {Float32Array} */ (data.residual)),
    }),
  );
  const inference = once(() => ({
    y: truth().activate(forward(x(), some(), running, parameters)),
  }));
  const training = once(() => truth().training());
  const gradients = once(() => truth().gradients(gather(data.dy)));

  /** @param {Cell["op"]} op @returns {{ [array: string]: Float64Array }} */
  function truthOf(op) {
    if (op === "inference" || op === "inference-in-place") return inference();
    if (op === "training") return training();
    return op === "backward" ? gradients() : { ...training(), ...gradients() };
  }

  return {
    /**
     * The largest error of the arrays, and which array has it; NaN where an output is.
     *
     * @param {Cell["op"]} op @param {Outputs} outputs
     */
    compare(op, outputs) {
      for (const name of requiredOf(op, cell)) {
        if (!outputs[name]) throw new Error(`the contestant gave no ${name}`);
      }
      let worst = { error: 0, array: "" };
      for (const [array, truth] of Object.entries(truthOf(op))) {
        const output = outputs[/** @type {keyof Outputs} */ (array)];
        if (!output) continue;
        const isVector = VECTORS.includes(array);
        const error = relativeError(isVector ? pick(output) : gather(output), truth);
        if (!(error <= worst.error)) worst = { error, array };
        if (Number.isNaN(error)) break;
      }
      return worst;
    },
  };
}

/**
 * Of the norms whose statistics are of one sample or row. Gradients of γ and β are compared where
 * all samples are.
 *
 * @param {Pick<Cell, "shape" | "axis" | "norm" | "groups">} cell @param {Data} data
 * @param {number} mostElements
 */
function referenceOfSets({ shape, axis, norm, groups = 0 }, data, mostElements) {
  const [samples = 0, ...others] = shape;
  const size = others.reduce((a, b) => a * b, 1);
  const some = Math.min(samples, Math.max(1, Math.floor(mostElements / size)));
  const first = (/** @type {Float32Array} */ values) => values.subarray(0, some * size);
  const part = [some, ...others];
  const isOfRows = norm !== "group";
  const { weight, eps } = data;
  const bias = norm === "rms" ? null : data.bias;
  const [x, parameters] = [first(data.x), { weight, bias, eps }];
  const sets = once(() =>
    isOfRows ? rows.rowsOf(part, [axis]) : group.groupsOf(part, axis, groups),
  );
  const ofRows = norm === "rms" ? rows.rms : rows.layer;
  const of = /** @type {any} */ (isOfRows ? ofRows : group);
  const y = once(() => of.forward(x, sets(), parameters));
  const gradients = once(() => of.backward(x, first(data.dy), sets(), parameters));
  return {
    /** @param {Cell["op"]} op @param {Outputs} outputs */
    compare(op, outputs) {
      const { dx, dweight, dbias } = op === "backward" ? gradients() : {};
      const whole = some === samples;
      const all =
        op === "training"
          ? { y: y() }
          : { dx, ...(whole ? { dweight } : {}), ...(whole && bias ? { dbias } : {}) };
      let worst = { error: 0, array: "" };
      for (const [array, truth] of Object.entries(all)) {
        const output = outputs[/** @type {keyof Outputs} */ (array)];
        if (!output) throw new Error(`the contestant gave no ${array}`);
        const isVector = VECTORS.includes(array);
        if (output.length !== (isVector ? weight.length : samples * size)) {
          throw new Error(`${array} has ${output.length} elements`);
        }
        const error = relativeError(isVector ? output : first(output), truth);
        if (!(error <= worst.error)) worst = { error, array };
        if (Number.isNaN(error)) break;
      }
      return worst;
    },
  };
}

/** One value a channel. */
const VECTORS = ["mean", "variance", "dweight", "dbias"];

/** @param {Extents} extents @param {number} mostElements */
function chooseChannels({ outer, channels, inner }, mostElements) {
  const number = Math.min(channels, Math.max(2, Math.floor(mostElements / (outer * inner))));
  const step = number === 1 ? 0 : (channels - 1) / (number - 1);
  return Int32Array.from({ length: number }, (_, k) => Math.round(k * step));
}

/**
 * The values of some channels, all others left out.
 *
 * @param {Extents} extents @param {Int32Array} chosen @param {Float32Array} values
 */
function gatherChannels({ outer, channels, inner }, chosen, values) {
  const size = outer * channels * inner;
  if (values.length !== size) throw new Error(`got ${values.length} elements instead of ${size}`);
  if (chosen.length === channels) return values;
  const gathered = new Float32Array(outer * chosen.length * inner);
  let to = 0;
  for (let o = 0; o < outer; o++) {
    for (const c of chosen) {
      const start = (o * channels + c) * inner;
      for (let i = start; i < start + inner; i++) gathered[to++] = at(values, i);
    }
  }
  return gathered;
}

/** @param {ArrayLike<number>} output @param {Float64Array} truth */
function relativeError(output, truth) {
  let [worst, largest] = [0, 0];
  for (let i = 0; i < truth.length; i++) {
    const difference = Math.abs(at(output, i) - at(truth, i));
    // Negated, so that NaN counts as the worst.
    if (!(difference <= worst)) worst = difference;
    if (Number.isNaN(worst)) return worst;
    largest = Math.max(largest, Math.abs(at(truth, i)));
  }
  return worst === 0 ? 0 : worst / largest;
}

/** @param {ArrayLike<number>} values @param {number} i */
function at(values, i) {
  return /** @type {number} */ (values[i]);
}
