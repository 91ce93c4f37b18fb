/**
 * JavaScript at its best, without a library: one pass over the memory in its order,
 * nothing computed twice, several sums at once where additions would wait for each
 * other. Sums are of deviations from a first value, so that one pass is accurate.
 *
 * Runs of one channel (channels-first) and rows across channels (channels-last, [N, C])
 * want different loops.
 */
import { variedLoops } from "./flat-variants.mjs";
import { loopContestant } from "./loop.mjs";
import { mapOf } from "./map-of.mjs";

const runs = { statistics: runStatistics, normalize: normalizeRuns, backward: runsBackward };
const rows = { statistics: rowStatistics, normalize: normalizeRows, backward: rowsBackward };

export default loopContestant(
  "flat loop",
  ({ layout }) => (layout === "channels-first" ? runs : rows),
  variedLoops,
);

/** @typedef {import("./loop.mjs").Arrays} Arrays */

/** @param {Arrays} arrays */
function runStatistics({ x, mean, variance, outer, channels, inner }) {
  const [stride, count, inFours] = [channels * inner, outer * inner, inner & ~3];
  for (let c = 0; c < channels; c++) {
    const shift = x[c * inner];
    let [s0, s1, s2, s3, q0, q1, q2, q3] = [0, 0, 0, 0, 0, 0, 0, 0];
    for (let start = c * inner; start < x.length; start += stride) {
      let i = start;
      for (const end = start + inFours; i < end; i += 4) {
        const d0 = x[i] - shift;
        const d1 = x[i + 1] - shift;
        const d2 = x[i + 2] - shift;
        const d3 = x[i + 3] - shift;
        s0 += d0;
        s1 += d1;
        s2 += d2;
        s3 += d3;
        q0 += d0 * d0;
        q1 += d1 * d1;
        q2 += d2 * d2;
        q3 += d3 * d3;
      }
      for (const end = start + inner; i < end; i++) {
        const d = x[i] - shift;
        s0 += d;
        q0 += d * d;
      }
    }
    const rest = (s0 + s1 + s2 + s3) / count;
    mean[c] = shift + rest;
    variance[c] = (q0 + q1 + q2 + q3) / count - rest * rest;
  }
}

/** @param {Arrays} arrays */
function normalizeRuns({ x, y, weight, bias, mean, variance, eps, outer, channels, inner }) {
  const { scale, shift } = mapOf(weight, bias, mean, variance, eps);
  let i = 0;
  for (let o = 0; o < outer; o++) {
    for (let c = 0; c < channels; c++) {
      const a = scale[c];
      const b = shift[c];
      for (const end = i + inner; i < end; i++) y[i] = x[i] * a + b;
    }
  }
}

/** @param {Arrays} arrays */
function runsBackward(arrays) {
  const { x, dy, dx, weight, mean, variance, dweight, dbias, eps } = arrays;
  const { outer, channels, inner } = arrays;
  const [stride, count, inPairs] = [channels * inner, outer * inner, inner & ~1];
  for (let c = 0; c < channels; c++) {
    const center = mean[c];
    let [s0, s1, p0, p1] = [0, 0, 0, 0];
    for (let start = c * inner; start < x.length; start += stride) {
      let i = start;
      for (const end = start + inPairs; i < end; i += 2) {
        const d0 = dy[i];
        const d1 = dy[i + 1];
        s0 += d0;
        s1 += d1;
        p0 += d0 * (x[i] - center);
        p1 += d1 * (x[i + 1] - center);
      }
      if (i < start + inner) {
        s0 += dy[i];
        p0 += dy[i] * (x[i] - center);
      }
    }
    const inverseStd = 1 / Math.sqrt(variance[c] + eps);
    dbias[c] = s0 + s1;
    dweight[c] = (p0 + p1) * inverseStd;
    const a = weight[c] * inverseStd;
    const b = (-a * inverseStd * dweight[c]) / count;
    const d = (-a * dbias[c]) / count - b * center;
    for (let start = c * inner; start < x.length; start += stride) {
      for (let i = start; i < start + inner; i++) dx[i] = dy[i] * a + x[i] * b + d;
    }
  }
}

/** @param {Arrays} arrays */
function rowStatistics({ x, mean, variance, outer, channels }) {
  const shift = new Float64Array(channels);
  const sum = new Float64Array(channels);
  const squares = new Float64Array(channels);
  for (let c = 0; c < channels; c++) shift[c] = x[c];
  for (let start = 0; start < x.length; start += channels) {
    for (let c = 0; c < channels; c++) {
      const d = x[start + c] - shift[c];
      sum[c] += d;
      squares[c] += d * d;
    }
  }
  for (let c = 0; c < channels; c++) {
    const rest = sum[c] / outer;
    mean[c] = shift[c] + rest;
    variance[c] = squares[c] / outer - rest * rest;
  }
}

/** @param {Arrays} arrays */
function normalizeRows({ x, y, weight, bias, mean, variance, eps, channels }) {
  const { scale, shift } = mapOf(weight, bias, mean, variance, eps);
  for (let start = 0; start < x.length; start += channels) {
    for (let c = 0; c < channels; c++) y[start + c] = x[start + c] * scale[c] + shift[c];
  }
}

/** @param {Arrays} arrays */
function rowsBackward(arrays) {
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
  const a = new Float64Array(channels);
  const b = new Float64Array(channels);
  const d = new Float64Array(channels);
  for (let c = 0; c < channels; c++) {
    const inverseStd = 1 / Math.sqrt(variance[c] + eps);
    dweight[c] *= inverseStd;
    a[c] = weight[c] * inverseStd;
    b[c] = (-a[c] * inverseStd * dweight[c]) / outer;
    d[c] = (-a[c] * dbias[c]) / outer - b[c] * mean[c];
  }
  for (let start = 0; start < x.length; start += channels) {
    for (let c = 0; c < channels; c++) {
      dx[start + c] = dy[start + c] * a[c] + x[start + c] * b[c] + d[c];
    }
  }
}
