/**
 * What a batch norm layer does, over its state and the calls of `calls.ts`. The
 * layer that users see (`layer.ts`) is a shell around it.
 */

import { Operation } from "../core/abi.js";
import { bringIn, readOut, readTensor, roomFor, takeOut } from "../core/arguments.js";
import { checkAxis, checkEps, checkMomentum, checkOneOf } from "../core/checks.js";
import { portIn } from "../core/default-kernel.js";
import { fail, mustBe } from "../core/errors.js";
import { resolveAxis } from "../core/geometry.js";
import type { Port } from "../core/kernel.js";
import { Place } from "../core/operands.js";
import { readOptions } from "../core/options.js";
import type { PlainResult } from "../core/plain.js";
import { show, showShape } from "../core/show.js";
import { allocateVector, Tensor } from "../core/tensor.js";
import type { View } from "../core/view.js";
import {
  callOf,
  give,
  type RunningUpdate,
  runBackward,
  runForward,
  runFrozen,
  runTraining,
} from "./calls.js";
import type { BackwardOptions, BatchNormLayerOptions, ForwardOptions } from "./layer.js";
import { type Preset, presetOf } from "./presets.js";
import { savedOf } from "./records.js";
import { BatchNormSaved, SavedState } from "./saved.js";
import { BatchNormState } from "./state.js";

/** Which statistics normalize: by mode (`auto`), or always the batch's or the running ones. */
export type StatisticsSwitch = "auto" | "batch" | "running";

/** What of a layer may be set at any time. */
export interface Settings {
  training: boolean | null;
  eps: number;
  momentum: number | null;
  statistics: StatisticsSwitch;
  updateRunningStats: boolean | "auto";
  requiresGrad: boolean;
}

/** The values of the switches that don't take `true` and `false`, or not these alone. */
const VALUES: Record<string, readonly unknown[]> = {
  statistics: ["auto", "batch", "running"],
  updateRunningStats: [true, false, "auto"],
  runningVariance: ["biased", "unbiased"],
};

const OPTIONS = [
  ...["preset", "eps", "momentum", "affine", "scale", "offset", "trackRunningStats", "axis"],
  ...["runningVariance", "statistics", "updateRunningStats", "requiresGrad", "kernel"],
];
const FORWARD = ["out", "training"];
const BACKWARD = ["out", "saved"];

export class Engine {
  /** The name of the layer's class in error messages. */
  declare readonly owner: string;
  /** Ranks of x that `forward` takes; any, if `null`. */
  declare readonly ranks: readonly number[] | null;
  readonly axis: number;
  readonly runningVariance: "biased" | "unbiased";
  readonly trackRunningStats: boolean;
  declare readonly port: Port;
  declare readonly state: BatchNormState;
  readonly #preset: Preset;
  declare readonly settings: Settings;

  #saved: SavedState | null = null;
  /** What users have of it, and whether it is theirs: then it must not be overwritten. */
  #handle: BatchNormSaved | null = null;
  #taken = false;
  /** Which of the record's passes was the layer's: a function can have overwritten it since. */
  #pass = 0;
  #disposed = false;

  /** @throws BatchNormError `invalid-option`, `unknown-option`, `unsupported`, `out-of-memory` */
  constructor(
    owner: string,
    ranks: readonly number[] | null,
    numFeatures: number | null,
    options: BatchNormLayerOptions | null | undefined,
  ) {
    const given = readOptions(owner, options, OPTIONS);
    const preset = presetOf(given.preset ?? "torch", owner);
    this.owner = owner;
    this.ranks = ranks;
    this.#preset = preset;
    const affine = given.affine ?? true;
    const scale = given.scale ?? affine;
    const offset = given.offset ?? affine;
    this.trackRunningStats = given.trackRunningStats ?? true;
    this.axis = given.axis ?? preset.axis;
    this.runningVariance = given.runningVariance ?? preset.runningVariance;
    const { trackRunningStats, runningVariance } = this;
    const fixed = { affine, scale, offset, trackRunningStats, runningVariance };
    for (const [name, value] of Object.entries(fixed)) {
      checkOneOf(value, owner, name, VALUES[name]);
    }
    checkAxis(this.axis, owner);
    const { training, eps, momentum } = preset;
    const settings: Settings = {
      ...{ training, eps, momentum },
      ...{ statistics: "auto", updateRunningStats: "auto", requiresGrad: true },
    };
    this.settings = settings;
    for (const name of Object.keys(settings) as (keyof Settings)[]) {
      // (That a layer trains is no option.)
      const value = given[name as Exclude<keyof Settings, "training">];
      // Here null says something: the average of all batches.
      if (value != null || (value === null && name === "momentum")) this.set(name, value);
    }
    this.port = portIn(given.kernel, owner);
    this.state = new BatchNormState(this.port, preset.names, {
      weight: scale,
      bias: offset,
      runningMean: trackRunningStats,
      runningVar: trackRunningStats,
    });
    if (numFeatures !== null) this.state.build(numFeatures, owner);
  }

  /**
   * Sets what may be set.
   *
   * @throws BatchNormError `invalid-option`, `unsupported`
   */
  set<Name extends keyof Settings>(name: Name, value: Settings[Name]): void {
    const { owner, trackRunningStats } = this;
    if (name === "eps") checkEps(value, owner);
    else if (name !== "momentum") checkOneOf(value, owner, name, VALUES[name]);
    else if (value !== null) checkMomentum(value, owner);
    else if (this.#preset.momentumWeighs !== "new") {
      fail("unsupported", `${owner}: momentum null (cumulative) is of the torch preset`);
    }
    const needs = value === "running" || (value === true && name === "updateRunningStats");
    if (needs && !trackRunningStats) {
      fail("unsupported", `${owner}: ${name} ${show(value)} needs trackRunningStats`);
    }
    this.settings[name] = value;
  }

