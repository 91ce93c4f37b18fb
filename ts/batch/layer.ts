import { fail } from "../core/errors.js";
import type { Kernel } from "../core/kernel.js";
import type { Parameter } from "../core/parameter.js";
import type { PlainResult, PlainTensor } from "../core/plain.js";
import type {
  LoadOptions,
  SavedStateDict,
  StateDict,
  StateDictOptions,
} from "../core/state-dict.js";
import { type Tensor, tensorOf } from "../core/tensor.js";
import { Engine } from "./engine.js";
import {
  type BackwardOptions,
  type BatchNormLayerOptions,
  type ForwardOptions,
  type StatisticsSwitch,
  setOption,
} from "./layer-options.js";
import type { BatchNormSaved } from "./saved.js";

// Apart, and not a private field with a friend: that would keep the class in every bundle.
const engines = /* @__PURE__ */ new WeakMap<object, Engine>();

/**
 * Batch normalization as a layer: parameters, running statistics and modes. A new layer
 * is in the mode in which the preset's framework has it: torch trains, keras and onnx
 * infer, flax has to be told.
 *
 * @example
 * const bn = new BatchNorm(64);                  // PyTorch's conventions
 * const y = bn.train().forward(x);
 * const dx = bn.backward(dy);                    // adds to bn.weight.grad, bn.bias.grad
 * const p = bn.eval().forward(x);                // running statistics
 */
export class BatchNorm {
  /** The kernel that it computes with. */
  readonly kernel: Kernel;
  /** What `Object.prototype.toString` says: who wraps plain objects in Proxies leaves it alone. */
  readonly [Symbol.toStringTag]: string = this.owner;

  /**
   * @param numFeatures number of channels; `null` to learn it from the first input
   * @throws BatchNormError `invalid-option`, `unknown-option`, `unsupported`, `out-of-memory`
   */
  constructor(numFeatures: number | null, options?: BatchNormLayerOptions | null) {
    const engine = new Engine(this.owner, this.ranks, numFeatures, options);
    engines.set(this, engine);
    // Its own, so that posting a layer to a worker throws and doesn't send an empty object.
    this.kernel = engine.port.kernel;
    // What Node's `console.log` shows. Not in the class, which would stay in every bundle.
    const inspect = Symbol.for("nodejs.util.inspect.custom");
    Object.defineProperty(this, inspect, { value: () => this.toString() });
  }

  /**
   * Whether in training mode; `train()` and `eval()` set it. `null`, of a new flax layer:
   * it was not told yet, and `forward` throws `mode`.
   */
  get training(): boolean | null {
    return inside(this).options.training;
  }

  set training(value: boolean) {
    setOption(inside(this).options, "training", value);
  }

  /** The channel axis, negative from the end. */
  get axis(): number {
    return inside(this).options.axis;
  }

  /** Added to the variance; finite, not negative. */
  get eps(): number {
    return inside(this).options.eps;
  }

  set eps(value: number) {
    setOption(inside(this).options, "eps", value);
  }

  /** See {@link BatchNormLayerOptions.momentum}. */
  get momentum(): number | null {
    return inside(this).options.momentum;
  }

  set momentum(value: number | null) {
    setOption(inside(this).options, "momentum", value);
  }

  /** Which variance the running one follows. */
  get runningVariance(): "biased" | "unbiased" {
    return inside(this).options.runningVariance;
  }

  /** Whether there are running statistics. */
  get trackRunningStats(): boolean {
    return inside(this).options.trackRunningStats;
  }

  /** Number of channels; `null` while it has to be learned from the first input. */
  get numFeatures(): number | null {
    return inside(this).state.numFeatures;
  }

  /** γ, `[C]`; `null` without. */
  get weight(): Parameter | null {
    return tensorOf(inside(this).state.weight) as Parameter | null;
  }

  /** β, `[C]`; `null` without. */
  get bias(): Parameter | null {
    return tensorOf(inside(this).state.bias) as Parameter | null;
  }

  /** Running mean, `[C]`; `null` without. */
  get runningMean(): Tensor | null {
    return tensorOf(inside(this).state.runningMean);
  }

  /** Running variance, `[C]`; `null` without. */
  get runningVar(): Tensor | null {
    return tensorOf(inside(this).state.runningVar);
  }

  /** Batches that moved the running statistics. */
  get numBatchesTracked(): number {
    return inside(this).state.numBatchesTracked;
  }

  /**
   * Which statistics normalize. `auto`: the batch's in training mode or where none
   * are tracked, else the running ones. `batch` in evaluation adapts to the test
   * data, `running` in training is "frozen" batch norm.
   */
  get statistics(): StatisticsSwitch {
    return inside(this).options.statistics;
  }

  set statistics(value: StatisticsSwitch) {
    setOption(inside(this).options, "statistics", value);
  }

  /** Whether `forward` moves the running statistics; `auto`: in training mode. */
  get updateRunningStats(): boolean | "auto" {
    return inside(this).options.updateRunningStats;
  }

  set updateRunningStats(value: boolean | "auto") {
    setOption(inside(this).options, "updateRunningStats", value);
  }

  /** Whether `backward` gathers the gradients of γ and β. */
  get requiresGrad(): boolean {
    return inside(this).options.requiresGrad;
  }

  set requiresGrad(value: boolean) {
    setOption(inside(this).options, "requiresGrad", value);
  }

  /**
   * Switches to training mode, or with `false` to evaluation.
   *
   * @example
   * bn.train().forward(x);
   */
  train(mode: boolean = true): this {
    setOption(inside(this).options, "training", mode);
    return this;
  }

