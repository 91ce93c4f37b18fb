/**
 * Batch norm's variants by the loops of `flat-loop.mjs`: ghost batches and renorm are these loops with
 * other arrays and parameters, masks and activations have loops of their own. A gradient that an
 * activation lets through goes where it is read next: to the residual's gradient, or dx.
 */
import { RENORM, virtualBatchSizeOf } from "../cells.mjs";
import { mapOf } from "./map-of.mjs";

/**
 * @typedef {import("./loop.mjs").Arrays} Arrays
 * @typedef {import("./loop.mjs").Loops} Loops
 */

/**
 * @param {import("../contestant.d.ts").Cell} cell
 * @param {import("../contestant.d.ts").Data} data
 * @param {Loops} loops of the layout, without a variant
 * @returns {Loops}
 */
export function variedLoops(cell, data, loops) {
  const isRuns = cell.layout === "channels-first";
  switch (cell.variant) {
    case "ghost":
      return ghost(virtualBatchSizeOf(cell) / cell.shape[0], loops);
    case "renorm":
      return renorm(data, loops);
    case "mask":
      return masked(data.mask, loops, isRuns);
    case "relu":
      return activated(undefined, loops, isRuns);
    case "residual-relu":
      return activated(data.residual, loops, isRuns);
    default:
      throw new Error(`no variant ${cell.variant}`);
  }
}

/** @param {number} share of the batch that a slice is @param {Loops} loops @returns {Loops} */
function ghost(share, { statistics, normalize, backward }) {
  /** @type {Arrays[]} */
  let slices;
  const cut = (arrays) => {
    const outer = Math.round(arrays.outer * share);
    const each = outer * arrays.channels * arrays.inner;
    return Array.from({ length: Math.ceil(arrays.size / each) }, (_, slice) => {
      const part = (values) => values.subarray(slice * each, (slice + 1) * each);
      const { x, y, dy, dx, channels } = arrays;
      const own = () => new Float64Array(channels);
      return {
        ...arrays,
        ...{ x: part(x), y: part(y), dy: part(dy), dx: part(dx) },
        outer: part(x).length / (channels * arrays.inner),
        ...{ mean: own(), variance: own(), dweight: own(), dbias: own() },
      };
    });
  };
  return {
    statistics(arrays) {
      slices ??= cut(arrays);
      for (const slice of slices) statistics(slice);
    },
    normalize() {
      for (const slice of slices) normalize(slice);
    },
    backward({ dweight, dbias }) {
      dweight.fill(0);
      dbias.fill(0);
      for (const slice of slices) {
        backward(slice);
        for (let c = 0; c < dweight.length; c++) {
          dweight[c] += slice.dweight[c];
          dbias[c] += slice.dbias[c];
        }
      }
    },
  };
}

/** By γ·r and β + γ·d. @param {import("../contestant.d.ts").Data} data @param {Loops} loops @returns {Loops} */
function renorm({ mean: runningMean, variance: runningVar }, { statistics, normalize, backward }) {
  const { rMin, rMax, dMax } = RENORM;
  const [r, d, weight, bias] = [0, 0, 0, 0].map(() => new Float64Array(runningMean.length));
  return {
    statistics(arrays) {
      statistics(arrays);
      const { mean, variance, eps } = arrays;
      for (let c = 0; c < r.length; c++) {
        const std = Math.sqrt(runningVar[c] + eps);
        r[c] = Math.min(Math.max(Math.sqrt(variance[c] + eps) / std, rMin), rMax);
        d[c] = Math.min(Math.max((mean[c] - runningMean[c]) / std, -dMax), dMax);
        weight[c] = arrays.weight[c] * r[c];
        bias[c] = arrays.bias[c] + arrays.weight[c] * d[c];
      }
    },
    normalize: (arrays) => normalize({ ...arrays, weight, bias }),
    backward(arrays) {
      backward({ ...arrays, weight });
      const { dweight, dbias } = arrays;
      for (let c = 0; c < r.length; c++) dweight[c] = r[c] * dweight[c] + d[c] * dbias[c];
    },
  };
}

/** @param {Float32Array} mask @param {Loops} loops @param {boolean} isRuns @returns {Loops} */
function masked(mask, { normalize }, isRuns) {
  const total = mask.reduce((sum, weight) => sum + weight, 0);
  const statistics = isRuns ? maskedRunStatistics : maskedRowStatistics;
  const backward = isRuns ? maskedRunsBackward : maskedRowsBackward;
  return {
    statistics: (arrays) => statistics(arrays, mask, total),
    normalize,
    backward: (arrays) => backward(arrays, mask, total),
  };
}

/** @param {Arrays} arrays @param {Float32Array} mask @param {number} total */
function maskedRunStatistics({ x, mean, variance, outer, channels, inner }, mask, total) {
  for (let c = 0; c < channels; c++) {
    const shift = x[c * inner];
    let [sum, squares, position] = [0, 0, 0];
    for (let o = 0; o < outer; o++) {
      const start = (o * channels + c) * inner;
      for (let i = start; i < start + inner; i++, position++) {
        const d = x[i] - shift;
        const weighed = mask[position] * d;
        sum += weighed;
        squares += weighed * d;
      }
    }
    const rest = sum / total;
    mean[c] = shift + rest;
    variance[c] = squares / total - rest * rest;
  }
}

