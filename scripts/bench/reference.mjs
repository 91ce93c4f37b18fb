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
 * @typedef {Pick<ReturnType<typeof extents>, "outer" | "channels" | "inner">} Extents
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
 * them. They hold the channels that are compared, in the order of the tensor.
 *
 * @param {Pick<Cell, "shape" | "axis">} cell @param {Data} data
 * @param {number} [mostElements] of larger tensors some channels are compared, the first
 *   and the last among them
 */
export function makeReference(cell, data, mostElements = MOST_ELEMENTS) {
  const all = extents(cell);
  const chosen = chooseChannels(all, mostElements);
  const { outer, inner } = all;
  const some = { outer, channels: chosen.length, inner };
  const gather = (/** @type {Float32Array} */ values) => gatherChannels(all, chosen, values);
  const pick = (/** @type {Float32Array} */ vector) =>
    Float64Array.from(chosen, (c) => at(vector, c));
  const [weight, bias] = [pick(data.weight), pick(data.bias)];

  const x = once(() => gather(data.x));
  const batch = once(() => statistics(x(), some));
  const inference = once(() => {
    const running = { mean: pick(data.mean), variance: pick(data.variance) };
    return { y: forward(x(), some, running, weight, bias, data.eps) };
  });
  const training = once(() => ({
    y: forward(x(), some, batch(), weight, bias, data.eps),
    ...batch(),
  }));
  const gradients = once(() => backward(x(), gather(data.dy), some, batch(), weight, data.eps));

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
        const isVector = VECTORS.includes(array);
        const error = relativeError(isVector ? pick(output) : gather(output), truth);
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

/**
 * Every stretch of one channel's elements, in the order of the tensor.
 *
 * @param {Extents} extents @param {(c: number, start: number, end: number) => void} visit
 */
function eachRun({ outer, channels, inner }, visit) {
  let start = 0;
  for (let o = 0; o < outer; o++) {
    for (let c = 0; c < channels; c++) {
      visit(c, start, start + inner);
      start += inner;
    }
  }
}

/**
 * Mean and biased variance of each channel, in two passes.
 *
 * @param {Float32Array} x @param {Extents} extents @returns {Statistics}
 */
function statistics(x, extents) {
  const count = extents.outer * extents.inner;
  const sums = new Float64Array(extents.channels);
  eachRun(extents, (c, start, end) => {
    let sum = at(sums, c);
    for (let i = start; i < end; i++) sum += at(x, i);
    sums[c] = sum;
  });
  const mean = sums.map((sum) => sum / count);
  const squares = new Float64Array(extents.channels);
  eachRun(extents, (c, start, end) => {
    const center = at(mean, c);
    let sum = at(squares, c);
    for (let i = start; i < end; i++) sum += (at(x, i) - center) ** 2;
    squares[c] = sum;
  });
  return { mean, variance: squares.map((sum) => sum / count) };
}

/**
 * y = γ·(x − μ)/√(σ² + ε) + β.
 *
 * @param {Float32Array} x @param {Extents} extents @param {Statistics} statistics
 * @param {Float64Array} weight @param {Float64Array} bias @param {number} eps
 */
function forward(x, extents, { mean, variance }, weight, bias, eps) {
  const scales = variance.map((value, c) => at(weight, c) / Math.sqrt(value + eps));
  const y = new Float64Array(x.length);
  eachRun(extents, (c, start, end) => {
    const [center, scale, shift] = [at(mean, c), at(scales, c), at(bias, c)];
    for (let i = start; i < end; i++) y[i] = (at(x, i) - center) * scale + shift;
  });
  return y;
}

/**
 * dβ = Σdy, dγ = Σdy·x̂, dx = γ/√(σ² + ε)·(dy − dβ/n − x̂·dγ/n).
 *
 * @param {Float32Array} x @param {Float32Array} dy @param {Extents} extents
 * @param {Statistics} statistics @param {Float64Array} weight @param {number} eps
 */
function backward(x, dy, extents, { mean, variance }, weight, eps) {
  const count = extents.outer * extents.inner;
  const inverseStd = variance.map((value) => 1 / Math.sqrt(value + eps));
  const dbias = new Float64Array(extents.channels);
  const dweight = new Float64Array(extents.channels);
  eachRun(extents, (c, start, end) => {
    const [center, scale] = [at(mean, c), at(inverseStd, c)];
    let [sum, products] = [at(dbias, c), at(dweight, c)];
    for (let i = start; i < end; i++) {
      sum += at(dy, i);
      products += at(dy, i) * (at(x, i) - center) * scale;
    }
    dbias[c] = sum;
    dweight[c] = products;
  });
  const dx = new Float64Array(x.length);
  eachRun(extents, (c, start, end) => {
    const [center, scale, gamma] = [at(mean, c), at(inverseStd, c), at(weight, c)];
    const [sum, products] = [at(dbias, c) / count, at(dweight, c) / count];
    for (let i = start; i < end; i++) {
      dx[i] = gamma * scale * (at(dy, i) - sum - (at(x, i) - center) * scale * products);
    }
  });
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
