import { fail } from "../core/errors.js";
import type { Kernel } from "../core/kernel.js";
import type { Parameter } from "../core/parameter.js";
import type { PlainResult, PlainTensor } from "../core/plain.js";
import type {
  LoadOptions,
  LoadReport,
  SavedStateDict,
  StateDictOptions,
  StateDictSource,
} from "../core/state-dict.js";
import { type Tensor, tensorOf } from "../core/tensor.js";
import type { Activation } from "./activation.js";
import { Engine } from "./engine.js";
import {
  type BackwardOptions,
  type BatchNormLayerOptions,
  type ForwardOptions,
  type StatisticsSwitch,
  setOption,
  setRenorm,
} from "./layer-options.js";
import { type RenormLimits, type RenormOptions, readRenorm } from "./renorm.js";
import type { BatchNormSaved } from "./saved.js";

// Apart, and not a private field with a friend: that would keep the class in every bundle.
const engines = /* @__PURE__ */ new WeakMap<object, Engine>();

/**
 * Batch normalization as a layer: parameters, running statistics and modes. A new layer
 * is in the mode in which the preset's framework has it: torch trains, keras and onnx
 * infer, flax has to be told.
 *
 * @example
 * const x = Tensor.from([1, 2, 3, 3, 6, 9], [2, 3]);
 * const bn = new BatchNorm(3);       // PyTorch's conventions
 * const y = bn.train().forward(x);   // → Tensor([2, 3]) { -1, -1, -1, 1, 1, 1 }
 * const dx = bn.backward(dy);        // adds to bn.weight.grad, bn.bias.grad
 * const p = bn.eval().forward(x);    // by the running statistics
 */
export class BatchNorm {
  /**
   * The kernel that it computes with.
   *
   * @example
   * bn.kernel === defaultKernel();   // → true
   */
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
   *
   * @example
   * bn.training;                                     // → true
   * bn.eval().training;                              // → false
   * new BatchNorm(3, { preset: "flax" }).training;   // → null
   */
  get training(): boolean | null {
    return engineOf(this).options.training;
  }

  set training(value: boolean) {
    setOption(engineOf(this).options, "training", value);
  }

  /**
   * The channel axis, negative from the end.
   *
   * @example
   * bn.axis;                                      // → 1
   * new BatchNorm(3, { preset: "keras" }).axis;   // → -1
   */
  get axis(): number {
    return engineOf(this).options.axis;
  }

  /**
   * Added to the variance; finite, not negative.
   *
   * @example
   * bn.eps;          // → 0.00001
   * bn.eps = 1e-3;   // for the calls from here on
   */
  get eps(): number {
    return engineOf(this).options.eps;
  }

  set eps(value: number) {
    setOption(engineOf(this).options, "eps", value);
  }

  /**
   * See {@link BatchNormLayerOptions.momentum}.
   *
   * @example
   * bn.momentum;          // → 0.1
   * bn.momentum = null;   // the average of all batches, each weighing the same
   * bn.forward(x);
   * bn.runningMean;       // → Tensor([3]) { 2, 4, 6 }
   */
  get momentum(): number | null {
    return engineOf(this).options.momentum;
  }

  set momentum(value: number | null) {
    setOption(engineOf(this).options, "momentum", value);
  }

  /**
   * Which variance the running one follows.
   *
   * @example
   * bn.runningVariance;                                      // → "unbiased"
   * new BatchNorm(3, { preset: "keras" }).runningVariance;   // → "biased"
   */
  get runningVariance(): "biased" | "unbiased" {
    return engineOf(this).options.runningVariance;
  }

  /**
   * What comes after the norm; `null` of nothing.
   *
   * @example
   * const bn = new BatchNorm(3, { activation: "relu" });
   * bn.activation;   // → "relu"
   * bn.forward(x);   // → Tensor([2, 3]) { 0, 0, 0, 1, 1, 1 }
   */
  get activation(): Activation | null {
    return engineOf(this).options.activation;
  }

