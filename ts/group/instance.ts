/**
 * Instance norm as a layer: group norm with a group for each channel, and running statistics.
 * PyTorch's has an entry for counted batches, but counts none.
 */
import { fail } from "../core/errors.js";
import { checkRank } from "../core/geometry.js";
import { setOption } from "../core/layer-options.js";
import { type Call, newCall, Place } from "../core/operands.js";
import { FORWARD_NAMES } from "../core/passes.js";
import { runCall } from "../core/run.js";
import { inside } from "../core/sample-norm.js";
import { type SavedState, SavedVector } from "../core/saved-state.js";
import { showShape } from "../core/show.js";
import { type Tensor, tensorOf } from "../core/tensor.js";
import type { View } from "../core/view.js";
import { Operation } from "../generated/abi.js";
import { GroupEngine } from "./engine.js";
import { ChannelNorm, groupsOf } from "./layer.js";
import {
  INSTANCE_OPTIONS,
  type InstanceNormLayerOptions,
  readLayerOptions,
  TORCH_INSTANCE_OPTIONS,
} from "./layer-options.js";
import { instanceNormPresets } from "./presets.js";

/** The inside of an instance norm layer. */
class InstanceEngine extends GroupEngine {
  /** Ranks of x, and those of it without samples; any, if `null`. */
  declare readonly ranks: readonly [batched: number, unbatched: number] | null;

  constructor(
    ranks: InstanceEngine["ranks"],
    owner: string,
    numFeatures: number | null,
    options: InstanceNormLayerOptions | null | undefined,
  ) {
    const known = ranks ? TORCH_INSTANCE_OPTIONS : INSTANCE_OPTIONS;
    super(readLayerOptions(owner, options, instanceNormPresets, known), null, numFeatures);
    this.ranks = ranks;
  }

  protected override axisOf(shape: readonly number[], owner: string): number {
    const { ranks } = this;
    if (ranks === null) return super.axisOf(shape, owner);
    checkRank(shape, ranks, owner);
    const axis = shape.length === ranks[1] ? 0 : 1;
    this.state.checkChannels(shape, axis, null, owner);
    return axis;
  }

  protected override checkSize(x: View, axis: number, training: boolean, owner: string): void {
    const samples = axis === 0 ? 1 : (x.shape[0] as number);
    const { trackRunningStats } = this.options;
    if ((training || !trackRunningStats) && x.size === samples * (x.shape[axis] as number)) {
      if (x.size === 0) return;
      fail(
        "batch-too-small",
        `${owner}: expected more than 1 value per channel of a sample, got ${showShape(x.shape)}`,
      );
    }
  }

  protected override run(call: Call<View>, saved: SavedState, training: boolean): View {
    const { state, options } = this;
    const { owner, axis, operands } = call;
    const { runningMean, runningVar } = state;
    if (!runningMean || !runningVar) return runCall(call, saved);
    const x = operands[Place.X] as View;
    if (!training) {
      // As batch norm does: these are the same for all samples.
      const constant = newCall<View>(FORWARD_NAMES, Operation.Forward, owner, x, axis);
      for (const place of [Place.OUT, Place.WEIGHT, Place.BIAS]) {
        constant.operands[place] = operands[place] as View | null;
      }
      constant.operands[Place.MEAN] = runningMean;
      constant.operands[Place.VARIANCE] = runningVar;
      constant.eps = call.eps;
      return runCall(constant, saved);
    }
    // Not the kernel's to write, but nothing is to be written over them.
    operands[Place.FIRST_ACCUMULATOR] = runningMean;
    operands[Place.SECOND_ACCUMULATOR] = runningVar;
    const y = runCall(call, saved);
    if (x.size > 0) {
      const values = x.size / (x.shape[axis] as number) / (axis === 0 ? 1 : (x.shape[0] as number));
      move(runningMean, saved, SavedVector.MEAN, options.momentum, 1);
      move(runningVar, saved, SavedVector.VARIANCE, options.momentum, values / (values - 1));
    }
    return y;
  }
}

