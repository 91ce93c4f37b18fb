/** The truth of batch norm with what follows it in float64, and how far a float32 result may be. */
import { SMALLEST, type Truth, truthOfInference, truthOfTraining, U } from "./helpers.js";
import { activated, gated } from "./reference/activation.mjs";
import * as reference from "./reference/batch.mjs";
import { at, meanOf, sumOf } from "./reference/sums.mjs";

/** What follows the norm. */
export interface Step {
  readonly residual: ArrayLike<number> | null;
  /** As the reference has it: 0 of ReLU, 1 of none. */
  readonly slope: number;
  /** Statistics; x's own where there are none. */
  readonly given: reference.Statistics | null;
}

/**
 * To first order; N is the bound of the norm's y, or of its gradients from dv.
 *
 * ```text
 * y    no more than v, which is N + U·|v| of the sum; below 0 the slope and its product are rounded
 * dv   = slope·dy below 0:  δ = 2U·|dv|, of the slope and the product
 * dx   N + |γ|·s·(δ + mean δ + |x̂|·mean(|x̂|·δ)), through constants N + |γ|·s·δ
 * dγ   N + Σ|x̂|·δ           dβ   N + Σδ
 * ```
 *
 * What rounding may take to the other side of 0 is let through as the float32 result says.
 *
 * @param got that result; by default none is so near to 0
 */
export function truthOfActivated(
  x: ArrayLike<number>,
  dy: ArrayLike<number>,
  channels: reference.Channels,
  parameters: reference.Parameters,
  { residual, slope, given }: Step,
  got?: ArrayLike<number>,
): Truth & { dv: Float64Array; boundOfDv: Float64Array } {
  const truthOf = (dv: ArrayLike<number>) =>
    given
      ? truthOfInference(x, dv, channels, given, parameters)
      : truthOfTraining(x, dv, channels, parameters);
  const norm = truthOf(dy);
  const y = activated(norm.y, residual, slope);
  const dv = gated(dy, got ?? y, slope);
  const { bounds, gradients, statistics } = truthOf(dv);
  const isScaled = (y: number) => y <= 0 && slope > 0 && slope < 1;
  const boundOfDv = dv.map((dv, i) =>
    isScaled(at(got ?? y, i)) ? 2 * U * Math.abs(dv) + SMALLEST : 0,
  );

  const { of } = channels;
  const s = reference.inverseStd(statistics, parameters.eps);
  const X = reference.normalized(x, channels, statistics, parameters.eps).map(Math.abs);
  const product = (i: number) => at(X, i) * at(boundOfDv, i);
  const [mean, meanOfProduct] = given
    ? [new Float64Array(channels.number), new Float64Array(channels.number)]
    : [meanOf((i) => at(boundOfDv, i), channels), meanOf(product, channels)];
  const [sum, sumOfProduct] = [sumOf((i) => at(boundOfDv, i), channels), sumOf(product, channels)];
  return {
    statistics,
    y,
    dv,
    boundOfDv,
    gradients,
    bounds: {
      ...bounds,
      y: y.map((y, i) => {
        // |v| of what was multiplied with the slope is larger.
        const v = isScaled(y) ? y / slope : y;
        const added = residual ? U * Math.abs(v) : 0;
        return at(norm.bounds.y, i) + added + (isScaled(y) ? 2 * U * Math.abs(y) + SMALLEST : 0);
      }),
      dx: bounds.dx.map((bound, i) => {
        const c = at(of, i);
        const scale = Math.abs(parameters.weight ? at(parameters.weight, c) : 1) * at(s, c);
        const others = at(mean, c) + at(X, i) * at(meanOfProduct, c);
        return bound + scale * (at(boundOfDv, i) + others);
      }),
      dweight: bounds.dweight.map((bound, c) => bound + at(sumOfProduct, c)),
      dbias: bounds.dbias.map((bound, c) => bound + at(sum, c)),
    },
  };
}
