/**
 * The truth that contestants are held to: float64 arithmetic on the float32 inputs.
 *
 * The error of an output array is its largest |output − truth|, over the largest
 * |truth| of that array. One figure then serves y and gradients alike, and an element
 * that happens to be near 0 doesn't make it large; `npm run bench:accuracy` is where
 * accuracy is looked at closely.
 */
import { extents } from "./data.mjs";

/**
 * @typedef {import("./contestant.d.ts").Cell} Cell
 * @typedef {import("./contestant.d.ts").Data} Data
 * @typedef {import("./contestant.d.ts").Outputs} Outputs
 * @typedef {{ mean: Float64Array, variance: Float64Array }} Statistics
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

/**
 * True outputs, each made when it is first needed: the operations on one tensor share
 * them. Values lie channel by channel, of the channels that are compared.
 *
 * @param {Pick<Cell, "shape" | "axis">} cell @param {Data} data
 * @param {number} [mostElements] of larger tensors some channels are compared, the first
 *   and the last among them
 */
export function makeReference(cell, data, mostElements = MOST_ELEMENTS) {
  const chosen = chooseChannels(extents(cell), mostElements);
  const gather = (/** @type {Float32Array} */ values) => gatherChannels(cell, chosen, values);
  const pick = (/** @type {Float32Array} */ vector) =>
    Float64Array.from(chosen, (c) => at(vector, c));
  const [weight, bias] = [pick(data.weight), pick(data.bias)];

  const x = once(() => gather(data.x));
  const batch = once(() => statistics(x(), chosen.length));
  const inference = once(() => {
    const running = { mean: pick(data.mean), variance: pick(data.variance) };
    return { y: forward(x(), running, weight, bias, data.eps) };
  });
  const training = once(() => ({ y: forward(x(), batch(), weight, bias, data.eps), ...batch() }));
  const gradients = once(() => backward(x(), gather(data.dy), batch(), weight, data.eps));

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
      for (const name of REQUIRED[op]) {
        if (!outputs[name]) throw new Error(`the contestant gave no ${name}`);
      }
      let worst = { error: 0, array: "" };
      for (const [array, truth] of Object.entries(truthOf(op))) {
        const output = outputs[/** @type {keyof Outputs} */ (array)];
        if (!output) continue;
        const isVector = truth.length === chosen.length && output.length === data.weight.length;
        const error = relativeError(isVector ? pick(output) : gather(output), truth);
        if (!(error <= worst.error)) worst = { error, array };
        if (Number.isNaN(error)) break;
      }
      return worst;
    },
  };
}

/** @param {ReturnType<typeof extents>} extents @param {number} mostElements */
function chooseChannels({ channels, size }, mostElements) {
  const number = Math.min(channels, Math.max(2, Math.floor(mostElements / (size / channels))));
  const step = number === 1 ? 0 : (channels - 1) / (number - 1);
  return Int32Array.from({ length: number }, (_, k) => Math.round(k * step));
}

/**
 * The values of some channels, channel by channel.
 *
 * @param {Pick<Cell, "shape" | "axis">} cell
 * @param {Int32Array} chosen @param {Float32Array} values
 */
function gatherChannels(cell, chosen, values) {
  const { outer, channels, inner, size } = extents(cell);
  if (values.length !== size) throw new Error(`got ${values.length} elements instead of ${size}`);
  const gathered = new Float32Array(chosen.length * outer * inner);
  let to = 0;
  for (const c of chosen) {
    for (let o = 0; o < outer; o++) {
      const start = (o * channels + c) * inner;
      for (let i = start; i < start + inner; i++) gathered[to++] = at(values, i);
    }
  }
  return gathered;
}

/**
 * Mean and biased variance of each channel, in two passes.
 *
 * @param {Float32Array} x channel by channel @param {number} channels
 * @returns {Statistics}
 */
export function statistics(x, channels) {
  const count = x.length / channels;
  const [mean, variance] = [new Float64Array(channels), new Float64Array(channels)];
  for (let c = 0; c < channels; c++) {
    const [start, end] = [c * count, (c + 1) * count];
    let sum = 0;
    for (let i = start; i < end; i++) sum += at(x, i);
    const center = sum / count;
    let squares = 0;
    for (let i = start; i < end; i++) squares += (at(x, i) - center) ** 2;
    mean[c] = center;
    variance[c] = squares / count;
  }
  return { mean, variance };
}

/**
 * y = γ·(x − μ)/√(σ² + ε) + β.
 *
 * @param {Float32Array} x channel by channel @param {Statistics} statistics
 * @param {Float64Array} weight @param {Float64Array} bias @param {number} eps
 */
export function forward(x, { mean, variance }, weight, bias, eps) {
  const count = x.length / mean.length;
  const y = new Float64Array(x.length);
  for (let c = 0; c < mean.length; c++) {
    const center = at(mean, c);
    const scale = at(weight, c) / Math.sqrt(at(variance, c) + eps);
    const shift = at(bias, c);
    for (let i = c * count; i < (c + 1) * count; i++) y[i] = (at(x, i) - center) * scale + shift;
  }
  return y;
}

/**
 * dβ = Σdy, dγ = Σdy·x̂, dx = γ/√(σ² + ε)·(dy − dβ/n − x̂·dγ/n).
 *
 * @param {Float32Array} x channel by channel @param {Float32Array} dy
 * @param {Statistics} statistics @param {Float64Array} weight @param {number} eps
 */
export function backward(x, dy, { mean, variance }, weight, eps) {
  const channels = mean.length;
  const count = x.length / channels;
  const dx = new Float64Array(x.length);
  const [dweight, dbias] = [new Float64Array(channels), new Float64Array(channels)];
  for (let c = 0; c < channels; c++) {
    const [start, end] = [c * count, (c + 1) * count];
    const center = at(mean, c);
    const inverseStd = 1 / Math.sqrt(at(variance, c) + eps);
    let [sum, products] = [0, 0];
    for (let i = start; i < end; i++) {
      sum += at(dy, i);
      products += at(dy, i) * (at(x, i) - center) * inverseStd;
    }
    for (let i = start; i < end; i++) {
      const normalized = (at(x, i) - center) * inverseStd;
      const rest = (sum + normalized * products) / count;
      dx[i] = at(weight, c) * inverseStd * (at(dy, i) - rest);
    }
    dweight[c] = products;
    dbias[c] = sum;
  }
  return { dx, dweight, dbias };
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

/** @template T @param {() => T} make @returns {() => T} */
function once(make) {
  /** @type {{ value: T } | undefined} */
  let made;
  return () => {
    made ??= { value: make() };
    return made.value;
  };
}