  /**
   * Switches to evaluation: running statistics normalize and stay as they are.
   *
   * @example
   * bn.eval().forward(x);
   */
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
   * @throws BatchNormError `shape-mismatch`, `batch-too-small`, `mode`, `invalid-option`,
   *   `dtype`, `overlap`, `disposed`, `foreign-kernel`, `out-of-memory`; parameters
   *   and running statistics are untouched then
   *
   * @example
   * const y = bn.forward(x);
   * bn.forward(x, { out: x, training: false });
   */
  forward(x: Tensor, options?: ForwardOptions | null): Tensor;
  forward(x: PlainTensor, options?: ForwardOptions | null): PlainResult;
  forward(x: Tensor | PlainTensor, options?: ForwardOptions | null): Tensor | PlainResult;
  forward(x: Tensor | PlainTensor, options?: ForwardOptions | null): Tensor | PlainResult {
    return inside(this).forward(x, options);
  }

  /**
   * The gradient with respect to x; adds those of γ and β to their `.grad`, unless
   * `requiresGrad` is off. Running statistics that normalized x are constant to dx.
   *
   * @param dy of x's shape, or `{ data, shape }` of it
   * @param options `out`: where to write, a tensor of x's shape or dy itself;
   *   `saved`: which forward pass, default the last one
   * @returns `out`, or a new tensor of x's shape
   * @throws BatchNormError `stale` before any forward pass, or where x was overwritten
   *   since; `shape-mismatch`, `dtype`, `overlap`, `disposed`, `foreign-kernel`,
   *   `out-of-memory`; no `.grad` is touched then
   *
   * @example
   * const dx = bn.backward(dy);
   * const { weight } = bn;
   * if (weight?.grad) weight.set(descend(weight.data, weight.grad.data));
   * bn.zeroGrad();
   */
  backward(dy: Tensor, options?: BackwardOptions | null): Tensor;
  backward(dy: PlainTensor, options?: BackwardOptions | null): PlainResult;
  backward(dy: Tensor | PlainTensor, options?: BackwardOptions | null): Tensor | PlainResult;
  backward(dy: Tensor | PlainTensor, options?: BackwardOptions | null): Tensor | PlainResult {
    return inside(this).backward(dy, options);
  }

  /**
   * What the last forward pass saved, `null` before the first. It is the layer's: the next
   * forward pass ends it, and {@link BatchNorm.takeSaved} keeps it from that.
   *
   * @example
   * console.log(bn.saved?.mean);
   */
  get saved(): BatchNormSaved | null {
    return inside(this).saved;
  }

  /**
   * Takes what the last forward pass saved, for `backward` after other forward passes (shared
   * weights, micro-batches). It is the caller's from then on: dispose it, or use `scope`.
   *
   * @throws BatchNormError `stale` before the first forward pass, `disposed`
   *
   * @example
   * bn.forward(a);
   * const first = bn.takeSaved();
   * bn.forward(b);
   * bn.backward(db);
   * bn.backward(da, { saved: first });
   */
  takeSaved(): BatchNormSaved {
    const engine = inside(this);
    return engine.takeSaved(engine.checkLive("takeSaved"));
  }

  /**
   * Sets the gradients of γ and β to zero, if there are any.
   *
   * @throws BatchNormError `disposed`
   */
  zeroGrad(): void {
    const engine = inside(this);
    engine.state.zeroGrad(engine.checkLive("zeroGrad"));
  }

  /**
   * Running mean 0, running variance 1, no batches.
   *
   * @throws BatchNormError `disposed`
   */
  resetRunningStats(): void {
    const engine = inside(this);
    engine.state.resetRunningStats(engine.checkLive("resetRunningStats"));
  }

  /**
   * γ = 1, β = 0, and {@link BatchNorm.resetRunningStats}.
   *
   * @throws BatchNormError `disposed`
   */
  resetParameters(): void {
    const engine = inside(this);
    engine.state.resetParameters(engine.checkLive("resetParameters"));
  }

  /**
   * Copies of parameters and running statistics by their names in the preset's
   * framework, each behind `prefix`.
   *
   * @throws BatchNormError `not-built`, `disposed`, `invalid-option`
   *
   * @example
   * const dict = bn.stateDict({ prefix: "layer1.bn." });
   */
  stateDict(options?: StateDictOptions | null): SavedStateDict {
    const engine = inside(this);
    return engine.state.toDict(options, engine.checkLive("stateDict"));
  }

  /**
   * Sets parameters and running statistics, all or none.
   *
   * @param dict exactly the entries that `stateDict` gives, as tensors, float arrays,
   *   `number[]` or `{ data, shape }`; the batch count also as a `bigint`
   * @throws BatchNormError `state-dict`, `dtype`, `not-built`, `disposed`, `invalid-option`
   *
   * @example
   * const bn = new BatchNorm(64).loadStateDict(dict).eval();
   */
  loadStateDict(dict: StateDict, options?: LoadOptions | null): this {
    const engine = inside(this);
    engine.state.load(dict, options, engine.checkLive("loadStateDict"));
    return this;
  }

  /** Gives all memory back, that of gradients and saved values included. */
  dispose(): void {
    inside(this).dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  toString(): string {
    const { state, options } = inside(this);
    const { eps, momentum } = options;
    return `${this.owner}(${state.numFeatures ?? "?"}, eps=${eps}, momentum=${momentum})`;
  }

  /** The name of the class in error messages. */
  protected get owner(): string {
    return "BatchNorm";
  }

  /** Ranks of x that `forward` takes; any, if `null`. */
  protected get ranks(): readonly number[] | null {
    return null;
  }
}

/** The engine of `this`, which a Proxy has not. */
function inside(layer: BatchNorm): Engine {
  return (
    engines.get(layer) ??
    fail(
      "dtype",
      "this is no layer, a Proxy of one (Vue: toRaw), or of another copy of the package",
    )
  );
}