/** @param {Arrays} arrays @param {Float32Array} mask @param {number} total */
function maskedRunsBackward(arrays, mask, total) {
  const { x, dy, dx, weight, mean, variance, dweight, dbias, eps } = arrays;
  const { outer, channels, inner } = arrays;
  for (let c = 0; c < channels; c++) {
    const center = mean[c];
    let [sum, products] = [0, 0];
    for (let o = 0; o < outer; o++) {
      const start = (o * channels + c) * inner;
      for (let i = start; i < start + inner; i++) {
        sum += dy[i];
        products += dy[i] * (x[i] - center);
      }
    }
    const inverseStd = 1 / Math.sqrt(variance[c] + eps);
    dbias[c] = sum;
    dweight[c] = products * inverseStd;
    const a = weight[c] * inverseStd;
    const slope = (inverseStd * dweight[c]) / total;
    const offset = sum / total - center * slope;
    let position = 0;
    for (let o = 0; o < outer; o++) {
      const start = (o * channels + c) * inner;
      for (let i = start; i < start + inner; i++, position++) {
        dx[i] = a * (dy[i] - mask[position] * (offset + x[i] * slope));
      }
    }
  }
}

/** @param {Arrays} arrays @param {Float32Array} mask @param {number} total */
function maskedRowStatistics({ x, mean, variance, outer, channels }, mask, total) {
  const shift = x.slice(0, channels);
  const sum = new Float64Array(channels);
  const squares = new Float64Array(channels);
  for (let row = 0, start = 0; row < outer; row++, start += channels) {
    // A row that doesn't count needn't be read.
    const w = mask[row];
    if (w === 0) continue;
    for (let c = 0; c < channels; c++) {
      const d = x[start + c] - shift[c];
      sum[c] += w * d;
      squares[c] += w * d * d;
    }
  }
  for (let c = 0; c < channels; c++) {
    const rest = sum[c] / total;
    mean[c] = shift[c] + rest;
    variance[c] = squares[c] / total - rest * rest;
  }
}

/** @param {Arrays} arrays @param {Float32Array} mask @param {number} total */
function maskedRowsBackward(arrays, mask, total) {
  const { x, dy, dx, weight, mean, variance, dweight, dbias, eps, outer, channels } = arrays;
  dweight.fill(0);
  dbias.fill(0);
  for (let start = 0; start < x.length; start += channels) {
    for (let c = 0; c < channels; c++) {
      const d = dy[start + c];
      dbias[c] += d;
      dweight[c] += d * (x[start + c] - mean[c]);
    }
  }
  const [a, slope, offset] = [0, 0, 0].map(() => new Float64Array(channels));
  for (let c = 0; c < channels; c++) {
    const inverseStd = 1 / Math.sqrt(variance[c] + eps);
    dweight[c] *= inverseStd;
    a[c] = weight[c] * inverseStd;
    slope[c] = (inverseStd * dweight[c]) / total;
    offset[c] = dbias[c] / total - mean[c] * slope[c];
  }
  for (let row = 0, start = 0; row < outer; row++, start += channels) {
    const w = mask[row];
    for (let c = 0; c < channels; c++) {
      dx[start + c] = a[c] * (dy[start + c] - w * (offset[c] + x[start + c] * slope[c]));
    }
  }
}

/**
 * @param {Float32Array | undefined} residual @param {Loops} loops @param {boolean} isRuns
 * @returns {Loops}
 */
function activated(residual, { statistics, backward }, isRuns) {
  const normalize = isRuns ? (residual ? addedRuns : reluRuns) : residual ? addedRows : reluRows;
  return {
    statistics,
    normalize: (arrays) => normalize(arrays, residual),
    backward(arrays) {
      const { y, dy, dx, dresidual } = arrays;
      const dv = residual ? dresidual : dx;
      for (let i = 0; i < dy.length; i++) dv[i] = y[i] > 0 ? dy[i] : 0;
      backward({ ...arrays, dy: dv });
    },
  };
}

/** @param {Arrays} arrays */
function reluRuns({ x, y, weight, bias, mean, variance, eps, outer, channels, inner }) {
  const { scale, shift } = mapOf(weight, bias, mean, variance, eps);
  let i = 0;
  for (let o = 0; o < outer; o++) {
    for (let c = 0; c < channels; c++) {
      const [a, b] = [scale[c], shift[c]];
      for (const end = i + inner; i < end; i++) {
        const v = x[i] * a + b;
        y[i] = v > 0 ? v : 0;
      }
    }
  }
}

/** @param {Arrays} arrays @param {Float32Array} residual */
function addedRuns({ x, y, weight, bias, mean, variance, eps, outer, channels, inner }, residual) {
  const { scale, shift } = mapOf(weight, bias, mean, variance, eps);
  let i = 0;
  for (let o = 0; o < outer; o++) {
    for (let c = 0; c < channels; c++) {
      const [a, b] = [scale[c], shift[c]];
      for (const end = i + inner; i < end; i++) {
        const v = x[i] * a + b + residual[i];
        y[i] = v > 0 ? v : 0;
      }
    }
  }
}

/** @param {Arrays} arrays */
function reluRows({ x, y, weight, bias, mean, variance, eps, channels }) {
  const { scale, shift } = mapOf(weight, bias, mean, variance, eps);
  for (let start = 0; start < x.length; start += channels) {
    for (let c = 0; c < channels; c++) {
      const v = x[start + c] * scale[c] + shift[c];
      y[start + c] = v > 0 ? v : 0;
    }
  }
}

/** @param {Arrays} arrays @param {Float32Array} residual */
function addedRows({ x, y, weight, bias, mean, variance, eps, channels }, residual) {
  const { scale, shift } = mapOf(weight, bias, mean, variance, eps);
  for (let start = 0; start < x.length; start += channels) {
    for (let c = 0; c < channels; c++) {
      const v = x[start + c] * scale[c] + shift[c] + residual[start + c];
      y[start + c] = v > 0 ? v : 0;
    }
  }
}
