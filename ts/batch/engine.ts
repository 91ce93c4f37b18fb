/**
 * What a batch norm layer does, over its state and the calls of `calls.ts`. The
 * layer that users see (`layer.ts`) is a shell around it.
 */

import { checkOneOf } from "../core/checks.js";
import { fail, mustBe } from "../core/errors.js";
import { checkRank, overlaps, resolveAxis } from "../core/geometry.js";
import { FORWARD_OPTIONS, LayerEngine } from "../core/layer-engine.js";
import { type Call, newCall, Place } from "../core/operands.js";
import { type BackThrough, FORWARD_NAMES } from "../core/passes.js";
import { runCall } from "../core/run.js";
import { SavedVector } from "../core/saved-state.js";
import { showShape } from "../core/show.js";
import type { Float64Values } from "../core/values.js";
import type { View } from "../core/view.js";
import { Operation } from "../generated/abi.js";
import { activate } from "./activation.js";
import { PLAIN, runByBatch, runByRunning } from "./calls.js";
import { backThrough } from "./gated.js";
import {
  type BatchNormLayerOptions,
  type LayerOptions,
  readLayerOptions,
} from "./layer-options.js";
import { moveAverages } from "./renorm.js";
import type { RunningUpdate } from "./running.js";
import { savedAccess } from "./saved.js";
import {
  type BroughtWeights,
  failForSlices,
  failForWeight,
  type ReadWeights,
  readWeights,
  WEIGHT_OPTIONS,
  type WeightOptions,
  withWeights,
} from "./weights.js";

const OPTIONS = /* @__PURE__ */ FORWARD_OPTIONS.concat("residual", WEIGHT_OPTIONS);

/** The inside of a layer. */
export class Engine extends LayerEngine<LayerOptions> {
  /** Ranks of x that `forward` takes; any, if `null`. */
  declare readonly ranks: readonly number[] | null;
  /**
   * Who gathers what the layer meets: while there is somebody, batches normalize by themselves, and
   * running statistics stay.
   */
  observer: ((moments: { count: number; mean: Float64Values; m2: Float64Values }) => void) | null =
    null;

  /** @throws BatchNormError as {@link readLayerOptions}, `out-of-memory` */
  constructor(
    owner: string,
    ranks: readonly number[] | null,
    numFeatures: number | null,
    options: BatchNormLayerOptions | null | undefined,
  ) {
    super(readLayerOptions(owner, options), Operation.Forward, savedAccess);
    this.ranks = ranks;
    if (numFeatures !== null) this.state.build(numFeatures, owner);
  }

  protected override get through(): BackThrough {
    return backThrough;
  }

  protected override get forwardOptions(): readonly string[] {
    return OPTIONS;
  }

  protected override readMore(given: WeightOptions, owner: string): ReadWeights | null {
    return readWeights(given, owner);
  }

  protected pass(
    owner: string,
    x: View,
    out: View | null,
    asked: unknown,
    residual: View | null,
    more: ReadWeights | BroughtWeights | null,
  ): View {
    const { state, options, observer } = this;
    // Who is observed needs no mode.
    const training = this.#modeOf(asked ?? (observer && false), owner);
    const { statistics, updateRunningStats, trackRunningStats } = options;
    const { shape, size } = x;
    const axis = this.axisOf(shape, owner);
    if (more !== null && "of" in more) {
      if (training && options.virtualBatchSize !== null) failForSlices(more, owner);
      return this.#weighted(owner, x, axis, out, asked, residual, more);
    }
    const weights = more;
    let byBatch =
      observer !== null ||
      statistics === "batch" ||
      (statistics === "auto" && (training || !trackRunningStats));
    let update = observer
      ? false
      : updateRunningStats === "auto"
        ? training && byBatch && trackRunningStats
        : updateRunningStats;
    // As PyTorch does: also in evaluation, where no running statistics are tracked.
    if (byBatch && (training || !trackRunningStats)) this.#checkTraining(shape, size, axis, owner);
    if (weights?.given === 0) {
      // There are no statistics of the batch.
      if (byBatch && !trackRunningStats) failForWeight(owner);
      byBatch = update = false;
    }

    const learned = state.numFeatures === null;
    if (learned) state.build(shape[axis] as number, owner);
    const { weight, bias, runningMean: mean, runningVar: variance } = state;
    const saved = this.last.toFill();
    try {
      const call = newCall(FORWARD_NAMES, Operation.Forward, owner, x, axis);
      const { operands } = call;
      operands[Place.DY] = residual;
      operands[Place.OUT] = out;
      operands[Place.WEIGHT] = weight;
      operands[Place.BIAS] = bias;
      call.eps = options.eps;
      activate(call, options.slope);
      const averages = options.renormStats && byBatch && !observer;
      if (averages) this.#checkAverages(call, training, !!update);
      const running = update && !averages ? this.#nextUpdate(mean as View, variance as View) : null;
      let y: View;
      const { renormMean, renormStd: std } = state;
      const towards = mean && variance && { mean: renormMean ?? mean, variance, std };
      const variant = training && !observer ? options : PLAIN;
      if (byBatch) y = runByBatch(call, running, weights, saved, variant, towards);
      else if (running) y = runByRunning(call, running, weights, saved);
      else {
        operands[Place.MEAN] = mean;
        operands[Place.VARIANCE] = variance;
        y = runCall(call, saved);
      }
      this.last.set(saved, x, y);
      if (observer && byBatch && size > 0) {
        const count = weights?.given ?? size / call.channels;
        const m2 = saved.values(SavedVector.VARIANCE, owner).map((variance) => variance * count);
        observer({ count, mean: saved.values(SavedVector.MEAN, owner), m2 });
      }
      if (update && averages && size > 0) {
        moveAverages(state, saved, options as LayerOptions & { momentum: number });
      }
      if (update && size > 0) state.numBatchesTracked += call.slices;
      return y;
    } catch (error) {
      if (learned) state.dispose();
      throw error;
    }
  }