  forward(x: unknown, options: ForwardOptions | null | undefined): Tensor | PlainResult {
    const owner = this.checkLive("forward");
    const given = readOptions(owner, options, FORWARD);
    const training = this.#modeOf(given.training, owner);
    const read = readTensor(x, this.port, owner, "x");
    const plain = "values" in read;
    const out = readOut(given.out, plain, owner);
    const view = bringIn(read, this.port);
    try {
      const room = plain ? roomFor(view, owner) : null;
      const y = this.#forward(view, training, out, owner);
      if (plain) (this.#saved as SavedState).own(view);
      return plain ? takeOut(y, room) : y.tensor;
    } catch (error) {
      if (plain) view.dispose();
      throw error;
    }
  }

  /** Nothing of the user's runs any more from here on. */
  #forward(x: View, training: boolean, out: View | null, owner: string): View {
    this.checkLive("forward"); // a getter may have disposed it
    const { state, trackRunningStats } = this;
    const { statistics, updateRunningStats } = this.settings;
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
    const saved = this.#recordToFill();
    try {
      const { eps } = this.settings;
      const call = callOf(Operation.FORWARD, owner, x, axis, eps, weight, bias, out);
      const running = update ? this.#nextUpdate(mean as View, variance as View) : null;
      let y: View;
      if (byBatch) y = runTraining(call, running, saved);
      else if (running) y = runFrozen(call, running, saved);
      else {
        give(call, mean, variance);
        y = runForward(call, saved);
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
    const given = readOptions(owner, options, BACKWARD);
    const saved = this.#recordOf(given.saved, owner);
    const read = readTensor(dy, this.port, owner, "dy");
    const plain = "values" in read;
    const out = readOut(given.out, plain, owner);
    const view = bringIn(read, this.port);
    const { weight, bias } = this.state;
    let weightGrad: View | null = null;
    let biasGrad: View | null = null;
    try {
      this.checkLive("backward"); // a getter may have disposed it
      this.state.check(owner);
      const { operands } = saved.check(owner);
      if (operands[Place.WEIGHT] !== weight || operands[Place.BIAS] !== bias) {
        fail("invalid-option", `${owner}: saved is of another layer`);
      }
      const room = plain ? roomFor(view, owner) : null;
      weightGrad = this.#gradientOf(weight);
      biasGrad = this.#gradientOf(bias);
      const dx = runBackward(owner, view, saved, out, weightGrad, biasGrad);
      if (weight && weightGrad) weight.grad = weightGrad;
      if (bias && biasGrad) bias.grad = biasGrad;
      return plain ? takeOut(dx, room) : dx.tensor;
    } catch (error) {
      if (weightGrad !== weight?.grad) weightGrad?.dispose();
      if (biasGrad !== bias?.grad) biasGrad?.dispose();
      throw error;
    } finally {
      if (plain) view.dispose();
    }
  }

  /** The last record, still the layer's. */
  get saved(): BatchNormSaved | null {
    if (this.#saved === null) return null;
    this.#handle ??= new BatchNormSaved(this.#saved);
    return this.#handle;
  }

  /** The last record, the caller's from now on. */
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
    const owner = `${this.owner}.${method}`;
    if (this.#disposed) fail("disposed", `${owner}: the layer was disposed`);
    return owner;
  }

  #modeOf(given: unknown, owner: string): boolean {
    const training = given ?? this.settings.training;
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
    const { momentum } = this.settings;
    return {
      mean,
      variance,
      weight:
        momentum === null
          ? 1 / (this.state.numBatchesTracked + 1)
          : this.#preset.momentumWeighs === "new"
            ? momentum
            : 1 - momentum,
      unbiased: this.runningVariance === "unbiased",
    };
  }

  /** A record to overwrite: the last one, unless somebody has seen it. */
  #recordToFill(): SavedState {
    const last = this.#saved;
    return last !== null && this.#handle === null && last.gone === null
      ? last
      : new SavedState(this.port);
  }

  /** The last record gives way to another. */
  #replaceSaved(saved: SavedState | null): void {
    if (!this.#taken) this.#saved?.end(saved ? "stale" : "disposed");
    this.#saved = saved;
    this.#handle = null;
    this.#taken = false;
  }

  #recordOf(given: unknown, owner: string): SavedState {
    if (given == null) {
      const last = this.#saved ?? fail("stale", `${owner}: there was no forward pass`);
      if (last.pass !== this.#pass) fail("stale", `${owner}: saved has been overwritten`);
      return last;
    }
    return (
      savedOf(given) ?? mustBe("invalid-option", `${owner}: saved`, "what takeSaved() gave", given)
    );
  }

  /** Where a parameter's gradient is added: its own, or a new one that is not yet its. */
  #gradientOf(parameter: View | null): View | null {
    if (parameter === null || !this.settings.requiresGrad) return null;
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
    const axis = resolveAxis(this.axis, rank, owner);
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
        `${owner}: expected x with ${numFeatures} channels along axis ${this.axis}, ` +
          `got ${shape[axis]} in ${showShape(shape)}${remedy}`,
      );
    }
    return axis;
  }

  #checkTraining(shape: readonly number[], size: number, axis: number, owner: string): void {
    if (!this.#preset.strictTraining) return;
    if (size > 0 && size === shape[axis]) {
      fail(
        "batch-too-small",
        `${owner}: expected more than 1 value per channel when training, got ${showShape(shape)}` +
          (this.trackRunningStats ? "; eval() takes the running statistics" : ""),
      );
    }
    if (this.settings.eps === 0) {
      mustBe("invalid-option", `${owner}: eps`, "positive in torch training", 0);
    }
  }
}
