/**
 * What users see of the layers that normalize within a sample: a shell around an engine. Each
 * norm's own are in its folder.
 */
import { fail } from "./errors.js";
import type { Kernel } from "./kernel.js";
import { type EngineOptions, LayerEngine } from "./layer-engine.js";
import { setOption } from "./layer-options.js";
import type { Parameter } from "./parameter.js";
import type { PlainResult, PlainTensor } from "./plain.js";
import type { NormSaved } from "./saved.js";
import type {
  LoadOptions,
  LoadReport,
  SavedStateDict,
  StateDictOptions,
  StateDictSource,
} from "./state-dict.js";
import { type Tensor, tensorOf } from "./tensor.js";

// Apart, and not a private field with a friend: that would keep the class in every bundle.
const engines = /* @__PURE__ */ new WeakMap<object, SampleEngine>();

/** Options of a layer that may be set later. */
export interface SampleOptions {
  /** The name of the layer's class in error messages. */
  readonly owner: string;
  training: boolean;
  eps: number;
  requiresGrad: boolean;
}

/** The inside of a layer. */
export interface SampleEngine<
  Options extends EngineOptions & SampleOptions = EngineOptions & SampleOptions,
> extends LayerEngine<Options> {
  /** What the layer's text has in brackets. */
  readonly words: readonly string[];
}

/** Options of {@link SampleNorm.forward}. */
export interface SampleForwardOptions {
  /** Where to write y: a tensor of x's shape, or x itself. */
  out?: Tensor | null | undefined;
  /** The mode of this call alone; it tells where there are running statistics, and nowhere else. */
  training?: boolean | null | undefined;
}

/** Options of {@link SampleNorm.backward}. */
export interface SampleBackwardOptions<Saved extends NormSaved = NormSaved> {
  /** Where to write dx: a tensor of x's shape, or dy itself. */
  out?: Tensor | null | undefined;
  /** Which forward pass, as `takeSaved()` gave it; default the last one. */
  saved?: Saved | null | undefined;
}

/**
 * What the layers have in common that normalize within a sample (group, instance, layer and RMS
 * norm): parameters, passes and modes. Both modes normalize alike, unless there are running
 * statistics.
 *
 * @example
 * new GroupNorm(1, 3) instanceof SampleNorm;   // → true
 */
export abstract class SampleNorm<Saved extends NormSaved = NormSaved> {
  /**
   * The kernel that it computes with.
   *
   * @example
   * gn.kernel === defaultKernel();   // → true
   */
  readonly kernel: Kernel;
  /** What `Object.prototype.toString` says: who wraps plain objects in Proxies leaves it alone. */
  readonly [Symbol.toStringTag]: string = this.owner;

  /** @internal */
  constructor(engine: SampleEngine) {
    if (!(engine instanceof LayerEngine)) {
      fail("invalid-option", "new SampleNorm: use GroupNorm, InstanceNorm, LayerNorm or RMSNorm");
    }
    engines.set(this, engine);
    // Its own, so that posting a layer to a worker throws and doesn't send an empty object.
    this.kernel = engine.port.kernel;
    // What Node's `console.log` shows. Not in the class, which would stay in every bundle.
    const inspect = Symbol.for("nodejs.util.inspect.custom");
    Object.defineProperty(this, inspect, { value: () => this.toString() });
  }

  /**
   * Whether in training mode, in which a new layer is; `train()` and `eval()` set it.
   *
   * @example
   * gn.training;          // → true
   * gn.eval().training;   // → false
   */
  get training(): boolean {
    return inside(this).options.training;
  }

  set training(value: boolean) {
    setOption(inside(this).options, "training", value);
  }

  /**
   * Added to the variance, of unit length the least that counts; finite, not negative.
   *
   * @example
   * gn.eps;          // → 0.00001
   * gn.eps = 1e-3;   // for the calls from here on
   */
  get eps(): number {
    return inside(this).options.eps;
  }

  set eps(value: number) {
    setOption(inside(this).options, "eps", value);
  }

  /**
   * γ: `[C]`, of layer and RMS norm in the normalized shape; `null` without.
   *
   * @example
   * gn.weight;                   // → Parameter([3]) { 1, 1, 1 }
   * gn.weight?.set([2, 2, 2]);
   * gn.forward(x);               // → Tensor([2, 3]) { -2.449, 0, 2.449, -2.449, 0, 2.449 }
   */
  get weight(): Parameter | null {
    return tensorOf(inside(this).state.weight) as Parameter | null;
  }