  /**
   * Of `leaky-relu`; `null` of anything else.
   *
   * @example
   * new BatchNorm(3, { activation: "leaky-relu" }).negativeSlope;   // → 0.01
   */
  get negativeSlope(): number | null {
    const { activation, slope } = engineOf(this).options;
    return activation === "leaky-relu" ? slope : null;
  }

  /**
   * Whether there are running statistics.
   *
   * @example
   * const bn = new BatchNorm(3, { trackRunningStats: false });
   * bn.trackRunningStats;   // → false
   * bn.runningMean;         // → null
   */
  get trackRunningStats(): boolean {
    return engineOf(this).options.trackRunningStats;
  }

  /**
   * Number of channels; `null` while it has to be learned from the first input.
   *
   * @example
   * const bn = new BatchNorm(null);
   * bn.numFeatures;   // → null
   * bn.forward(x);
   * bn.numFeatures;   // → 3
   */
  get numFeatures(): number | null {
    return engineOf(this).state.numFeatures;
  }

  /**
   * γ, `[C]`; `null` without.
   *
   * @example
   * bn.weight;                   // → Parameter([3]) { 1, 1, 1 }
   * bn.weight?.set([2, 2, 2]);
   * bn.forward(x);               // → Tensor([2, 3]) { -2, -2, -2, 2, 2, 2 }
   */
  get weight(): Parameter | null {
    return tensorOf(engineOf(this).state.weight) as Parameter | null;
  }

  /**
   * β, `[C]`; `null` without.
   *
   * @example
   * bn.bias?.set([10, 10, 10]);   // → Parameter([3]) { 10, 10, 10 }
   * bn.forward(x);                // → Tensor([2, 3]) { 9, 9, 9, 11, 11, 11 }
   */
  get bias(): Parameter | null {
    return tensorOf(engineOf(this).state.bias) as Parameter | null;
  }

  /**
   * Running mean, `[C]`; `null` without.
   *
   * @example
   * bn.forward(x);    // its means are 2, 4 and 6
   * bn.runningMean;   // → Tensor([3]) { 0.2, 0.4, 0.6 }
   */
  get runningMean(): Tensor | null {
    return tensorOf(engineOf(this).state.runningMean);
  }

  /**
   * Running variance, `[C]`; `null` without.
   *
   * @example
   * bn.forward(x);    // its unbiased variances are 2, 8 and 18
   * bn.runningVar;    // → Tensor([3]) { 1.1, 1.7, 2.7 }
   */
  get runningVar(): Tensor | null {
    return tensorOf(engineOf(this).state.runningVar);
  }

  /**
   * Batches, or slices of them, that moved the running statistics.
   *
   * @example
   * bn.train().forward(x);
   * bn.eval().forward(x);
   * bn.numBatchesTracked;   // → 1
   */
  get numBatchesTracked(): number {
    return engineOf(this).state.numBatchesTracked;
  }

  /**
   * Which statistics normalize. `auto`: the batch's in training mode or where none
   * are tracked, else the running ones. `batch` in evaluation adapts to the test
   * data, `running` in training is "frozen" batch norm.
   *
   * @example
   * bn.statistics = "running";   // frozen, for fine-tuning
   * bn.train().forward(x);       // → Tensor([2, 3]) { 1, 2, 3, 3, 6, 9 }
   * bn.statistics = "batch";     // adapts to the test data
   * bn.eval().forward(x);        // → Tensor([2, 3]) { -1, -1, -1, 1, 1, 1 }
   */
  get statistics(): StatisticsSwitch {
    return engineOf(this).options.statistics;
  }

  set statistics(value: StatisticsSwitch) {
    setOption(engineOf(this).options, "statistics", value);
  }

  /**
   * Whether `forward` moves the running statistics; `auto`: in training mode.
   *
   * @example
   * bn.updateRunningStats = false;
   * bn.train().forward(x);
   * bn.runningMean;   // → Tensor([3]) { 0, 0, 0 }
   */
  get updateRunningStats(): boolean | "auto" {
    return engineOf(this).options.updateRunningStats;
  }

  set updateRunningStats(value: boolean | "auto") {
    setOption(engineOf(this).options, "updateRunningStats", value);
  }

