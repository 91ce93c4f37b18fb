/** The truth of group norm in float64, and how far from it a float32 result may be. */
import { growth, quadraticMean, SMALLEST, type Truth, truthOfTraining, U } from "./helpers.js";
import type * as batch from "./reference/batch.mjs";
import * as reference from "./reference/group.mjs";
import { at, meanOf } from "./reference/sums.mjs";

/**
 * To first order, of sets as {@link truthOfTraining} has them of channels. Sums are a strand's, dy
 * around 0; g is the growth of sums over it, Q the quadratic mean there.
 *
 * ```text
 * y      as in training, by the set's statistics and the channel's γ and β
 * D/n    Σdy/n of a strand:          g·U·Q(dy)
 * C/n    Σx̂·dy/n of a strand:        g·U·Q(x̂·dy) + s·Δμ·|D/n| + Δs/s of it
 * M, K   means of γ·D/n and γ·C/n over a set's strands, and so their errors
 * dx     = (dy·γ − (x − c)·k + r)·s: 5 roundings of dy·γ and M, 7 of (x − c)·k,
 *                           and the errors of M, K, μ and s
 * ```
 */
export function truthOfGroups(
  x: ArrayLike<number>,
  dy: ArrayLike<number>,
  groups: reference.Groups,
  { weight = null, bias = null, eps }: batch.Parameters,
): Truth {
  const { sets, strands, channels } = groups;
  const plain = truthOfTraining(x, dy, sets, { eps });
  const { statistics, bounds } = plain;
  const y = reference.forward(x, groups, { weight, bias, eps });
  const gradients = reference.backward(x, dy, groups, { weight, eps });
  const gamma = Float64Array.from(channels.of, (c) => Math.abs(weight ? at(weight, c) : 1));
  const beta = Float64Array.from(channels.of, (c) => Math.abs(bias ? at(bias, c) : 0));
  const s = statistics.variance.map((variance) =>
    variance + eps > 0 ? (variance + eps) ** -0.5 : 0,
  );
  const dScale = bounds.variance.map(
    (d, set) => d / (2 * (at(statistics.variance, set) + eps) || 1),
  );
  const ofSet = (values: ArrayLike<number>) => Float64Array.from(sets.of, (set) => at(values, set));
  const [scale, error, shift] = [
    ofSet(s),
    ofSet(dScale),
    ofSet(bounds.mean.map((d, set) => d * at(s, set))),
  ];
  // |x̂| as computed with the mean rounded to float32.
  const off = ofSet(statistics.mean.map((mean, set) => U * Math.abs(mean) * at(s, set)));
  const X = plain.y.map((xHat, i) => Math.abs(xHat) + at(off, i));

  const g = growth(strands.of.length / strands.number);
  const magnitude = (i: number) => Math.abs(at(dy, i));
  const meanDy = meanOf((i) => at(dy, i), strands).map(Math.abs);
  const meanProduct = meanOf((i) => at(plain.y, i) * at(dy, i), strands).map(Math.abs);
  const dMeanDy = quadraticMean(magnitude, strands).map((q) => g * U * q);
  const [strandShift, strandError] = [shift, error].map((of) => meanOf((i) => at(of, i), strands));
  const dProduct = quadraticMean((i) => at(X, i) * magnitude(i), strands).map(
    (q, strand) =>
      g * U * q +
      at(strandShift as Float64Array, strand) * at(meanDy, strand) +
      at(strandError as Float64Array, strand) * at(meanProduct, strand),
  );
  // Of means over sets: strands are of one size, and each element tells its own.
  const overSets = (of: Float64Array) =>
    ofSet(meanOf((i) => at(gamma, i) * at(of, at(strands.of, i)), sets));
  const [dM, dK] = [overSets(dMeanDy), overSets(dProduct)];
  const signed = (i: number) => (weight ? at(weight, at(channels.of, i)) : 1) * at(dy, i);
  const M = ofSet(meanOf(signed, sets).map(Math.abs));
  const K = ofSet(meanOf((i) => signed(i) * at(plain.y, i), sets).map(Math.abs));

  const overSamples = (ofStrand: (strand: number) => number) => {
    const sums = new Float64Array(channels.number);
    for (let strand = 0; strand < strands.number; strand++) {
      const channel = strand % channels.number;
      sums[channel] = at(sums, channel) + ofStrand(strand);
    }
    return sums;
  };
  const n = strands.of.length / strands.number;
  const { dweight, dbias } = gradients;
  return {
    statistics,
    y,
    gradients,
    bounds: {
      mean: bounds.mean,
      variance: bounds.variance,
      y: y.map((y, i) => {
        const offset = at(beta, i) + at(gamma, i) * at(off, i);
        const roundings = 3 * at(gamma, i) * at(X, i) + offset + Math.abs(y);
        const ofStatistics = at(gamma, i) * (at(shift, i) + at(X, i) * at(error, i));
        return U * roundings + ofStatistics + 4 * SMALLEST;
      }),
      dx: X.map((X, i) => {
        const first = (Math.abs(signed(i)) + at(M, i)) * (5 * U + at(error, i)) + at(dM, i);
        const second = X * at(K, i) * (7 * U + 2 * at(error, i)) + X * at(dK, i);
        return at(scale, i) * (first + second + at(K, i) * at(shift, i)) + 4 * SMALLEST;
      }),
      dweight: overSamples((strand) => n * at(dProduct, strand)).map(
        (bound, c) => bound + U * Math.abs(at(dweight, c)) + SMALLEST,
      ),
      dbias: overSamples((strand) => n * at(dMeanDy, strand)).map(
        (bound, c) => bound + U * Math.abs(at(dbias, c)) + SMALLEST,
      ),
    },
  };
}