  /**
   * β, as γ; `null` without.
   *
   * @example
   * gn.bias?.set([10, 10, 10]);   // → Parameter([3]) { 10, 10, 10 }
   * gn.forward(x);                // → Tensor([2, 3]) { 8.775, 10, 11.22, 8.775, 10, 11.22 }
   */
  get bias(): Parameter | null {
    return tensorOf(inside(this).state.bias) as Parameter | null;
  }

  /**
   * Whether `backward` gathers the gradients of γ and β.
   *
   * @example
   * gn.requiresGrad = false;
   * gn.forward(x);
   * const dx = gn.backward(dy);
   * gn.weight?.grad;   // → null
   */
  get requiresGrad(): boolean {
    return inside(this).options.requiresGrad;
  }

  set requiresGrad(value: boolean) {
    setOption(inside(this).options, "requiresGrad", value);
  }

  /**
   * γ and β, those that there are: for an optimizer.
   *
   * @example
   * gn.parameters();   // → [Parameter([3]) { 1, 1, 1 }, Parameter([3]) { 0, 0, 0 }]
   */
  parameters(): Parameter[] {
    return [this.weight, this.bias].filter((one) => one !== null);
  }

  /**
   * Switches to training mode, or with `false` to evaluation.
   *
   * @example
   * gn.train(false).training;   // → false
   */
  train(mode: boolean = true): this {
    setOption(inside(this).options, "training", mode);
    return this;
  }