  /**
   * Whether `backward` gathers the gradients of γ and β.
   *
   * @example
   * bn.requiresGrad = false;
   * bn.forward(x);
   * const dx = bn.backward(dy);
   * bn.weight?.grad;   // → null
   */
  get requiresGrad(): boolean {
    return engineOf(this).options.requiresGrad;
  }

  set requiresGrad(value: boolean) {
    setOption(engineOf(this).options, "requiresGrad", value);
  }

  /**
   * γ and β, those that there are: for an optimizer, and what weight decay leaves out.
   *
   * @example
   * bn.parameters();   // → [Parameter([3]) { 1, 1, 1 }, Parameter([3]) { 0, 0, 0 }]
   */
  parameters(): Parameter[] {
    return [this.weight, this.bias].filter((one) => one !== null);
  }

  /**
   * Ghost batches (Hoffer et al. 2017, arXiv:1705.08741): in training, where the batch's statistics
   * normalize, consecutive slices of so many samples, along the first axis, are normalized each by
   * itself, and move running statistics one after the other. The last slice may be shorter. `null`:
   * the whole batch.
   *
   * @example
   * const bn = new BatchNorm(3, { virtualBatchSize: 16 });
   * bn.forward(Tensor.zeros([40, 3]));   // 16, 16 and 8 samples
   * bn.numBatchesTracked;                // → 3
   * bn.virtualBatchSize = null;
   */
  get virtualBatchSize(): number | null {
    return engineOf(this).options.virtualBatchSize;
  }

  set virtualBatchSize(value: number | null) {
    setOption(engineOf(this).options, "virtualBatchSize", value);
  }

  /**
   * Batch renormalization (Ioffe 2017, arXiv:1702.03275): in training, where the batch's statistics
   * normalize, how far y is corrected towards what the running ones, before this batch moves them,
   * would give: y = γ·(r·x̂ + d) + β with r from rMin to rMax and |d| ≤ dMax. `null`: not at all.
   * Of the keras preset it has averages of its own, and has to be told to the constructor.
   *
   * @example
   * const bn = new BatchNorm(3, { renorm: { rMax: 3, dMax: 5 } });
   * bn.renorm;                       // → { rMin: 0.3333, rMax: 3, dMax: 5 }
   * bn.forward(x);
   * bn.saved?.renorm?.r;             // → Float64Array [1, 2, 3]
   * bn.renorm = renormSchedule(0);   // as the paper relaxes it from step to step
   */
  get renorm(): RenormLimits | null {
    return engineOf(this).options.renorm;
  }

  set renorm(value: RenormOptions | null) {
    const { options } = engineOf(this);
    setRenorm(options, readRenorm(value, this.owner, options.preset));
  }

  /**
   * Switches to training mode, or with `false` to evaluation.
   *
   * @example
   * bn.train().forward(x);      // → Tensor([2, 3]) { -1, -1, -1, 1, 1, 1 }
   * bn.train(false).training;   // → false
   */
  train(mode: boolean = true): this {
    setOption(engineOf(this).options, "training", mode);
    return this;
  }

  /**
   * Switches to evaluation: running statistics normalize and stay as they are.
   *
   * @example
   * bn.eval().forward(x);   // → Tensor([2, 3]) { 1, 2, 3, 3, 6, 9 }
   */
  eval(): this {
    return this.train(false);
  }

