/**
 * Moments of a stream or a table that does not fit into memory: chunk by chunk, as scikit-learn's
 * `StandardScaler.partial_fit` has them, and standardizing by them.
 *
 * ```text
 * z = (x − μ)/σ          σ = √(M2/n), 1 where that is 0
 * ```
 */
import { readStatistics } from "../batch/functions.js";
import { WEIGHT_OPTIONS, type WeightOptions } from "../batch/weights.js";
import { checkAxis } from "../core/checks.js";
import type { KernelOption } from "../core/default-kernel.js";
import { fail, mustBe } from "../core/errors.js";
import { forEachPlace } from "../core/geometry.js";
import { readOptions } from "../core/options.js";
import { isPlain, type PlainResult, type PlainTensor } from "../core/plain.js";
import { PROXY } from "../core/show.js";
import { type Tensor, viewOf } from "../core/tensor.js";
import type { Float64Values } from "../core/values.js";
import { Moments, type MomentsJSON } from "./moments.js";
import { standardize } from "./standardize.js";

/** Options of {@link RunningMoments}. */
export interface RunningMomentsOptions extends KernelOption {
  /** The axis of the features, negative from the end; default −1: tables, pixels. */
  axis?: number | null | undefined;
  /**
   * Exponential forgetting: how much what was before counts after each update, above 0 and up to 1;
   * default 1, nothing is forgotten.
   */
  decay?: number | null | undefined;
}

/** Options of {@link RunningMoments.normalize}. */
export interface NormalizeOptions {
  /** Where to write: a tensor of x's shape, or x itself. */
  out?: Tensor | null | undefined;
  /** The most that a result may differ from 0, in σ; default not limited. */
  clip?: number | null | undefined;
}

/** What {@link RunningMoments.toJSON} gives. */
export interface RunningMomentsJSON {
  readonly axis: number;
  readonly decay: number;
  readonly moments: MomentsJSON | null;
}

const OPTIONS = ["axis", "decay", "kernel"];

interface Inside {
  readonly kernel: KernelOption["kernel"];
  moments: Moments | null;
}

const insides = /* @__PURE__ */ new WeakMap<object, Inside>();

/**
 * Count, mean and variance of each feature of all that was seen so far, in float64.
 *
 * @example
 * const scaler = new RunningMoments();
 * scaler.update(x).update(dy);   // rows of three features
 * scaler.mean;                   // → Float64Array [1.75, 3.25, 4.75]
 * scaler.normalize(dy);          // as scikit-learn's StandardScaler
 */
export class RunningMoments {
  /**
   * The axis of the features, negative from the end.
   *
   * @example
   * new RunningMoments().axis;   // → -1
   */
  readonly axis: number;
  /**
   * How much what was before counts after each update.
   *
   * @example
   * new RunningMoments({ decay: 0.99 }).decay;   // → 0.99
   */
  readonly decay: number;

  /** @throws BatchNormError `invalid-option`, `unknown-option` */
  constructor(options?: RunningMomentsOptions | null) {
    const owner = "RunningMoments";
    const given = readOptions(owner, options, OPTIONS);
    const axis = given.axis ?? -1;
    const decay = given.decay ?? 1;
    checkAxis(axis, owner);
    if (!(typeof decay === "number" && decay > 0 && decay <= 1)) {
      mustBe("invalid-option", `${owner}: decay`, "above 0 and up to 1", decay);
    }
    this.axis = axis;
    this.decay = decay;
    insides.set(this, { kernel: given.kernel, moments: null });
  }

  /**
   * Takes another chunk in, by the kernel. Where it throws, nothing has changed.
   *
   * @param x of any rank and as many features as before; `{ data, shape }`, also with `strides`, is
   *   copied in
   * @param options `mask` or `weights`: which rows count, and how much
   * @throws BatchNormError as {@link batchNormStatistics}; `shape-mismatch` for other features
   *
   * @example
   * const pixels = { data: new Uint8Array(4 * 640), shape: [640, 3], strides: [4, 1] };
   * new RunningMoments().update(pixels).count;   // → 640
   * const weighted = new RunningMoments().update(x, { weights: [2, 1] });
   * weighted.mean;   // → Float64Array [1.667, 3.333, 5]
   */
  update(x: Tensor | PlainTensor, options?: WeightOptions | null): this {
    const owner = "RunningMoments.update";
    const own = inside(this);
    const { mask, weights } = readOptions(owner, options, WEIGHT_OPTIONS);
    const given = { axis: this.axis, kernel: own.kernel, mask, weights };
    const { mean, variance, count } = readStatistics(owner, x, given, Object.keys(given));
    const moments = new Moments({ count, mean, m2: variance.map((value) => value * count) });
    const before = own.moments;
    if (before && before.channels !== moments.channels) {
      fail(
        "shape-mismatch",
        `${owner}: expected ${before.channels} features along axis ${this.axis}, ` +
          `got ${moments.channels}`,
      );
    }
    own.moments = before ? Moments.merge([faded(before, this.decay), moments]) : moments;
    return this;
  }

