/** What one writes first: channel by channel, the mean, then the squared deviations. */
import { loopContestant } from "./loop.mjs";

export default loopContestant("naive loop", () => ({
  statistics,
  normalize,
  backward,
}));

/** @param {import("./loop.mjs").Arrays} arrays */
function statistics({ x, mean, variance, outer, channels, inner }) {
  const count = outer * inner;
  for (let c = 0; c < channels; c++) {
    let sum = 0;
    for (let o = 0; o < outer; o++) {
      for (let i = 0; i < inner; i++) sum += x[(o * channels + c) * inner + i];
    }
    mean[c] = sum / count;
    let squares = 0;
    for (let o = 0; o < outer; o++) {
      for (let i = 0; i < inner; i++) {
        squares += (x[(o * channels + c) * inner + i] - mean[c]) ** 2;
      }
    }
    variance[c] = squares / count;
  }
}

/** @param {import("./loop.mjs").Arrays} arrays */
function normalize({ x, y, weight, bias, mean, variance, eps, outer, channels, inner }) {
  for (let c = 0; c < channels; c++) {
    const std = Math.sqrt(variance[c] + eps);
    for (let o = 0; o < outer; o++) {
      for (let i = 0; i < inner; i++) {
        const at = (o * channels + c) * inner + i;
        y[at] = (weight[c] * (x[at] - mean[c])) / std + bias[c];
      }
    }
  }
}

/** @param {import("./loop.mjs").Arrays} arrays */
function backward(arrays) {
  const { x, dy, dx, weight, mean, variance, dweight, dbias, eps } = arrays;
  const { outer, channels, inner } = arrays;
  const count = outer * inner;
  for (let c = 0; c < channels; c++) {
    const std = Math.sqrt(variance[c] + eps);
    dweight[c] = 0;
    dbias[c] = 0;
    for (let o = 0; o < outer; o++) {
      for (let i = 0; i < inner; i++) {
        const at = (o * channels + c) * inner + i;
        dbias[c] += dy[at];
        dweight[c] += (dy[at] * (x[at] - mean[c])) / std;
      }
    }
    for (let o = 0; o < outer; o++) {
      for (let i = 0; i < inner; i++) {
        const at = (o * channels + c) * inner + i;
        const normalized = (x[at] - mean[c]) / std;
        dx[at] = (weight[c] / std) * (dy[at] - (dbias[c] + normalized * dweight[c]) / count);
      }
    }
  }
}
