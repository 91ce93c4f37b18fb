import {
  checkAxis,
  checkEps,
  checkMomentum,
  checkOneOf,
  checkTensor,
  fromPlain,
  isPlain,
  type PlainResult,
  type PlainTensor,
  resolveAxis,
  takeOut,
} from "./arguments.js";
import {
  moveRunning,
  type RunningUpdate,
  runBackward,
  runInference,
  runStatistics,
  runTraining,
} from "./batch-norm-run.js";
import { BatchNormState } from "./batch-norm-state.js";
import { checkNames, fail, show, showShape } from "./errors.js";
import { defaultKernel, type Kernel, type KernelOption } from "./kernel.js";
import { type Preset, type PresetName, presetOf } from "./presets.js";
import { BatchNormSaved } from "./saved.js";
import type { LoadOptions, SavedStateDict, StateDict } from "./state-dict.js";
import { allocateVector, copyIn, type Parameter, Tensor } from "./tensor.js";

/** Which statistics normalize: by mode (`auto`), or always the batch's or the running ones. */
export type StatisticsSwitch = "auto" | "batch" | "running";

/** Options of {@link BatchNorm}; what is absent follows the preset. */
export interface BatchNormLayerOptions extends KernelOption {
  /** Whose conventions to follow; default `torch`. */
  preset?: PresetName | undefined;
  /** Added to the variance; finite, not negative, and in torch training not 0. */
  eps?: number | undefined;
  /**
   * From 0 to 1: the weight of the new batch (torch), or of the old value (keras, onnx,
   * flax). `null`, in torch only: the average of all batches, each weighing the same.
   */
  momentum?: number | null | undefined;
  /** Whether there are γ and β; default true. */
  affine?: boolean | undefined;
  /** γ alone; default as `affine`. */
  scale?: boolean | undefined;
  /** β alone; default as `affine`. */
  offset?: boolean | undefined;
  /** Whether there are running statistics; without, the batch's normalize in both modes. */
  trackRunningStats?: boolean | undefined;
  /** The channel axis, negative from the end. */
  axis?: number | undefined;
  /** Which variance the running one follows. */
  runningVariance?: "biased" | "unbiased" | undefined;
  /** See {@link BatchNorm.statistics}; default `auto`. */
  statistics?: StatisticsSwitch | undefined;
  /** See {@link BatchNorm.updateRunningStats}; default `auto`. */
  updateRunningStats?: boolean | "auto" | undefined;
  /** See {@link BatchNorm.requiresGrad}; default true. */
  requiresGrad?: boolean | undefined;
}

const OPTIONS = [
  ...["preset", "eps", "momentum", "affine", "scale", "offset", "trackRunningStats", "axis"],
  ...["runningVariance", "statistics", "updateRunningStats", "requiresGrad", "kernel"],
];

const FORWARD = ["out", "training"];
const BACKWARD = ["out", "saved"];

/**
 * Batch normalization as a layer: parameters, running statistics and modes over
 * the calls of `batch-norm-run.ts`. New layers are in training mode.
 *
 * @example
 * const bn = new BatchNorm(64);                  // PyTorch's conventions
 * const y = bn.train().forward(x);
 * const dx = bn.backward(dy);                    // adds to bn.weight.grad, bn.bias.grad
 * const p = bn.eval().forward(x);                // running statistics
 */
export class BatchNorm {
  /** Whether in training mode; `train()` and `eval()` set it. */
  training = true;
  /** The channel axis, negative from the end. */
  readonly axis: number;
  /** Added to the variance. */
  readonly eps: number;
  /** See {@link BatchNormLayerOptions.momentum}. */
  readonly momentum: number | null;
  /** Which variance the running one follows. */
  readonly runningVariance: "biased" | "unbiased";
  /** Whether there are running statistics. */
  readonly trackRunningStats: boolean;
  readonly #preset: Preset;
  readonly #kernel: Kernel;
  readonly #state: BatchNormState;
  #statistics: StatisticsSwitch = "auto";
  #updateRunningStats: boolean | "auto" = "auto";
  #requiresGrad = true;

  #saved: BatchNormSaved | null = null;
  /** Whether someone else has the record, so that it must not be overwritten. */
  #savedIsOut = false;
  #disposed = false;

