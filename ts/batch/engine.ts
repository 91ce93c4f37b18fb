/**
 * What a batch norm layer does, over its state and the calls of `calls.ts`. The
 * layer that users see (`layer.ts`) is a shell around it.
 */

import { bringIn, readOut, readTensor, roomFor, takeOut } from "../core/arguments.js";
import { checkOneOf } from "../core/checks.js";
import { portIn } from "../core/default-kernel.js";
import { fail, mustBe } from "../core/errors.js";
import { resolveAxis } from "../core/geometry.js";
import type { Port } from "../core/kernel.js";
import { newCall, Place } from "../core/operands.js";
import { readOptions } from "../core/options.js";
import type { PlainResult } from "../core/plain.js";
import { runCall } from "../core/run.js";
import { SavedState } from "../core/saved-state.js";
import { showShape } from "../core/show.js";
import { allocateVector, Tensor } from "../core/tensor.js";
import type { View } from "../core/view.js";
import { Operation } from "../generated/abi.js";
import { NAMES, type RunningUpdate, runBackward, runByBatch, runByRunning } from "./calls.js";
import {
  type BackwardOptions,
  type BatchNormLayerOptions,
  type ForwardOptions,
  LAYER_BACKWARD_OPTIONS,
  LAYER_FORWARD_OPTIONS,
  type LayerOptions,
  readLayerOptions,
} from "./layer-options.js";
import { BatchNormSaved, savedAccess } from "./saved.js";
import { SavedVector } from "./saved-access.js";
import { BatchNormState } from "./state.js";

/** The inside of a layer. */
export class Engine {
  /** Ranks of x that `forward` takes; any, if `null`. */
  declare readonly ranks: readonly number[] | null;
  declare readonly options: LayerOptions;
  declare readonly port: Port;
  declare readonly state: BatchNormState;

  #saved: SavedState | null = null;
  /** Whether they are the user's: then they must not be overwritten. */
  #taken = false;
  /** Which of their passes was the layer's: a function can have overwritten them since. */
  #pass = 0;
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
    this.state = new BatchNormState(this.port, this.options);
    if (numFeatures !== null) this.state.build(numFeatures, owner);
  }

  forward(x: unknown, options: ForwardOptions | null | undefined): Tensor | PlainResult {
    const owner = this.checkLive("forward");
    const given = readOptions(owner, options, LAYER_FORWARD_OPTIONS);
    const asked = given.training;
    const read = readTensor(x, this.port, owner, "x");
    const out = readOut(given.out, read, owner);
    const view = bringIn(read, this.port);
    try {
      const room = roomFor(view, read, owner);
      const y = this.#forward(owner, view, out, asked);
      if (view !== read) (this.#saved as SavedState).copy = view;
      return takeOut(y, read, room);
    } catch (error) {
      if (view !== read) view.dispose();
      throw error;
    }
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
    const saved = this.#savedToFill();
    try {
      const call = newCall(NAMES, Operation.Forward, owner, x, axis);
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
      if (saved !== this.#saved) {
        if (this.#saved && !this.#taken) saved.inherit(this.#saved, x, y);
        this.#replaceSaved(saved);
      }
      this.#pass = saved.pass;
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
    const asked = given.saved;
    const read = readTensor(dy, this.port, owner, "dy");
    const out = readOut(given.out, read, owner);
    const view = bringIn(read, this.port);
    const { weight, bias } = this.state;
    let weightGrad: View | null = null;
    let biasGrad: View | null = null;
    try {
      this.checkLive("backward"); // a getter may have disposed it
      this.state.check(owner);
      const pass = this.#savedFor(asked, owner).check(owner);
      if (pass.operands[Place.WEIGHT] !== weight || pass.operands[Place.BIAS] !== bias) {
        fail("invalid-option", `${owner}: saved is of another layer`);
      }
      const room = roomFor(view, read, owner);
      weightGrad = this.#gradientOf(weight);
      biasGrad = this.#gradientOf(bias);
      const dx = runBackward(owner, pass, view, out, weightGrad, biasGrad);
      if (weight && weightGrad) weight.grad = weightGrad;
      if (bias && biasGrad) bias.grad = biasGrad;
      return takeOut(dx, read, room);
    } catch (error) {
      if (weightGrad !== weight?.grad) weightGrad?.dispose();
      if (biasGrad !== bias?.grad) biasGrad?.dispose();
      throw error;
    } finally {
      if (view !== read) view.dispose();
    }
  }

  /** What was saved last, still the layer's. */
  get saved(): BatchNormSaved | null {
    const last = this.#saved;
    return last && ((last.handle ?? new BatchNormSaved(last)) as BatchNormSaved);
  }

  /** What was saved last, the caller's from now on. */
  takeSaved(owner: string): BatchNormSaved {
    const saved = this.saved ?? fail("stale", `${owner}: there was no forward pass`);
    if (!this.#taken) this.port.track(saved);
    this.#taken = true;
    return saved;
  }

  dispose(): void {
    this.#disposed = true;
    this.state.dispose();
    this.#replaceSaved(null);
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

  /** What to save to: what there is, unless somebody has seen it. */
  #savedToFill(): SavedState {
    const last = this.#saved;
    return last?.handle === null && last.gone === null
      ? last
      : new SavedState(this.port, SavedVector.COUNT);
  }

  /** What was saved last gives way to other values. */
  #replaceSaved(saved: SavedState | null): void {
    if (!this.#taken) this.#saved?.end(saved ? "stale" : "disposed");
    this.#saved = saved;
    this.#taken = false;
  }

  /** What was asked for, or what the last pass has saved. */
  #savedFor(given: unknown, owner: string): SavedState {
    if (given == null) {
      const last = this.#saved ?? fail("stale", `${owner}: there was no forward pass`);
      if (last.pass !== this.#pass) fail("stale", `${owner}: saved was overwritten`);
      return last;
    }
    return (
      savedAccess.inside(given) ??
      mustBe("invalid-option", `${owner}: saved`, "what takeSaved() gave", given)
    );
  }

  /** Where a parameter's gradient is added: its own, or a new one that is not yet its. */
  #gradientOf(parameter: View | null): View | null {
    if (parameter === null || !this.options.requiresGrad) return null;
    return parameter.grad ?? allocateVector(Tensor, this.port, parameter.size, 0);
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
    const { numFeatures } = this.state;
    if (numFeatures !== null && shape[axis] !== numFeatures) {
      const last = rank - 1;
      const remedy =
        axis !== last && shape[last] === numFeatures
          ? " (channels last? axis: -1)"
          : axis !== 1 && shape[1] === numFeatures
            ? " (channels first? axis: 1)"
            : "";
      fail(
        "shape-mismatch",
        `${owner}: expected x with ${numFeatures} channels along axis ${this.options.axis}, ` +
          `got ${shape[axis]} in ${showShape(shape)}${remedy}`,
      );
    }
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