  /**
   * Normalizes x. What `backward` needs is saved until the next call.
   *
   * @param x a tensor, or `{ data, shape }` at the cost of a copy in and out
   * @param options `out`: where to write, a tensor of x's shape or x itself;
   *   `training`: the mode of this call alone; `mask`, `weights`: which positions of x the batch's
   *   statistics count, and how much; `residual`: what to add before the activation
   * @returns `out`, or a new tensor of x's shape
   * @throws BatchNormError `shape-mismatch`, `batch-too-small`, `mode`, `invalid-option`,
   *   `dtype`, `overlap`, `disposed`, `foreign-kernel`, `out-of-memory`, `unsupported` for a mask beside
   *   `virtualBatchSize`; parameters and running statistics are untouched then
   *
   * @example
   * bn.forward(x);                                // → Tensor([2, 3]) { -1, -1, -1, 1, 1, 1 }
   * bn.forward(x, { out: x, training: false });   // in place, by the running statistics
   * bn.forward(x, { mask: [1, 0] });              // by the statistics of the first row
   * const { data, shape } = bn.forward({ data: pixels, shape: [784, 3] });
   * bn.forward(x, { residual: dy });              // the norm's result + dy
   */
  forward(x: Tensor, options?: ForwardOptions | null): Tensor;
  forward(x: PlainTensor, options?: ForwardOptions | null): PlainResult;
  forward(x: Tensor | PlainTensor, options?: ForwardOptions | null): Tensor | PlainResult;
  forward(x: Tensor | PlainTensor, options?: ForwardOptions | null): Tensor | PlainResult {
    return engineOf(this).forward(x, options);
  }

  /**
   * The gradient with respect to x; adds those of γ and β to their `.grad`, unless
   * `requiresGrad` is off. Running statistics that normalized x are constant to dx.
   *
   * @param dy of x's shape, or `{ data, shape }` of it
   * @param options `out`: where to write, a tensor of x's shape or dy itself;
   *   `saved`: which forward pass, default the last one; `residualGrad`: where to write the
   *   residual's gradient, a tensor of x's shape or dy itself
   * @returns `out`, or a new tensor of x's shape
   * @throws BatchNormError `stale` before any forward pass, or where x was overwritten
   *   since, or of an activation y; `shape-mismatch`, `dtype`, `overlap`, `disposed`, `foreign-kernel`,
   *   `out-of-memory`; no `.grad` is touched then
   *
   * @example
   * bn.forward(x);
   * const dx = bn.backward(dy);
   * bn.bias?.grad;   // → Tensor([3]) { 3, 5, 7 }
   * bn.backward(dy, { out: dy });
   * bn.bias?.grad;   // → Tensor([3]) { 6, 10, 14 }
   */
  backward(dy: Tensor, options?: BackwardOptions | null): Tensor;
  backward(dy: PlainTensor, options?: BackwardOptions | null): PlainResult;
  backward(dy: Tensor | PlainTensor, options?: BackwardOptions | null): Tensor | PlainResult;
  backward(dy: Tensor | PlainTensor, options?: BackwardOptions | null): Tensor | PlainResult {
    return engineOf(this).backward(dy, options);
  }

  /**
   * What the last forward pass saved, `null` before the first. It is the layer's: the next
   * forward pass ends it, and {@link BatchNorm.takeSaved} keeps it from that.
   *
   * @example
   * bn.saved;         // → null
   * bn.forward(x);
   * bn.saved?.mean;   // → Float64Array [2, 4, 6]
   */
  get saved(): BatchNormSaved | null {
    return engineOf(this).last.handle as BatchNormSaved | null;
  }

  /**
   * Takes what the last forward pass saved, for `backward` after other forward passes (shared
   * weights, micro-batches). It is the caller's from then on: dispose it, or use `scope`.
   *
   * @throws BatchNormError `stale` before the first forward pass, `disposed`
   *
   * @example
   * bn.forward(x);
   * using first = bn.takeSaved();
   * bn.forward(Tensor.zeros([4, 3]));   // another micro-batch
   * const dx = bn.backward(dy, { saved: first });
   */
  takeSaved(): BatchNormSaved {
    const engine = engineOf(this);
    return engine.last.take(engine.checkLive("takeSaved")) as BatchNormSaved;
  }

  /**
   * Sets the gradients of γ and β to zero, if there are any.
   *
   * @throws BatchNormError `disposed`
   *
   * @example
   * bn.forward(x);
   * bn.backward(dy);
   * bn.zeroGrad();
   * bn.weight?.grad;   // → Tensor([3]) { 0, 0, 0 }
   */
  zeroGrad(): void {
    const engine = engineOf(this);
    engine.state.zeroGrad(engine.checkLive("zeroGrad"));
  }

