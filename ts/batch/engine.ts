/**
 * What a batch norm layer does, over its state and the calls of `calls.ts`. The
 * layer that users see (`layer.ts`) is a shell around it.
 */

import { checkOneOf } from "../core/checks.js";
import { portIn } from "../core/default-kernel.js";
import { fail, mustBe } from "../core/errors.js";
import { resolveAxis } from "../core/geometry.js";
import type { Port } from "../core/kernel.js";
import { LastPass } from "../core/last-pass.js";
import { layerBackward, layerForward } from "../core/layer-passes.js";
import { LayerState } from "../core/layer-state.js";
import { newCall, Place } from "../core/operands.js";
import { readOptions } from "../core/options.js";
import { FORWARD_NAMES } from "../core/passes.js";
import type { PlainResult } from "../core/plain.js";
import { runCall } from "../core/run.js";
import { showShape } from "../core/show.js";
import type { Tensor } from "../core/tensor.js";
import type { View } from "../core/view.js";
import { Operation } from "../generated/abi.js";
import { type RunningUpdate, runByBatch, runByRunning } from "./calls.js";
import {
  type BackwardOptions,
  type BatchNormLayerOptions,
  type ForwardOptions,
  LAYER_BACKWARD_OPTIONS,
  LAYER_FORWARD_OPTIONS,
  type LayerOptions,
  readLayerOptions,
} from "./layer-options.js";
import { savedAccess } from "./saved.js";

/** The inside of a layer. */
export class Engine {
  /** Ranks of x that `forward` takes; any, if `null`. */
  declare readonly ranks: readonly number[] | null;
  declare readonly options: LayerOptions;
  declare readonly port: Port;
  declare readonly state: LayerState;
  declare readonly last: LastPass;

  #disposed = false;

  /** @throws BatchNormError as {@link readLayerOptions}, `out-of-memory` */
  constructor(
    owner: string,
    ranks: readonly number[] | null,
    numFeatures: number | null,
    options: BatchNormLayerOptions | null | undefined,
  ) {
    this.ranks = ranks;
    this.options = readLayerOptions(owner, options);
    this.port = portIn(this.options.kernel, owner);
    this.state = new LayerState(this.port, this.options.preset.names, this.options);
    this.last = new LastPass(this.port, Operation.Forward, savedAccess);
    if (numFeatures !== null) this.state.build(numFeatures, owner);
  }

  forward(x: unknown, options: ForwardOptions | null | undefined): Tensor | PlainResult {
    const owner = this.checkLive("forward");
    const given = readOptions(owner, options, LAYER_FORWARD_OPTIONS);
    const asked = given.training;
    return layerForward(owner, this, x, given.out, (x, out) => this.#forward(owner, x, out, asked));
  }

  /** Nothing of the user's runs any more from here on: what it can have changed is read here. */
  #forward(owner: string, x: View, out: View | null, asked: unknown): View {
    this.checkLive("forward"); // a getter may have disposed it
    const training = this.#modeOf(asked, owner);
    const { state, options } = this;
    const { statistics, updateRunningStats, trackRunningStats } = options;
    const { shape, size } = x;
    const axis = this.#axisOf(shape, owner);
    const byBatch =
      statistics === "batch" || (statistics === "auto" && (training || !trackRunningStats));
    const update =
      updateRunningStats === "auto" ? training && byBatch && trackRunningStats : updateRunningStats;
    // As PyTorch does: also in evaluation, where no running statistics are tracked.
    if (byBatch && (training || !trackRunningStats)) this.#checkTraining(shape, size, axis, owner);

    const learned = state.numFeatures === null;
    if (learned) state.build(shape[axis] as number, owner);
    const { weight, bias, runningMean: mean, runningVar: variance } = state;
    const saved = this.last.toFill();
    try {
      const call = newCall(FORWARD_NAMES, Operation.Forward, owner, x, axis);
      const { operands } = call;
      operands[Place.OUT] = out;
      operands[Place.WEIGHT] = weight;
      operands[Place.BIAS] = bias;
      call.eps = options.eps;
      const running = update ? this.#nextUpdate(mean as View, variance as View) : null;
      let y: View;
      if (byBatch) y = runByBatch(call, running, saved);
      else if (running) y = runByRunning(call, running, saved);
      else {
        operands[Place.MEAN] = mean;
        operands[Place.VARIANCE] = variance;
        y = runCall(call, saved);
      }
      this.last.set(saved, x, y);
      if (update && size > 0) state.numBatchesTracked += 1;
      return y;
    } catch (error) {
      if (learned) state.dispose();
      throw error;
    }
  }

  backward(dy: unknown, options: BackwardOptions | null | undefined): Tensor | PlainResult {
    const owner = this.checkLive("backward");
    const given = readOptions(owner, options, LAYER_BACKWARD_OPTIONS);
    return layerBackward(owner, this, dy, given, () => {
      this.checkLive("backward");
      return this.options.requiresGrad;
    });
  }

  dispose(): void {
    this.#disposed = true;
    this.state.dispose();
    this.last.end();
  }

  /** The method's name for error messages, where the layer is alive. */
  checkLive(method: string): string {
    const owner = `${this.options.owner}.${method}`;
    if (this.#disposed) fail("disposed", `${owner}: the layer was disposed`);
    return owner;
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
      unbiased: runningVariance === "unbiased",
    };
  }

  /** The channel axis, counted from 0, of a shape that the layer can take. */
  #axisOf(shape: readonly number[], owner: string): number {
    const rank = shape.length;
    if (this.ranks !== null && !this.ranks.includes(rank)) {
      fail(
        "shape-mismatch",
        `${owner}: expected x of rank ${this.ranks.join(" or ")}, got ${showShape(shape)}`,
      );
    }
    const axis = resolveAxis(this.options.axis, rank, owner);
    this.state.checkChannels(shape, axis, this.ranks ? null : this.options.axis, owner);
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
