/** The right numbers, by `test/reference/batch.mjs`, of what a call of batch norm read. */
import { activated, gated } from "../../reference/activation.mjs";
import * as reference from "../../reference/batch.mjs";
import * as weighted from "../../reference/weighted.mjs";
import { type Added, bound, near, nearGradients, ordinary, wellConditioned } from "../expect.js";
import type { Pass } from "./pass.js";

type Batch = Pick<Pass, "x" | "shape" | "axis" | "weights">;

/** The batch's own statistics. */
function statisticsOf({ x, shape, axis, weights }: Batch) {
  return weights
    ? weighted.statistics(x, weighted.weighted(shape, axis, weights))
    : reference.statistics(x, reference.channelsOf(shape, axis));
}

/** Statistics that normalized, and x̂, of a pass whose channels are not all but constant. */
function prepare(pass: Pass) {
  const { x, shape, axis, given, eps } = pass;
  const channels = reference.channelsOf(shape, axis);
  const statistics = given
    ? { mean: Float64Array.from(given.mean), variance: Float64Array.from(given.variance) }
    : statisticsOf(pass);
  return { channels, statistics, conditioned: wellConditioned(x, statistics, eps) };
}

export function expectForward(
  got: ArrayLike<number>,
  pass: Pass,
  bias: Float32Array | null,
  of = "",
): void {
  const { x, weight, eps, slope, residual } = pass;
  const { mean = null, variance = null } = pass.given ?? {};
  if (!ordinary(x, weight, bias, mean, variance, residual)) return;
  const { channels, statistics, conditioned } = prepare(pass);
  if (!conditioned) return;
  const norm = reference.forward(x, channels, statistics, { weight, bias, eps });
  const y = activated(norm, residual, slope);
  near(
    `y${of}`,
    got,
    (i) => y[i] as number,
    (i) => Math.abs(norm[i] as number) + bound(residual) + bound(weight) + bound(bias),
  );
}

export function expectStatistics(
  got: { mean: ArrayLike<number>; variance: ArrayLike<number> },
  batch: Batch,
  of = "",
): void {
  if (!ordinary(batch.x) || batch.x.length === 0) return;
  const { mean, variance } = statisticsOf(batch);
  near(
    `a mean${of}`,
    got.mean,
    (i) => mean[i] as number,
    (i) => Math.abs(mean[i] as number),
  );
  near(
    `a variance${of}`,
    got.variance,
    (i) => variance[i] as number,
    (i) => variance[i] as number,
  );
}

/** @param old the running statistics before, and what they are now */
export function expectMoved(
  batch: Batch,
  old: { mean: Float32Array; variance: Float32Array },
  now: { mean: Float32Array; variance: Float32Array },
  share: number,
  kind: "biased" | "unbiased",
  of = "",
): void {
  const { x, shape, axis, weights } = batch;
  if (!ordinary(x, old.mean, old.variance)) return;
  if (x.length === 0) {
    near(
      "a running mean after nothing",
      now.mean,
      (i) => old.mean[i] as number,
      () => -1,
    );
    near(
      "a running variance after nothing",
      now.variance,
      (i) => old.variance[i] as number,
      () => -1,
    );
    return;
  }
  const channels = reference.channelsOf(shape, axis);
  const count = weights ? weights.reduce((a, b) => a + b, 0) : x.length / channels.number;
  const right = reference.moved(
    { mean: Float64Array.from(old.mean), variance: Float64Array.from(old.variance) },
    statisticsOf(batch),
    count,
    share,
    count > 1 ? kind : "biased",
  );
  for (const name of ["mean", "variance"] as const) {
    const value = (i: number) => right[name][i] as number;
    near(`a running ${name}${of}`, now[name], value, (i) => Math.abs(value(i)));
  }
}

/**
 * @param gradients with respect to weight and bias: before, and now
 * @param residualGrad with respect to the residual, if it was asked for
 */
export function expectBackward(
  dx: ArrayLike<number>,
  dyBehind: Float32Array,
  pass: Pass,
  gradients: readonly (Added | null)[],
  residualGrad: ArrayLike<number> | null,
  of = "",
): void {
  const { x, weight, eps, given, slope, output } = pass;
  const dy = Float32Array.from(output ? gated(dyBehind, output.values, slope) : dyBehind);
  if (residualGrad && ordinary(dyBehind)) {
    const value = (i: number) => dy[i] as number;
    near(`a residual's gradient${of}`, residualGrad, value, (i) => Math.abs(value(i)));
  }
  const old = gradients.map((one) => one?.old ?? null);
  if (!ordinary(x, dy, weight, given?.mean ?? null, given?.variance ?? null, ...old)) return;
  const { channels, statistics, conditioned } = prepare(pass);
  if (!conditioned) return;
  const parameters = { weight, eps };
  const { shape, axis, weights } = pass;
  const right = given
    ? reference.backwardConstant(x, dy, channels, statistics, parameters)
    : weights
      ? weighted.backward(x, dy, weighted.weighted(shape, axis, weights), parameters)
      : reference.backward(x, dy, channels, parameters);
  const xHat = bound(reference.normalized(x, channels, statistics, eps));
  const scale = bound(reference.inverseStd(statistics, eps)) * bound(weight ?? [1]);
  nearGradients(of, right, { dx, gradients }, { dy, xHat, scale });
}
