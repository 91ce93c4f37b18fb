/**
 * Test-time adaptation (Schneider et al. 2020, "Improving robustness against common corruptions by
 * covariate shift adaptation", arXiv:2006.16971): the statistics that a layer was trained with, blended
 * with those of the data that it meets.
 *
 * ```text
 * p = N/(N + n)     μ = p·μ_s + (1 − p)·μ_t     σ² = p·σ_s² + (1 − p)·σ_t²
 * ```
 *
 * N: samples that the source counts as, n: samples of the batch. The paper leaves out the spread of the
 * means, p·(1 − p)·(μ_s − μ_t)². With N = 0 it is prediction-time batch norm (Nado et al. 2020,
 * arXiv:2006.10963), or over all of the target's data AdaBN (Li et al. 2016, arXiv:1603.04779).
 */

import { runStatistics } from "../batch/calls.js";
import type { BatchNorm } from "../batch/layer.js";
import {
  checkRunningStatistics,
  type RunningStatistics,
  readLayer,
  readRunningStatistics,
  setRunningStatistics,
} from "../batch/statistics.js";
import { bringIn, readOut, readTensor, roomFor, takeOut } from "../core/arguments.js";
import { checkOneOf } from "../core/checks.js";
import { mustBe } from "../core/errors.js";
import { inverseStd } from "../core/float64.js";
import { checkOperands, Place } from "../core/operands.js";
import { readOptions } from "../core/options.js";
import { FORWARD_NAMES } from "../core/passes.js";
import type { PlainResult, PlainTensor } from "../core/plain.js";
import { type Tensor, tensorOf, viewOf } from "../core/tensor.js";
import type { Float64Values } from "../core/values.js";
import { copyOut, type View } from "../core/view.js";
import { standardize } from "./standardize.js";

/** What {@link adaptBatchNorm} can be told. */
export interface AdaptationOptions {
  /** Samples that the layer's running statistics count as, from 0 on; default 16. */
  sourceSamples?: number | null | undefined;
  /** Whether the variance includes the spread of the means; default false, as the paper has it. */
  includeSpread?: boolean | null | undefined;
}

/** Options of {@link AdaptedBatchNorm.forward}. */
export interface AdaptedForwardOptions {
  /** Where to write y: a tensor of x's shape, or x itself. */
  out?: Tensor | null | undefined;
  /** Whether the layer keeps the blended statistics as its running ones; default false. */
  keep?: boolean | null | undefined;
}

/** A layer that adapts to what it meets. */
export interface AdaptedBatchNorm {
  /**
   * Normalizes by the layer's statistics blended with those of x, and by its γ and β. The first axis
   * counts samples.
   *
   * @param x a tensor, or `{ data, shape }` at the cost of a copy in and out
   * @returns `out`, or a new tensor of x's shape
   * @throws BatchNormError as {@link BatchNorm.forward}
   */
  forward(x: Tensor, options?: AdaptedForwardOptions | null): Tensor;
  forward(x: PlainTensor, options?: AdaptedForwardOptions | null): PlainResult;
  /**
   * Gives the layer the running statistics back that it had.
   *
   * @throws BatchNormError `disposed`
   */
  reset(): void;
}

/**
 * Adapts a layer to the data that it meets at test time, without gradients: its running statistics, as
 * they are now, are the source's; of each batch the moments are taken and blended with these.
 *
 * @param bn a layer that has running statistics and has been trained
 * @throws BatchNormError `invalid-option`, `unknown-option`, `dtype`, `unsupported`, `not-built`,
 *   `disposed`
 *
 * @example
 * const adapted = adaptBatchNorm(bn, { sourceSamples: 2 });
 * adapted.forward(x);                   // → Tensor([2, 3]) { 0, 0, 0, 2, 2.53, 2.683 }
 * adapted.forward(x, { keep: true });   // the layer has these statistics from now on
 * bn.runningMean;                       // → Tensor([3]) { 1, 2, 3 }
 * adapted.reset();
 */
export function adaptBatchNorm(
  bn: BatchNorm,
  options?: AdaptationOptions | null,
): AdaptedBatchNorm {
  const owner = "adaptBatchNorm";
  const given = readOptions(owner, options, ["sourceSamples", "includeSpread"]);
  const source = given.sourceSamples ?? 16;
  const includeSpread = given.includeSpread ?? false;
  if (!(typeof source === "number" && source >= 0)) {
    mustBe("invalid-option", `${owner}: sourceSamples`, "a number from 0 on", source);
  }
  checkOneOf(includeSpread, owner, "includeSpread");
  const engine = readLayer(bn, `${owner}: bn`);
  const before = readRunningStatistics(engine, owner);
  const { port, state } = engine;

  const forward = (x: Tensor | PlainTensor, options?: AdaptedForwardOptions | null) => {
    const owner = "AdaptedBatchNorm.forward";
    const given = readOptions(owner, options, ["out", "keep"]);
    const { out } = given;
    const keep = given.keep ?? false;
    checkOneOf(keep, owner, "keep");
    const read = readTensor(x, port, owner, "x");
    const to = readOut(out, read, owner);
    const view = bringIn(read, port);
    try {
      checkRunningStatistics(engine, owner);
      const axis = engine.axisOf(view.shape, owner);
      const { runningMean, runningVar, weight, bias } = state;
      checkOperands(FORWARD_NAMES, owner, view, axis, [
        [Place.OUT, to],
        [Place.WEIGHT, weight],
        [Place.BIAS, bias],
        [Place.FIRST_ACCUMULATOR, runningMean],
        [Place.SECOND_ACCUMULATOR, runningVar],
      ]);
      const own = runStatistics(owner, view, axis, null);
      const samples = axis === 0 ? 1 : (view.shape[0] as number);
      // Of nothing there is nothing to adapt to; infinitely many samples stay as they are.
      const share = view.size === 0 || source === Infinity ? 1 : source / (source + samples);
      const blended = blend(before, own, share, includeSpread);
      const std = inverseStd(blended.variance, engine.options.eps);
      const [gamma, beta] = [weight, bias].map((view) => view && copyOut(view));
      const scale = std.map((value, c) => (gamma?.[c] ?? 1) * value);
      const offset = std.map((_, c) => beta?.[c] ?? 0);
      const room = roomFor(view, read, owner);
      const by = { mean: blended.mean, scale, offset };
      const y = standardize(owner, tensorOf(view), by, { axis, out: tensorOf(to) }) as Tensor;
      if (keep) setRunningStatistics(engine, blended);
      return takeOut(viewOf(y) as View, read, room);
    } finally {
      if (view !== read) view.dispose();
    }
  };
  const reset = () => {
    checkRunningStatistics(engine, "AdaptedBatchNorm.reset");
    setRunningStatistics(engine, before);
  };
  return Object.freeze({ forward: forward as AdaptedBatchNorm["forward"], reset });
}

function blend(
  source: RunningStatistics,
  own: { readonly mean: Float64Values; readonly variance: Float64Values },
  share: number,
  includeSpread: boolean,
): RunningStatistics {
  const mix = (a: number, b: number) => (share === 1 ? a : share * a + (1 - share) * b);
  const mean = source.mean.map((mean, c) => mix(mean, own.mean[c] as number));
  const variance = source.variance.map((variance, c) => {
    const off = includeSpread ? (source.mean[c] as number) - (own.mean[c] as number) : 0;
    return mix(variance, own.variance[c] as number) + share * (1 - share) * off ** 2;
  });
  return { mean, variance, std: share === 1 ? source.std : null };
}