  /**
   * Running mean 0, running variance 1, no batches.
   *
   * @throws BatchNormError `disposed`
   *
   * @example
   * bn.forward(x);
   * bn.resetRunningStats();
   * bn.runningMean;         // → Tensor([3]) { 0, 0, 0 }
   * bn.numBatchesTracked;   // → 0
   */
  resetRunningStats(): void {
    const engine = engineOf(this);
    engine.state.resetRunningStats(engine.checkLive("resetRunningStats"));
  }

  /**
   * γ = 1, β = 0, and {@link BatchNorm.resetRunningStats}.
   *
   * @throws BatchNormError `disposed`
   *
   * @example
   * bn.weight?.set([2, 2, 2]);
   * bn.resetParameters();
   * bn.weight;   // → Parameter([3]) { 1, 1, 1 }
   */
  resetParameters(): void {
    const engine = engineOf(this);
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
   * dict["layer1.bn.weight"];                // → Float32Array [1, 1, 1]
   * dict["layer1.bn.num_batches_tracked"];   // → 0
   */
  stateDict(options?: StateDictOptions | null): SavedStateDict {
    const engine = engineOf(this);
    return engine.state.toDict(options, engine.checkLive("stateDict"));
  }

  /**
   * Sets parameters and running statistics, all or none.
   *
   * @param dict the entries that `stateDict` gives, also by the names of another framework or with
   *   slashes or Keras's `:0`; an object or a Map, also nested as Flax's are, or an array in the order
   *   of Keras's `get_weights()`. Each is a tensor, floats, `number[]`, `{ data, shape }`, bytes with
   *   their type as `{ data, dtype, shape }`, or what JSON makes of a typed array; of `[1, C, 1, 1]`, too.
   *   `num_batches_tracked` may be missing: the layer keeps its own then, as PyTorch has it
   * @param options `prefix`: what is before each name; `strict`: with `false` what is missing stays as
   *   it is, and what is unknown is passed over; `names`: what the dict calls an entry;
   *   `allowNonFinite`: takes NaN and infinite values
   * @returns what was missing, what nobody knows, and what was of another type than float32
   * @throws BatchNormError `state-dict`, `invalid-shape`, `disposed`, `invalid-option`,
   *   `unknown-option`, `out-of-memory`; `dtype` for what is no float, and for a value that float32 would
   *   have as 0 or infinite
   *
   * @example
   * bn.loadStateDict(dict);
   * bn.loadStateDict(new Map([["bn/gamma:0", [3, 3, 3]]]), { prefix: "bn/", strict: false });
   * bn.weight;                                   // → Parameter([3]) { 3, 3, 3 }
   * bn.runningMean;                              // → Tensor([3]) { 2, 4, 6 }
   * bn.loadStateDict({ weight: dict.weight });   // throws state-dict
   */
  loadStateDict(dict: StateDictSource, options?: LoadOptions | null): LoadReport {
    const engine = engineOf(this);
    return engine.state.load(dict, options, engine.checkLive("loadStateDict"));
  }

  /**
   * Gives all memory back, that of gradients and saved values included.
   *
   * @example
   * bn.dispose();
   * bn.forward(x);   // throws disposed
   */
  dispose(): void {
    engineOf(this).dispose();
  }

  /**
   * {@link BatchNorm.dispose}, at the end of the block.
   *
   * @example
   * using bn = new BatchNorm(3);
   */
  [Symbol.dispose](): void {
    this.dispose();
  }

  /**
   * The kind, the number of channels and the constants.
   *
   * @example
   * `${bn}`;   // → "BatchNorm(3, eps=0.00001, momentum=0.1)"
   */
  toString(): string {
    const { state, options } = engineOf(this);
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

/** The engine of a layer; `undefined` of all else. */
export function engineIn(layer: unknown): Engine | undefined {
  return engines.get(layer as object);
}

/** The engine of a layer, which a Proxy has not. */
export function engineOf(layer: BatchNorm): Engine {
  return (
    engineIn(layer) ??
    fail(
      "dtype",
      "this is no layer, a Proxy of one (Vue: toRaw), or of another copy of the package",
    )
  );
}
