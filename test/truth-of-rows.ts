/** The truth of layer and RMS norm in float64, and how far from it a float32 result may be. */
import { growth, quadraticMean, SMALLEST, type Truth, truthOfTraining, U } from "./helpers.js";
import * as batch from "./reference/batch.mjs";
import * as reference from "./reference/layer.mjs";
import { at, meanOf, sumOf } from "./reference/sums.mjs";

/**
 * To first order, of rows as {@link truthOfTraining} has them of channels. g is the growth of sums
 * over a row, G that of those over all rows, Q the quadratic mean there.
 *
 * ```text
 * Δμ, Δσ²   as in training; around 0: Δμ = 0, and Δσ² = g·U·Q(x²)
 * x̂         = (x − c)·s + o:   3 roundings of (x − c)·s, 1 of o, 1 of the sum, and those of μ and s
 * y         = x̂·γ + β:         its error, 1 rounding of the product, 1 of the sum
 * D/m       mean of γ·dy:      (g + 1)·U·Q(γ·dy)
 * C/m       mean of x̂·γ·dy:    (g + 1)·U·Q(x̂·γ·dy) + s·Δμ·|D/m| + Δs/s of it
 * dx        = (dy·γ − (x − c)·k + r)·s: 5 roundings of dy·γ and D/m, 7 of (x − c)·k,
 *                              and the errors of D/m, C/m, μ and s
 * dγ        = Σ x̂·dy:          the errors of each x̂, and G·U·Q(x̂·dy) a term
 * ```
 */
export function truthOfRows(
  norm: "layer" | "rms",
  x: ArrayLike<number>,
  dy: ArrayLike<number>,
  rows: reference.Rows,
  { weight = null, bias = null, eps }: batch.Parameters,
): Truth {
  const { sets, channels } = rows;
  const of = norm === "layer" ? reference.layer : reference.rms;
  const statistics = of.statistics(x, rows);
  const g = growth(sets.of.length / sets.number);
  const G = growth(sets.number);
  const own =
    norm === "layer"
      ? truthOfTraining(x, dy, sets, { eps }).bounds
      : {
          mean: new Float64Array(sets.number),
          variance: quadraticMean((i) => at(x, i) ** 2, sets).map((q) => g * U * q),
        };
  const y = of.forward(x, rows, { weight, bias, eps });
  const gradients = of.backward(x, dy, rows, { weight, eps });
  const s = batch.inverseStd(statistics, eps);
  const xHat = batch.normalized(x, sets, statistics, eps);
  const ofSet = (values: ArrayLike<number>) => Float64Array.from(sets.of, (set) => at(values, set));
  const ofChannel = (values: ArrayLike<number> | null, absent: number) =>
    Float64Array.from(channels.of, (c) => (values ? at(values, c) : absent));
  const [gamma, beta] = [ofChannel(weight, 1), ofChannel(bias, 0)];
  const scale = ofSet(s);
  const shift = ofSet(own.mean.map((d, set) => d * at(s, set)));
  const error = ofSet(
    own.variance.map((d, set) => d / (2 * (at(statistics.variance, set) + eps) || 1)),
  );
  // |x̂| as computed with the mean rounded to float32.
  const off = ofSet(statistics.mean.map((mean, set) => U * Math.abs(mean) * at(s, set)));
  const X = xHat.map((xHat, i) => Math.abs(xHat) + at(off, i));
  const dXHat = X.map(
    (X, i) =>
      U * (3 * X + at(off, i) + Math.abs(at(xHat, i))) + at(shift, i) + X * at(error, i) + SMALLEST,
  );

  const weighed = gamma.map((gamma, i) => gamma * at(dy, i));
  const M =
    norm === "rms" ? new Float64Array(x.length) : ofSet(meanOf((i) => at(weighed, i), sets));
  const K = ofSet(meanOf((i) => at(weighed, i) * at(xHat, i), sets));
  const dM =
    norm === "rms"
      ? new Float64Array(x.length)
      : ofSet(quadraticMean((i) => at(weighed, i), sets).map((q) => (g + 1) * U * q));
  const dK = ofSet(quadraticMean((i) => at(X, i) * at(weighed, i), sets)).map(
    (q, i) =>
      (g + 1) * U * q + at(shift, i) * Math.abs(at(M, i)) + at(error, i) * Math.abs(at(K, i)),
  );
  const ofEach = sumOf((i) => at(dXHat, i) * Math.abs(at(dy, i)), channels);
  const count = sets.number;
  const ofSums = quadraticMean((i) => at(X, i) * at(dy, i), channels);
  const ofDy = quadraticMean((i) => at(dy, i), channels);
  const { dweight, dbias } = gradients;
  return {
    statistics,
    y,
    gradients,
    bounds: {
      mean: own.mean,
      variance: own.variance,
      y: y.map((y, i) => {
        const product = Math.abs(at(gamma, i)) * (at(dXHat, i) + U * Math.abs(at(xHat, i)));
        return product + U * (Math.abs(y) + Math.abs(at(beta, i))) + 4 * SMALLEST;
      }),
      dx: X.map((X, i) => {
        const terms = Math.abs(at(weighed, i)) + Math.abs(at(M, i));
        const first = terms * (5 * U + at(error, i)) + at(dM, i);
        const second =
          X * Math.abs(at(K, i)) * (7 * U + 2 * at(error, i)) +
          X * at(dK, i) +
          Math.abs(at(K, i)) * at(shift, i);
        return at(scale, i) * (first + second) + 4 * SMALLEST;
      }),
      dweight: dweight.map(
        (sum, c) => at(ofEach, c) + count * G * U * at(ofSums, c) + U * Math.abs(sum) + SMALLEST,
      ),
      dbias: dbias.map((sum, c) => count * G * U * at(ofDy, c) + U * Math.abs(sum) + SMALLEST),
    },
  };
}
