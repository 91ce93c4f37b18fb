/** Normalization as a map of each channel: y = x·scale + shift. */
export function mapOf(weight, bias, mean, variance, eps) {
  const scale = new Float64Array(weight.length);
  const shift = new Float64Array(weight.length);
  for (let c = 0; c < scale.length; c++) {
    scale[c] = weight[c] / Math.sqrt(variance[c] + eps);
    shift[c] = bias[c] - mean[c] * scale[c];
  }
  return { scale, shift };
}