  /**
   * Takes in what others have seen.
   *
   * @throws BatchNormError `invalid-option`, `shape-mismatch`
   *
   * @example
   * const [first, second] = [new RunningMoments().update(x), new RunningMoments().update(dy)];
   * first.merge(second).count;   // → 4
   */
  merge(other: RunningMoments): this {
    const own = inside(this);
    const others = insides.get(other);
    if (!others) mustBe("invalid-option", "RunningMoments.merge: other", "RunningMoments", other);
    const all = [own.moments, others.moments].filter((one) => one !== null);
    if (all.length > 0) own.moments = Moments.merge(all);
    return this;
  }

  /**
   * As much as was seen: values a feature, which fade by {@link RunningMoments.decay}.
   *
   * @example
   * new RunningMoments().count;   // → 0
   */
  get count(): number {
    return inside(this).moments?.count ?? 0;
  }

  /**
   * The moments, `null` before the first update.
   *
   * @example
   * new RunningMoments().update(x).moments?.variance;   // → Float64Array [1, 4, 9]
   */
  get moments(): Moments | null {
    return inside(this).moments;
  }

  /**
   * A copy of the means.
   *
   * @throws BatchNormError `not-built` before the first update
   *
   * @example
   * new RunningMoments().update(x).mean;   // → Float64Array [2, 4, 6]
   */
  get mean(): Float64Values {
    return seen(this, "mean").mean;
  }

  /**
   * A copy of the biased variances.
   *
   * @throws BatchNormError `not-built` before the first update
   *
   * @example
   * new RunningMoments().update(x).variance;   // → Float64Array [1, 4, 9]
   */
  get variance(): Float64Values {
    return seen(this, "variance").variance;
  }

  /**
   * What is divided by: the standard deviations, 1 where that is 0.
   *
   * @throws BatchNormError `not-built` before the first update
   *
   * @example
   * new RunningMoments().update(x).std;   // → Float64Array [1, 2, 3]
   */
  get std(): Float64Values {
    return seen(this, "std").variance.map((variance) => Math.sqrt(variance) || 1);
  }

  /**
   * (x − mean)/std of each feature, by the kernel.
   *
   * @param x as {@link RunningMoments.update}'s
   * @returns `out`, or a new tensor of x's shape
   * @throws BatchNormError as {@link batchNormInference}; `not-built` before the first update
   *
   * @example
   * const scaler = new RunningMoments().update(x);
   * scaler.normalize(x);                   // → Tensor([2, 3]) { -1, -1, -1, 1, 1, 1 }
   * scaler.normalize(dy, { clip: 0.5 });   // → Tensor([2, 3]) { -0.5, -0.5, -0.5, 0, 0, 0 }
   */
  normalize(x: Tensor, options?: NormalizeOptions | null): Tensor;
  normalize(x: PlainTensor, options?: NormalizeOptions | null): PlainResult;
  normalize(x: Tensor | PlainTensor, options?: NormalizeOptions | null): Tensor | PlainResult;
  normalize(x: Tensor | PlainTensor, options?: NormalizeOptions | null): Tensor | PlainResult {
    const owner = "RunningMoments.normalize";
    const { out, clip } = readOptions(owner, options, ["out", "clip"]);
    if (clip != null && !(typeof clip === "number" && clip > 0)) {
      mustBe("invalid-option", `${owner}: clip`, "a number above 0", clip);
    }
    const mean = seen(this, "normalize").mean;
    const by = { mean, scale: inverse(this.std), offset: zeros(mean) };
    const y = standardize("RunningMoments.normalize", x, by, {
      axis: this.axis,
      kernel: inside(this).kernel,
      out,
    });
    if (clip != null) clamp(y, clip);
    return y;
  }