/** Moves a running statistic towards the mean of the samples' own, times a correction. */
function move(
  running: View,
  saved: SavedState,
  vector: SavedVector,
  weight: number,
  correction: number,
): void {
  const own = saved.values(vector, "");
  const channels = running.size;
  const samples = own.length / channels;
  const moved = running.elements.map((old, channel) => {
    let sum = 0;
    for (let at = channel; at < own.length; at += channels) sum += own[at] as number;
    return old * (1 - weight) + weight * correction * (sum / samples);
  });
  running.elements.set(moved);
}

/**
 * Instance normalization as a layer: each channel of each sample is normalized by its own
 * statistics; with `trackRunningStats`, by running ones in evaluation. Of torch's there are no γ
 * and β unless `affine` is set.
 *
 * @example
 * const image = Tensor.from([1, 3, 10, 30], [1, 2, 2]);
 * const y = new InstanceNorm(2).forward(image);   // → Tensor([1, 2, 2]) { -1, 1, -1, 1 }
 * const norm = new InstanceNorm(64, { preset: "onnx" });   // with γ and β
 */
export class InstanceNorm extends ChannelNorm {
  /**
   * @param numFeatures number of channels; `null` to learn it from the first input
   * @throws BatchNormError `invalid-option`, `unknown-option`, `unsupported`, `out-of-memory`
   */
  constructor(numFeatures: number | null, options?: InstanceNormLayerOptions | null) {
    const { owner, ranks } = new.target.prototype;
    super(new InstanceEngine(ranks, owner, numFeatures, options));
  }

  /**
   * Number of channels, as {@link ChannelNorm.numChannels}; PyTorch's name.
   *
   * @example
   * new InstanceNorm(3).numFeatures;   // → 3
   */
  get numFeatures(): number | null {
    return this.numChannels;
  }

  /**
   * Whether there are running statistics.
   *
   * @example
   * new InstanceNorm(3).trackRunningStats;   // → false
   */
  get trackRunningStats(): boolean {
    return groupsOf(this).options.trackRunningStats;
  }

  /**
   * Weight of the new batch in the running statistics.
   *
   * @example
   * const norm = new InstanceNorm(3, { trackRunningStats: true });
   * norm.momentum;         // → 0.1
   * norm.momentum = 0.01;
   */
  get momentum(): number {
    return groupsOf(this).options.momentum;
  }

  set momentum(value: number) {
    setOption(groupsOf(this).options, "momentum", value);
  }

  /**
   * Running mean, `[C]`: of the samples' means; `null` without.
   *
   * @example
   * const norm = new InstanceNorm(2, { trackRunningStats: true });
   * norm.forward(Tensor.from([1, 3, 10, 30], [1, 2, 2]));
   * norm.runningMean;   // → Tensor([2]) { 0.2, 2 }
   */
  get runningMean(): Tensor | null {
    return tensorOf(inside(this).state.runningMean);
  }

  /**
   * Running variance, `[C]`: of the samples' unbiased variances; `null` without.
   *
   * @example
   * const norm = new InstanceNorm(2, { trackRunningStats: true });
   * norm.forward(Tensor.from([1, 3, 10, 30], [1, 2, 2]));
   * norm.runningVar;   // → Tensor([2]) { 1.1, 20.9 }
   */
  get runningVar(): Tensor | null {
    return tensorOf(inside(this).state.runningVar);
  }

  /**
   * Running mean 0, running variance 1.
   *
   * @throws BatchNormError `disposed`
   *
   * @example
   * const norm = new InstanceNorm(2, { trackRunningStats: true });
   * norm.forward(Tensor.from([1, 3, 10, 30], [1, 2, 2]));
   * norm.resetRunningStats();
   * norm.runningMean;   // → Tensor([2]) { 0, 0 }
   */
  resetRunningStats(): void {
    const engine = inside(this);
    engine.state.resetRunningStats(engine.checkLive("resetRunningStats"));
  }

  protected override get owner(): string {
    return "InstanceNorm";
  }

  /** Ranks of x that `forward` takes, and of one sample alone; any, if `null`. */
  protected get ranks(): readonly [number, number] | null {
    return null;
  }
}
