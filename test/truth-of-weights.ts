/** The truth of weighted batch norm in float64, and how far from it a float32 result may be. */
import { growth, quadraticMean, SMALLEST, type Truth, U } from "./helpers.js";
import * as batch from "./reference/batch.mjs";
import { at, deviationsOf } from "./reference/sums.mjs";
import * as reference from "./reference/weighted.mjs";

/** |pivot − mean|/σ at most, or else the sums were taken again around the mean (`moments.rs`). */
const NEAR = 2;

/**
 * To first order, as {@link truthOfTraining} has it; g is the growth of sums over n elements, and the
 * product with the weight is one of the roundings of a term that it counts.
 *
 * ```text
 * Δμ   = n/W·g·U·Q(w·d)                      d = x − p,  P = |p − μ| ≤ max(2σ, U·|μ|)
 * Δσ²  = n/W·g·U·Q(w·d²) + 2P·Δμ
 * y    as in training
 * Δdβ  = n·g·U·Q(dy)                         dy is taken around 0
 * Δdγ  = n·g·U·Q(x̂·dy) + s·Δμ·|dβ| + Δs/s·|dγ|
 * dx   = (dy − ((x − c)·k + (e − r))·w)·a:   5 roundings of dy, 6 of w/W·dβ, 9 of w/W·x̂·dγ,
 *                           and the errors of dβ, dγ, μ and s
 * ```
 *
 * @param excess e where what it is compared with divides by W·(1 + e): its μ is off by e·|μ|, its σ² by
 *   e·σ² + (e·μ)², and its w/W by that share
 */
export function truthOfWeights(
  x: ArrayLike<number>,
  dy: ArrayLike<number>,
  weighted: reference.Weighted,
  { weight = null, bias = null, eps }: batch.Parameters,
  excess = 0,
): Truth {
  const { channels, weights, total } = weighted;
  const { number, of } = channels;
  const n = of.length / number;
  const g = growth(n);
  const own = reference.statistics(x, weighted);
  const y = batch.forward(x, channels, own, { weight, bias, eps });
  const gradients = reference.backward(x, dy, weighted, { weight, eps });
  const ofChannel = (vector: ArrayLike<number>, i: number) => at(vector, at(of, i));

  const s = batch.inverseStd(own, eps);
  const pivot = own.variance.map((variance, c) =>
    Math.max(NEAR * Math.sqrt(variance), U * Math.abs(at(own.mean, c))),
  );
  const deviations = deviationsOf(x, channels, own);
  const d = (i: number) => Math.abs(at(deviations, i)) + ofChannel(pivot, i);
  const share = n / total;
  const dMean = quadraticMean((i) => at(weights, i) * d(i), channels).map(
    (q, c) => share * g * U * q + (2 ** -51 + excess) * Math.abs(at(own.mean, c)),
  );
  const dVariance = quadraticMean((i) => at(weights, i) * d(i) ** 2, channels).map((q, c) => {
    const ofExcess = excess * at(own.variance, c) + (excess * at(own.mean, c)) ** 2;
    return share * g * U * q + 2 * at(pivot, c) * at(dMean, c) + ofExcess;
  });
  const dScale = dVariance.map((error, c) => error / (2 * (at(own.variance, c) + eps) || 1));

  // |x̂| as computed with the mean rounded to float32.
  const off = own.mean.map((mean, c) => U * Math.abs(mean) * at(s, c));
  const xHat = batch.normalized(x, channels, own, eps);
  const X = xHat.map((value, i) => Math.abs(value) + ofChannel(off, i));
  const { dweight, dbias } = gradients;
  const dBias = quadraticMean((i) => at(dy, i), channels).map(
    (q, c) => n * g * U * q + U * Math.abs(at(dbias, c)),
  );
  const dWeight = quadraticMean((i) => at(X, i) * at(dy, i), channels).map(
    (q, c) =>
      n * g * U * q +
      at(s, c) * at(dMean, c) * Math.abs(at(dbias, c)) +
      at(dScale, c) * Math.abs(at(dweight, c)) +
      U * Math.abs(at(dweight, c)),
  );
  const gamma = Float64Array.from({ length: number }, (_, c) => Math.abs(weight?.[c] ?? 1));
  return {
    statistics: own,
    y,
    gradients,
    bounds: {
      mean: dMean,
      variance: dVariance,
      y: y.map((value, i) => {
        const offset =
          Math.abs(bias ? ofChannel(bias, i) : 0) + ofChannel(gamma, i) * ofChannel(off, i);
        const roundings = 3 * ofChannel(gamma, i) * at(X, i) + offset + Math.abs(value);
        const ofStatistics =
          ofChannel(s, i) * ofChannel(dMean, i) + at(X, i) * ofChannel(dScale, i);
        return U * roundings + ofChannel(gamma, i) * ofStatistics + 4 * SMALLEST;
      }),
      dx: X.map((X, i) => {
        const part = at(weights, i) / total;
        const [ofBias, ofWeight] = [dbias, dweight].map((all) => Math.abs(ofChannel(all, i))) as [
          number,
          number,
        ];
        const scale = ofChannel(dScale, i) + excess;
        const ofDy = Math.abs(at(dy, i)) * (5 * U + scale);
        const through =
          ofBias * (6 * U + scale) +
          X * ofWeight * (9 * U + 3 * scale) +
          ofWeight * ofChannel(s, i) * ofChannel(dMean, i) +
          ofChannel(dBias, i) +
          X * ofChannel(dWeight, i);
        return ofChannel(gamma, i) * ofChannel(s, i) * (ofDy + part * through) + 4 * SMALLEST;
      }),
      dweight: dWeight,
      dbias: dBias,
    },
  };
}