  /**
   * @param numFeatures number of channels; `null` to learn it from the first input
   * @throws BatchNormError `invalid-option`, `unknown-option`, `out-of-memory`
   */
  constructor(numFeatures: number | null, options: BatchNormLayerOptions = {}) {
    const owner = this.owner;
    checkNames(owner, options, OPTIONS);
    const preset = presetOf(options.preset ?? "torch", owner);
    const {
      eps = preset.eps,
      momentum = preset.momentum,
      affine = true,
      scale = affine,
      offset = affine,
      trackRunningStats = true,
      axis = preset.axis,
      runningVariance = preset.runningVariance,
      statistics = "auto",
      updateRunningStats = "auto",
      requiresGrad = true,
      kernel = defaultKernel(),
    } = options;
    checkEps(eps, owner);
    if (momentum !== null) checkMomentum(momentum, owner);
    else if (preset.momentumWeighs !== "new") {
      fail("invalid-option", `${owner}: momentum null (cumulative) belongs to the torch preset`);
    }
    checkAxis(axis, owner);
    for (const [name, value] of Object.entries({ affine, scale, offset, trackRunningStats })) {
      checkOneOf(value, [true, false], owner, name);
    }
    checkOneOf(runningVariance, ["biased", "unbiased"], owner, "runningVariance");
    this.#preset = preset;
    this.#kernel = kernel;
    this.eps = eps;
    this.momentum = momentum;
    this.axis = axis;
    this.runningVariance = runningVariance;
    this.trackRunningStats = trackRunningStats;
    this.#state = new BatchNormState(kernel, preset.names, {
      weight: scale,
      bias: offset,
      runningMean: trackRunningStats,
      runningVar: trackRunningStats,
    });
    this.statistics = statistics;
    this.updateRunningStats = updateRunningStats;
    this.requiresGrad = requiresGrad;
    if (numFeatures !== null) this.#state.build(numFeatures, owner);
  }

  /** Number of channels; `null` while it has to be learned from the first input. */
  get numFeatures(): number | null {
    return this.#state.numFeatures;
  }

  /** γ, `[C]`; `null` without. */
  get weight(): Parameter | null {
    return this.#state.weight;
  }

  /** β, `[C]`; `null` without. */
  get bias(): Parameter | null {
    return this.#state.bias;
  }

  /** Running mean, `[C]`; `null` without. */
  get runningMean(): Tensor | null {
    return this.#state.runningMean;
  }

  /** Running variance, `[C]`; `null` without. */
  get runningVar(): Tensor | null {
    return this.#state.runningVar;
  }

  /** Batches that moved the running statistics. */
  get numBatchesTracked(): number {
    return this.#state.numBatchesTracked;
  }

  /**
   * Which statistics normalize. `auto`: the batch's in training mode or where none
   * are tracked, else the running ones. `batch` in evaluation adapts to the test
   * data, `running` in training is "frozen" batch norm.
   */
  get statistics(): StatisticsSwitch {
    return this.#statistics;
  }

  set statistics(value: StatisticsSwitch) {
    checkOneOf(value, ["auto", "batch", "running"], this.owner, "statistics");
    if (value === "running" && !this.trackRunningStats) {
      fail("invalid-option", `${this.owner}: statistics "running" needs trackRunningStats`);
    }
    this.#statistics = value;
  }

  /** Whether `forward` moves the running statistics; `auto`: in training mode. */
  get updateRunningStats(): boolean | "auto" {
    return this.#updateRunningStats;
  }

  set updateRunningStats(value: boolean | "auto") {
    checkOneOf(value, [true, false, "auto"], this.owner, "updateRunningStats");
    if (value === true && !this.trackRunningStats) {
      fail("invalid-option", `${this.owner}: updateRunningStats needs trackRunningStats`);
    }
    this.#updateRunningStats = value;
  }

  /** Whether `backward` gathers the gradients of γ and β. */
  get requiresGrad(): boolean {
    return this.#requiresGrad;
  }

  set requiresGrad(value: boolean) {
    checkOneOf(value, [true, false], this.owner, "requiresGrad");
    this.#requiresGrad = value;
  }

  /** Switches to training mode, or with `false` to evaluation. */
  train(mode = true): this {
    checkOneOf(mode, [true, false], this.owner, "mode");
    this.training = mode;
    return this;
  }

  /** Switches to evaluation: running statistics normalize and stay as they are. */
  eval(): this {
    return this.train(false);
  }

  /**
   * Normalizes x. What `backward` needs is saved until the next call.
   *
   * @param x a tensor, or `{ data, shape }` at the cost of a copy in and out
   * @param options `out`: where to write, a tensor of x's shape or x itself;
   *   `training`: the mode of this call alone
   * @returns `out`, or a new tensor of x's shape
   * @throws BatchNormError `shape-mismatch`, `batch-too-small`, `invalid-option`,
   *   `dtype`, `overlap`, `disposed`, `foreign-kernel`, `out-of-memory`; parameters
   *   and running statistics are untouched then
   */
  forward(x: Tensor, options?: ForwardOptions): Tensor;
  forward(x: PlainTensor, options?: ForwardOptions): PlainResult;
  forward(x: Tensor | PlainTensor, options: ForwardOptions = {}): Tensor | PlainResult {
    const owner = this.#checkLive("forward");
    checkNames(owner, options, FORWARD);
    const { out, training = this.training } = options;
    if (typeof training !== "boolean") checkOneOf(training, [true, false], owner, "training");
    if (isPlain(x)) return this.#forwardPlain(x, options, owner);
    checkTensor(x, this.#kernel, owner, "x");
    this.#state.check(owner);
    const axis = this.#checkShape(x, owner);
    const byBatch =
      this.#statistics === "batch" ||
      (this.#statistics === "auto" && (training || !this.trackRunningStats));
    const update =
      this.#updateRunningStats === "auto"
        ? training && byBatch && this.trackRunningStats
        : this.#updateRunningStats;
    // As PyTorch does: also in evaluation, where no running statistics are tracked.
    if (byBatch && (training || !this.trackRunningStats)) this.#checkTraining(x, axis, owner);

    const learned = this.#state.numFeatures === null;
    if (learned) this.#state.build(x.shape[axis] as number, owner);
    const saved = this.#record();
    try {
      const { eps } = this;
      const { weight, bias } = this.#state;
      const running = update ? this.#nextUpdate() : null;
      const y = byBatch
        ? runTraining(owner, x, axis, eps, weight, bias, out, running, saved)
        : this.#byRunning(owner, x, axis, out, running, saved);
      if (saved !== this.#saved) this.#savedIsOut = false;
      this.#saved = saved;
      if (update && x.size > 0) this.#state.numBatchesTracked += 1;
      return y;
    } catch (error) {
      if (saved !== this.#saved) saved.dispose();
      if (learned) this.#state.dispose();
      throw error;
    }
  }

  /**
   * The gradient with respect to x; adds those of γ and β to their `.grad`, unless
   * `requiresGrad` is off. Constant statistics (evaluation, frozen) get none.
   *
   * @param dy of x's shape, or `{ data, shape }` of it
   * @param options `out`: where to write, a tensor of x's shape or dy itself;
   *   `saved`: which forward pass, default the last one
   * @returns `out`, or a new tensor of x's shape
   * @throws BatchNormError `stale` before any forward pass, or where x or the weight
   *   was overwritten since; `shape-mismatch`, `dtype`, `overlap`, `disposed`,
   *   `foreign-kernel`, `out-of-memory`; no `.grad` is touched then
   */
  backward(dy: Tensor, options?: BackwardOptions): Tensor;
  backward(dy: PlainTensor, options?: BackwardOptions): PlainResult;
  backward(dy: Tensor | PlainTensor, options: BackwardOptions = {}): Tensor | PlainResult {
    const owner = this.#checkLive("backward");
    checkNames(owner, options, BACKWARD);
    this.#state.check(owner);
    const { out, saved = this.#saved } = options;
    if (saved === null) fail("stale", `${owner}: there was no forward pass`);
    if (!(saved instanceof BatchNormSaved)) {
      fail("invalid-option", `${owner}: saved must be what layer.saved gave, got ${show(saved)}`);
    }
    saved.check(owner);
    if (saved.weight !== this.#state.weight) {
      fail("invalid-option", `${owner}: saved is of another layer's forward pass`);
    }
    if (isPlain(dy)) {
      const copy = fromPlain(dy, out, this.#kernel, owner, "dy");
      try {
        return takeOut(this.backward(copy, options));
      } finally {
        copy.dispose();
      }
    }
    let weightGrad: Tensor | null = null;
    let biasGrad: Tensor | null = null;
    try {
      weightGrad = this.#gradientOf(this.#state.weight);
      biasGrad = this.#gradientOf(this.#state.bias);
      const dx = runBackward(owner, dy, saved, out, weightGrad, biasGrad);
      if (this.#state.weight && weightGrad) this.#state.weight.grad = weightGrad;
      if (this.#state.bias && biasGrad) this.#state.bias.grad = biasGrad;
      return dx;
    } catch (error) {
      if (weightGrad !== this.#state.weight?.grad) weightGrad?.dispose();
      if (biasGrad !== this.#state.bias?.grad) biasGrad?.dispose();
      throw error;
    }
  }

  /**
   * What the last forward pass saved, `null` before the first: hand it to `backward`
   * after other forward passes (shared weights, micro-batches). Who reads it owns
   * it: dispose it, or leave it to the garbage collector.
   */
  get saved(): BatchNormSaved | null {
    this.#savedIsOut = this.#saved !== null;
    return this.#saved;
  }

  /** Sets the gradients of γ and β to zero, if there are any. */
  zeroGrad(): void {
    this.#state.zeroGrad(this.#checkLive("zeroGrad"));
  }

  /** Running mean 0, running variance 1, no batches. */
  resetRunningStats(): void {
    this.#state.resetRunningStats(this.#checkLive("resetRunningStats"));
  }

  /** γ = 1, β = 0, and {@link BatchNorm.resetRunningStats}. */
  resetParameters(): void {
    this.#state.resetParameters(this.#checkLive("resetParameters"));
  }

  /**
   * Copies of parameters and running statistics by their names in the preset's
   * framework, each behind `prefix`.
   *
   * @throws BatchNormError `not-built`, `disposed`
   */
  stateDict({ prefix = "" }: { prefix?: string | undefined } = {}): SavedStateDict {
    return this.#state.toDict(prefix, this.#checkLive("stateDict"));
  }

  /**
   * Sets parameters and running statistics, all or none.
   *
   * @param dict exactly the entries that `stateDict` gives, as tensors, typed arrays,
   *   `number[]` or `{ data, shape }`; the batch count also as a `bigint`
   * @throws BatchNormError `state-dict`, `dtype`, `not-built`, `disposed`
   */
  loadStateDict(dict: StateDict, options: LoadOptions = {}): this {
    const owner = this.#checkLive("loadStateDict");
    checkNames(owner, options, ["prefix", "allowNonFinite"]);
    this.#state.load(dict, options, owner);
    return this;
  }

  /** Gives all memory back, that of gradients and saved values included. */
  dispose(): void {
    this.#disposed = true;
    this.#state.dispose();
    if (!this.#savedIsOut) this.#saved?.dispose();
    this.#saved = null;
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  toString(): string {
    return `${this.owner}(${this.#state.numFeatures ?? "?"}, eps=${this.eps}, momentum=${this.momentum})`;
  }

  /** The name of the class in error messages. */
  protected get owner(): string {
    return "BatchNorm";
  }

  /** Ranks of x that `forward` takes; any, if `null`. */
  protected get ranks(): readonly number[] | null {
    return null;
  }

  #byRunning(
    owner: string,
    x: Tensor,
    axis: number,
    out: Tensor | undefined,
    running: RunningUpdate | null,
    saved: BatchNormSaved,
  ): Tensor {
    const { eps } = this;
    const { weight, bias } = this.#state;
    const [mean, variance] = [this.#state.runningMean as Tensor, this.#state.runningVar as Tensor];
    if (!running) {
      return runInference(owner, x, axis, eps, mean, variance, weight, bias, out, saved);
    }
    // The batch's statistics are taken before x may be overwritten, and move the running
    // ones after these have normalized; backward will need them as they were.
    const batch = new BatchNormSaved(this.#kernel);
    const before: Tensor[] = [];
    try {
      for (const one of [mean, variance]) before.push(copyOf(one));
      runStatistics(owner, x, axis, running, batch);
      const [oldMean, oldVariance] = before as [Tensor, Tensor];
      const y = runInference(owner, x, axis, eps, oldMean, oldVariance, weight, bias, out, saved);
      moveRunning(running, batch);
      for (const one of before) saved.own(one);
      return y;
    } catch (error) {
      for (const one of before) one.dispose();
      throw error;
    } finally {
      batch.dispose();
    }
  }

  /** How the next batch moves the running statistics. */
  #nextUpdate(): RunningUpdate {
    const { momentum } = this;
    return {
      mean: this.#state.runningMean as Tensor,
      variance: this.#state.runningVar as Tensor,
      weight:
        momentum === null
          ? 1 / (this.#state.numBatchesTracked + 1)
          : this.#preset.momentumWeighs === "new"
            ? momentum
            : 1 - momentum,
      unbiased: this.runningVariance === "unbiased",
    };
  }

  /** A record to overwrite: the last one, unless someone else has it. */
  #record(): BatchNormSaved {
    const reusable = this.#saved !== null && !this.#savedIsOut && !this.#saved.disposed;
    return reusable ? (this.#saved as BatchNormSaved) : new BatchNormSaved(this.#kernel);
  }

  #forwardPlain(x: PlainTensor, options: ForwardOptions, owner: string): PlainResult {
    const copy = fromPlain(x, options.out, this.#kernel, owner, "x");
    let y: Tensor;
    try {
      y = this.forward(copy, options);
    } catch (error) {
      copy.dispose();
      throw error;
    }
    this.#saved?.own(copy);
    return takeOut(y);
  }

  /** Where a parameter's gradient is added: its own, or a new one that is not yet its. */
  #gradientOf(parameter: Parameter | null): Tensor | null {
    if (parameter === null || !this.#requiresGrad) return null;
    return parameter.grad ?? allocateVector(Tensor, this.#kernel, parameter.size, 0);
  }

  /** The method's name for error messages, where the layer is alive. */
  #checkLive(method: string): string {
    const owner = `${this.owner}.${method}`;
    if (this.#disposed) fail("disposed", `${owner}: the layer was disposed`);
    return owner;
  }

  /** The channel axis, counted from 0, of an x that the layer can take. */
  #checkShape(x: Tensor, owner: string): number {
    const rank = x.shape.length;
    if (this.ranks !== null && !this.ranks.includes(rank)) {
      fail(
        "shape-mismatch",
        `${owner}: expected x of rank ${this.ranks.join(" or ")}, got ${showShape(x.shape)}`,
      );
    }
    const axis = resolveAxis(this.axis, rank, owner);
    const channels = x.shape[axis];
    if (this.#state.numFeatures !== null && channels !== this.#state.numFeatures) {
      fail(
        "shape-mismatch",
        `${owner}: expected x with ${this.#state.numFeatures} channels along axis ${this.axis}, ` +
          `got ${channels} in ${showShape(x.shape)}`,
      );
    }
    return axis;
  }

  #checkTraining(x: Tensor, axis: number, owner: string): void {
    if (!this.#preset.strictTraining) return;
    if (x.size > 0 && x.size === x.shape[axis]) {
      fail(
        "batch-too-small",
        `${owner}: expected more than 1 value per channel when training, got ${showShape(x.shape)}`,
      );
    }
    if (this.eps === 0) {
      fail("invalid-option", `${owner}: eps must be positive in training, as in PyTorch`);
    }
  }
}

/** Options of {@link BatchNorm.forward}. */
export interface ForwardOptions {
  /** Where to write y: a tensor of x's shape, or x itself. */
  out?: Tensor | undefined;
  /** The mode of this call alone. */
  training?: boolean | undefined;
}

/** Options of {@link BatchNorm.backward}. */
export interface BackwardOptions {
  /** Where to write dx: a tensor of x's shape, or dy itself. */
  out?: Tensor | undefined;
  /** Which forward pass; default the last one. */
  saved?: BatchNormSaved | undefined;
}

function copyOf(tensor: Tensor): Tensor {
  return copyIn(tensor.toFloat32Array(), tensor.shape, tensor.kernel, "BatchNorm");
}