  /**
   * What {@link RunningMoments.normalize} undoes: x·std + mean of each feature, by the kernel.
   *
   * @param x as {@link RunningMoments.update}'s
   * @returns `out`, or a new tensor of x's shape
   * @throws BatchNormError as {@link RunningMoments.normalize}
   *
   * @example
   * const scaler = new RunningMoments().update(x);
   * scaler.denormalize(Tensor.zeros([1, 3]));   // → Tensor([1, 3]) { 2, 4, 6 }
   */
  denormalize(x: Tensor, options?: Pick<NormalizeOptions, "out"> | null): Tensor;
  denormalize(x: PlainTensor, options?: Pick<NormalizeOptions, "out"> | null): PlainResult;
  denormalize(
    x: Tensor | PlainTensor,
    options?: Pick<NormalizeOptions, "out"> | null,
  ): Tensor | PlainResult;
  denormalize(
    x: Tensor | PlainTensor,
    options?: Pick<NormalizeOptions, "out"> | null,
  ): Tensor | PlainResult {
    const { out } = readOptions("RunningMoments.denormalize", options, ["out"]);
    const mean = seen(this, "denormalize").mean;
    const by = { mean: zeros(mean), scale: this.std, offset: mean };
    return standardize("RunningMoments.denormalize", x, by, {
      axis: this.axis,
      kernel: inside(this).kernel,
      out,
    });
  }

  /**
   * Forgets all.
   *
   * @example
   * const scaler = new RunningMoments().update(x);
   * scaler.reset();
   * scaler.count;   // → 0
   */
  reset(): void {
    inside(this).moments = null;
  }

  /**
   * What `JSON.stringify` writes, and {@link RunningMoments.fromJSON} reads, to the bit.
   *
   * @example
   * new RunningMoments().toJSON();   // → { axis: -1, decay: 1, moments: null }
   */
  toJSON(): RunningMomentsJSON {
    const { axis, decay } = this;
    return { axis, decay, moments: this.moments?.toJSON() ?? null };
  }

  /**
   * From what {@link RunningMoments.toJSON} gives, or its text.
   *
   * @throws BatchNormError `invalid-option`, `unknown-option`, `dtype`, `shape-mismatch`; a
   *   `SyntaxError` of `JSON.parse`
   *
   * @example
   * const text = JSON.stringify(new RunningMoments().update(x));
   * RunningMoments.fromJSON(text).mean;   // → Float64Array [2, 4, 6]
   */
  static fromJSON(
    json: string | RunningMomentsJSON,
    options?: KernelOption | null,
  ): RunningMoments {
    const owner = "RunningMoments.fromJSON";
    const given = (typeof json === "string" ? JSON.parse(json) : json) as RunningMomentsJSON;
    const { axis, decay, moments } = readOptions(owner, given, ["axis", "decay", "moments"]);
    const { kernel } = readOptions(owner, options, ["kernel"]);
    const running = made({ axis, decay, kernel });
    inside(running).moments = moments === null ? null : Moments.fromJSON(moments);
    return running;
  }
}

/** A new one. (Where its own text names a class, bundlers give it another name.) */
function made(options: RunningMomentsOptions): RunningMoments {
  return new RunningMoments(options);
}

/** What a Proxy has not. */
function inside(running: RunningMoments): Inside {
  return insides.get(running) ?? fail("dtype", `RunningMoments are none${PROXY}`);
}

/** The moments, of which there have to be some. */
function seen(running: RunningMoments, what: string): Moments {
  return (
    running.moments ??
    fail("not-built", `RunningMoments.${what}: nothing was seen yet; update first`)
  );
}

const inverse = (values: Float64Values) => values.map((value) => 1 / value);
const zeros = (like: Float64Values) => new Float64Array(like.length);

/** The moments as if of less: what they say is the same, but counts for less. */
function faded(moments: Moments, decay: number): Moments {
  if (decay === 1) return moments;
  const { count, mean, m2 } = moments;
  return new Moments({ count: count * decay, mean, m2: m2.map((m2) => m2 * decay) });
}

function clamp(y: Tensor | PlainResult, clip: number): void {
  const bounded = (value: number) => Math.min(Math.max(value, -clip), clip);
  if (isPlain(y)) {
    y.data.forEach((value, i) => {
      y.data[i] = bounded(value);
    });
    return;
  }
  const view = viewOf(y);
  if (!view) return;
  const { elements } = view;
  forEachPlace(view.shape, view.strides, 0, view.size, (place) => {
    elements[place] = bounded(elements[place] as number);
  });
}
