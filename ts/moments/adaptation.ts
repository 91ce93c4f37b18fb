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

import { batchNormInference, readStatistics } from "../batch/functions.js";
import type { BatchNorm } from "../batch/layer.js";
import { engineOf } from "../batch/layer.js";
import { checkOneOf } from "../core/checks.js";
import { fail, mustBe } from "../core/errors.js";
import { readOptions } from "../core/options.js";
import type { PlainResult, PlainTensor } from "../core/plain.js";
import { type Tensor, tensorOf } from "../core/tensor.js";
import type { Float64Values } from "../core/values.js";
import type { View } from "../core/view.js";
import { copyOut } from "../core/view.js";

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
 * @throws BatchNormError `invalid-option`, `unknown-option`, `unsupported`, `not-built`
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
  const engine = engineOf(bn);
  const { state } = engine;
  if (!engine.options.trackRunningStats) {
    fail("unsupported", `${owner}: the layer has no running statistics`);
  }
  if (state.numFeatures === null) {
    fail("not-built", `${owner}: the layer has no statistics yet`);
  }
  state.check(owner);
  const vector = (view: View | null) => view && Float64Array.from(copyOut(view));
  const before = [vector(state.runningMean), vector(state.runningVar)] as Pair;

  const forward = (x: Tensor | PlainTensor, options?: AdaptedForwardOptions | null) => {
    const owner = "AdaptedBatchNorm.forward";
    const given = readOptions(owner, options, ["out", "keep"]);
    const { out } = given;
    const keep = given.keep ?? false;
    checkOneOf(keep, owner, "keep");
    const { kernel } = bn;
    const { axis, eps } = engine.options;
    const own = readStatistics(owner, x, { axis, kernel }, ["axis", "kernel"]);
    engine.checkLive(owner);
    state.check(owner);
    const channels = state.numFeatures as number;
    if (own.mean.length !== channels) {
      fail(
        "shape-mismatch",
        `${owner}: expected x with ${channels} channels, got ${own.mean.length}`,
      );
    }
    const samples = own.samples;
    // Of nothing there is nothing to adapt to; infinitely many samples stay as they are.
    const share = own.count === 0 || source === Infinity ? 1 : source / (source + samples);
    const [mean, variance] = blend(before, [own.mean, own.variance], share, includeSpread);
    const [weight, bias] = [tensorOf(state.weight), tensorOf(state.bias)];
    const y = batchNormInference(x, { mean, variance, weight, bias, eps, axis, out, kernel });
    if (keep) write(mean, variance);
    return y;
  };
  const write = (mean: Float64Values, variance: Float64Values) => {
    tensorOf(state.runningMean)?.set(mean);
    tensorOf(state.runningVar)?.set(variance);
  };
  const reset = () => {
    const owner = "AdaptedBatchNorm.reset";
    engine.checkLive(owner);
    state.check(owner);
    write(...before);
  };
  return Object.freeze({ forward: forward as AdaptedBatchNorm["forward"], reset });
}

type Pair = [mean: Float64Values, variance: Float64Values];

function blend(
  [ofSource, variances]: Pair,
  [ofTarget, own]: Pair,
  share: number,
  includeSpread: boolean,
): Pair {
  const mix = (a: number, b: number) => (share === 1 ? a : share * a + (1 - share) * b);
  const mean = ofSource.map((mean, c) => mix(mean, ofTarget[c] as number));
  const variance = variances.map((variance, c) => {
    const off = includeSpread ? (ofSource[c] as number) - (ofTarget[c] as number) : 0;
    return mix(variance, own[c] as number) + share * (1 - share) * off ** 2;
  });
  return [mean, variance];
}