  /** What the kernel has no part in, but is read and written around its call. */
  #checkAverages({ owner, names, operands }: Call<View>, training: boolean, update: boolean): void {
    const { state, options } = this;
    if (training && options.virtualBatchSize !== null) {
      fail("unsupported", `${owner}: the keras preset's renorm has no ghost batches`);
    }
    state.check(owner);
    const { runningMean, runningVar, runningStd, renormMean, renormStd } = state;
    for (const view of [runningMean, runningVar, runningStd, renormMean, renormStd]) {
      // What is read can be one of them where they stay.
      for (const place of update ? [Place.X, Place.DY, Place.OUT] : [Place.OUT]) {
        const one = operands[place];
        if (one && view && one.allocation === view.allocation && overlaps(one, view)) {
          fail("overlap", `${owner}: ${names[place]} overlaps an average of the layer`);
        }
      }
    }
  }

  /** Apart: whatever has a closure in it is slower. */
  #weighted(
    owner: string,
    x: View,
    axis: number,
    out: View | null,
    asked: unknown,
    residual: View | null,
    read: ReadWeights,
  ): View {
    const run = (weights: BroughtWeights | null) =>
      this.pass(owner, x, out, asked, residual, weights);
    return withWeights(read, owner, x, axis, run);
  }

  #modeOf(given: unknown, owner: string): boolean {
    const training = given ?? this.options.training;
    if (training === null) {
      fail(
        "mode",
        `${owner}: flax has no default mode: call train() or eval(), or pass { training }`,
      );
    }
    if (typeof training !== "boolean") checkOneOf(training, owner, "training");
    return training as boolean;
  }

  /** How the next batch moves the running statistics. */
  #nextUpdate(mean: View, variance: View): RunningUpdate {
    const { momentum, preset, runningVariance } = this.options;
    return {
      mean,
      variance,
      weight:
        momentum === null
          ? 1 / (this.state.numBatchesTracked + 1)
          : preset.momentumWeighs === "new"
            ? momentum
            : 1 - momentum,
      cumulative: momentum === null,
      unbiased: runningVariance === "unbiased",
    };
  }

  /** The channel axis, counted from 0, of a shape that the layer can take. */
  axisOf(shape: readonly number[], owner: string): number {
    const { ranks, state, options } = this;
    if (ranks) checkRank(shape, ranks, owner);
    const axis = resolveAxis(options.axis, shape.length, owner);
    state.checkChannels(shape, axis, ranks ? null : options.axis, owner);
    return axis;
  }

  #checkTraining(shape: readonly number[], size: number, axis: number, owner: string): void {
    const { preset, trackRunningStats, eps } = this.options;
    if (!preset.strictTraining) return;
    if (size > 0 && size === shape[axis]) {
      fail(
        "batch-too-small",
        `${owner}: expected more than 1 value per channel when training, got ${showShape(shape)}` +
          (trackRunningStats ? "; eval() takes the running statistics" : ""),
      );
    }
    if (eps === 0) {
      mustBe("invalid-option", `${owner}: eps`, "positive in torch training", 0);
    }
  }
}