  /**
   * Switches to evaluation.
   *
   * @example
   * gn.eval().forward(x);   // → Tensor([2, 3]) { -1.225, 0, 1.225, -1.225, 0, 1.225 }
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
   * @throws BatchNormError `shape-mismatch`, `batch-too-small`, `invalid-option`, `dtype`,
   *   `overlap`, `disposed`, `foreign-kernel`, `out-of-memory`; parameters and running
   *   statistics are untouched then
   *
   * @example
   * gn.forward(x);               // → Tensor([2, 3]) { -1.225, 0, 1.225, -1.225, 0, 1.225 }
   * gn.forward(x, { out: x });   // in place
   */
  forward(x: Tensor, options?: SampleForwardOptions | null): Tensor;
  forward(x: PlainTensor, options?: SampleForwardOptions | null): PlainResult;
  forward(x: Tensor | PlainTensor, options?: SampleForwardOptions | null): Tensor | PlainResult;
  forward(x: Tensor | PlainTensor, options?: SampleForwardOptions | null): Tensor | PlainResult {
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
   * gn.forward(x);
   * const dx = gn.backward(dy);
   * gn.bias?.grad;   // → Tensor([3]) { 3, 5, 7 }
   */
  backward(dy: Tensor, options?: SampleBackwardOptions<Saved> | null): Tensor;
  backward(dy: PlainTensor, options?: SampleBackwardOptions<Saved> | null): PlainResult;
  backward(
    dy: Tensor | PlainTensor,
    options?: SampleBackwardOptions<Saved> | null,
  ): Tensor | PlainResult;
  backward(
    dy: Tensor | PlainTensor,
    options?: SampleBackwardOptions<Saved> | null,
  ): Tensor | PlainResult {
    return inside(this).backward(dy, options);
  }

  /**
   * What the last forward pass saved, `null` before the first. It is the layer's: the next
   * forward pass ends it, and {@link SampleNorm.takeSaved} keeps it from that.
   *
   * @example
   * gn.saved;         // → null
   * gn.forward(x);
   * gn.saved?.mean;   // → Float64Array [2, 6]
   */
  get saved(): Saved | null {
    return inside(this).last.handle as Saved | null;
  }

  /**
   * Takes what the last forward pass saved, for `backward` after other forward passes (shared
   * weights, micro-batches). It is the caller's from then on: dispose it, or use `scope`.
   *
   * @throws BatchNormError `stale` before the first forward pass, `disposed`
   *
   * @example
   * gn.forward(x);
   * using first = gn.takeSaved();
   * gn.forward(Tensor.zeros([4, 3]));   // another micro-batch
   * const dx = gn.backward(dy, { saved: first });
   */
  takeSaved(): Saved {
    const engine = inside(this);
    return engine.last.take(engine.checkLive("takeSaved")) as Saved;
  }

  /**
   * Sets the gradients of γ and β to zero, if there are any.
   *
   * @throws BatchNormError `disposed`
   *
   * @example
   * gn.forward(x);
   * gn.backward(dy);
   * gn.zeroGrad();
   * gn.bias?.grad;   // → Tensor([3]) { 0, 0, 0 }
   */
  zeroGrad(): void {
    const engine = inside(this);
    engine.state.zeroGrad(engine.checkLive("zeroGrad"));
  }

  /**
   * γ = 1, β = 0, and where there are running statistics mean 0, variance 1.
   *
   * @throws BatchNormError `disposed`
   *
   * @example
   * gn.weight?.set([2, 2, 2]);
   * gn.resetParameters();
   * gn.weight;   // → Parameter([3]) { 1, 1, 1 }
   */
  resetParameters(): void {
    const engine = inside(this);
    engine.state.resetParameters(engine.checkLive("resetParameters"));
  }

  /**
   * Copies of all that it has learned by its names in the preset's framework, each behind `prefix`.
   *
   * @throws BatchNormError `not-built`, `disposed`, `invalid-option`
   *
   * @example
   * gn.stateDict({ prefix: "norm." })["norm.weight"];   // → Float32Array [1, 1, 1]
   */
  stateDict(options?: StateDictOptions | null): SavedStateDict {
    const engine = inside(this);
    return engine.state.toDict(options, engine.checkLive("stateDict"));
  }

  /**
   * Sets all that it has learned, or nothing: from dicts of any framework, as {@link BatchNorm} does.
   *
   * @param dict the entries that `stateDict` gives, each a tensor, floats, `number[]`, `{ data, shape }`,
   *   bytes with their type as `{ data, dtype, shape }`, or what JSON makes of a typed array; of layer and
   *   RMS norm in the normalized shape or flat
   * @param options `prefix`, `strict`, `names`, `allowNonFinite`
   * @returns what was missing, what nobody knows, and what was of another type than float32
   * @throws BatchNormError `state-dict`, `dtype`, `invalid-shape`, `disposed`, `invalid-option`,
   *   `unknown-option`, `not-built`, `out-of-memory`
   *
   * @example
   * const beta = Float64Array.of(1, 1, 0.1);
   * const { converted } = gn.loadStateDict({ gamma: [2, 2, 2], beta });
   * converted[0];   // → { name: "beta", from: "float64", to: "float32", exact: false }
   * gn.weight;      // → Parameter([3]) { 2, 2, 2 }
   * gn.loadStateDict({ weight: [2, 2, 2] });            // throws state-dict
   */
  loadStateDict(dict: StateDictSource, options?: LoadOptions | null): LoadReport {
    const engine = inside(this);
    return engine.state.load(dict, options, engine.checkLive("loadStateDict"));
  }

  /**
   * Gives all memory back, that of gradients and saved values included.
   *
   * @example
   * gn.dispose();
   * gn.forward(x);   // throws disposed
   */
  dispose(): void {
    inside(this).dispose();
  }

  /**
   * {@link SampleNorm.dispose}, at the end of the block.
   *
   * @example
   * using gn = new GroupNorm(1, 3);
   */
  [Symbol.dispose](): void {
    this.dispose();
  }

  /**
   * The kind, the size and the constants.
   *
   * @example
   * `${gn}`;   // → "GroupNorm(1, 3, eps=0.00001)"
   */
  toString(): string {
    return `${this.owner}(${inside(this).words.join(", ")})`;
  }

  /** The name of the class in error messages. */
  protected get owner(): string {
    return "SampleNorm";
  }
}

/** The engine of a layer; `undefined` of all else. */
export function insideOf(layer: unknown): SampleEngine | undefined {
  return engines.get(layer as object);
}

/** The engine of a layer, which a Proxy has not. */
export function inside(layer: object): SampleEngine {
  return (
    insideOf(layer) ??
    fail(
      "dtype",
      "this is no layer, a Proxy of one (Vue: toRaw), or of another copy of the package",
    )
  );
}
