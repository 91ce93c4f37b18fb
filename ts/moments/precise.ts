/**
 * Precise batch norm (Wu & Johnson 2021, "Rethinking 'Batch' in BatchNorm", arXiv:2105.07576): running
 * statistics anew over a data set, as the exact moments of all of it.
 */
import type { BatchNorm } from "../batch/layer.js";
import { checkTracked, readLayer, setRunningStatistics } from "../batch/statistics.js";
import { checkIterable, readArray } from "../core/checks.js";
import { fail, mustBe } from "../core/errors.js";
import { readOptions } from "../core/options.js";
import { Moments } from "./moments.js";

/** What {@link preciseBatchNorm} can be told. */
export interface PreciseOptions {
  /** Called after each batch, with how many there were. */
  onProgress?: ((progress: { batches: number }) => void) | null | undefined;
}

/**
 * Computes the running statistics of layers anew: runs `forward` on each batch, in which the layers
 * normalize by the batch's own statistics, and gives them the moments of all that they have met, merged
 * (PyTorch's `update_bn` averages the batches' instead, and loses the variance between them). A layer may
 * come several times in a network. All layers get theirs at the end, or where something throws none
 * does; modes and switches are as before then.
 *
 * @param layers with running statistics, each of which `forward` has to reach; one that is named
 *   twice counts once
 * @param batches of any kind, also an async iterable
 * @param forward runs the network on a batch, and may be async
 * @throws BatchNormError `invalid-option`, `dtype`, `unsupported`, `disposed`, `not-built` for a layer
 *   that no batch has reached; what `batches` and `forward` throw
 *
 * @example
 * await preciseBatchNorm([bn], [x, dy], (batch) => bn.forward(batch));
 * bn.runningMean;   // → Tensor([3]) { 1.75, 3.25, 4.75 }
 * bn.runningVar;    // → Tensor([3]) { 0.9167, 4.917, 12.25 }
 */
export async function preciseBatchNorm<Batch>(
  layers: readonly BatchNorm[],
  batches: Iterable<Batch> | AsyncIterable<Batch>,
  forward: (batch: Batch) => unknown,
  options?: PreciseOptions | null,
): Promise<void> {
  const owner = "preciseBatchNorm";
  const { onProgress } = readOptions(owner, options, ["onProgress"]);
  const all = readArray(layers, `${owner}: layers`);
  checkIterable(batches, owner, "batches", true);
  if (typeof forward !== "function") {
    mustBe("invalid-option", `${owner}: forward`, "a function", forward);
  }
  if (onProgress != null && typeof onProgress !== "function") {
    mustBe("invalid-option", `${owner}: onProgress`, "a function", onProgress);
  }
  // (One that is named twice is one.)
  const watched = [...new Set(all)].map((layer) => {
    const name = `${owner}: layer ${all.indexOf(layer)}`;
    const engine = readLayer(layer, name);
    engine.checkLive(name);
    checkTracked(engine, name);
    if (engine.observer) fail("unsupported", `${name} is watched already`);
    return { name, engine, moments: null as Moments | null };
  });
  let count = 0;
  try {
    for (const one of watched) {
      one.engine.observer = (statistics) => {
        const own = new Moments(statistics);
        one.moments = one.moments ? Moments.merge([one.moments, own]) : own;
      };
    }
    for await (const batch of batches) {
      await forward(batch);
      count += 1;
      onProgress?.({ batches: count });
    }
  } finally {
    for (const { engine } of watched) engine.observer = null;
  }
  for (const { name, engine, moments } of watched) {
    engine.checkLive(name);
    if (!moments?.count) fail("not-built", `${name} was reached by no batch`);
    engine.state.check(name);
  }
  for (const { engine, moments } of watched) {
    const { state, options } = engine;
    const { mean, variance, unbiasedVariance } = moments as Moments;
    const isUnbiased = options.runningVariance === "unbiased";
    setRunningStatistics(engine, {
      mean,
      variance: isUnbiased ? unbiasedVariance : variance,
      std: variance.map((value) => Math.sqrt(value + options.eps)),
    });
    state.numBatchesTracked = count;
  }
}
