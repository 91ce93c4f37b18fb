/**
 * Moments of each channel that can be merged: of parts of a batch, of workers, of clients.
 *
 * ```text
 * n     μ = Σx/n                M2 = Σ(x − μ)²                     of a part
 * N = Σn     μ = Σn·μᵢ/N        M2 = Σ(M2ᵢ + n·(μᵢ − μ)²)          of all of them
 * ```
 *
 * Source: Chan, Golub & LeVeque, "Algorithms for computing the sample variance" (1983), eq. 2.1.
 */
import type { BatchNormStatisticsOptions } from "../batch/function-options.js";
import { readStatistics } from "../batch/functions.js";
import { checkIterable, checkNotNegative, checkOneOf } from "../core/checks.js";
import { fail, mustBe } from "../core/errors.js";
import { checkNoneNegative, type Float64Vector, readFloat64 } from "../core/float64.js";
import { merged } from "../core/merged.js";
import { readOptions } from "../core/options.js";
import type { PlainTensor } from "../core/plain.js";
import { PROXY, show } from "../core/show.js";
import type { Tensor } from "../core/tensor.js";
import type { Float64Values } from "../core/values.js";

/** Moments as JSON has them; numbers that it hasn't as their names. */
export interface MomentsJSON {
  readonly count: number;
  readonly mean: readonly (number | string)[];
  readonly m2: readonly (number | string)[];
}

/** What {@link Moments.of} can be told. */
export type MomentsOptions = Pick<
  BatchNormStatisticsOptions,
  "axis" | "kernel" | "mask" | "weights"
>;

const OPTIONS = ["axis", "kernel", "mask", "weights"];

/** Statistics and what they are of. */
export interface CountedStatistics {
  /** One value a channel. */
  mean: Float64Vector;
  /** One value a channel, not negative. */
  variance: Float64Vector;
  /** Values a channel that these are of. */
  count: number;
  /** Which variance it is; default `biased`. PyTorch's running variance is `unbiased`. */
  runningVariance?: "biased" | "unbiased" | null | undefined;
}

/** What nobody else can change. */
interface Inside {
  readonly mean: Float64Values;
  readonly m2: Float64Values;
}

const insides = /* @__PURE__ */ new WeakMap<object, Inside>();

/**
 * Count, mean and sum of squared deviations of each channel, in float64: what of a part of the data
 * the whole needs. They don't change.
 *
 * @example
 * const [first, second] = [Moments.of(x), Moments.of(dy)];
 * const both = Moments.merge([first, second]);
 * both.count;      // → 4
 * both.mean;       // → Float64Array [1.75, 3.25, 4.75]
 * both.variance;   // → Float64Array [0.6875, 3.688, 9.188]
 */
export class Moments {
  /**
   * Values a channel; of weighted ones the sum of weights.
   *
   * @example
   * Moments.of(Tensor.zeros([8, 3, 4, 4])).count;   // → 128
   */
  readonly count: number;

  /**
   * @param moments of these numbers, one a channel: what {@link Moments.toJSON} gives
   * @throws BatchNormError `invalid-option`, `unknown-option`, `dtype`, `shape-mismatch`
   *
   * @example
   * new Moments({ count: 2, mean: [2], m2: [2] }).variance;   // → Float64Array [1]
   */
  constructor(moments: { count: number; mean: Float64Vector; m2: Float64Vector }) {
    const owner = "Moments";
    const { count, mean, m2 } = readOptions(owner, moments, ["count", "mean", "m2"]);
    checkNotNegative(count, owner, "count");
    this.count = count;
    const own = { mean: readFloat64(mean, `${owner}: mean`), m2: readFloat64(m2, `${owner}: m2`) };
    if (own.m2.length !== own.mean.length) failForLengths(owner, own.mean, "m2", own.m2);
    checkNoneNegative(own.m2, `${owner}: m2`);
    insides.set(this, own);
  }

  /**
   * Those of a tensor, taken by the kernel.
   *
   * @param x any rank from 1 on; `{ data, shape }` is copied in
   * @throws BatchNormError as {@link batchNormStatistics}
   *
   * @example
   * Moments.of(x).mean;                 // → Float64Array [2, 4, 6]
   * Moments.of(x, { axis: 0 }).count;   // → 3
   * Moments.of(x, { weights: [1, 0.5] }).mean;   // → Float64Array [1.667, 3.333, 5]
   */
  static of(x: Tensor | PlainTensor, options?: MomentsOptions | null): Moments {
    const { mean, variance, count } = readStatistics("Moments.of", x, options, OPTIONS);
    return made({ count, mean, m2: variance.map((value) => value * count) });
  }

  /**
   * Those that have some mean and variance: running statistics, say, and what they were taken of.
   *
   * @throws BatchNormError `invalid-option`, `unknown-option`, `dtype`, `disposed`, `shape-mismatch`
   *
   * @example
   * Moments.from({ mean, variance, count: 2 }).m2;   // → Float64Array [2, 8, 18]
   */
  static from(statistics: CountedStatistics): Moments {
    const owner = "Moments.from";
    const names = ["mean", "variance", "count", "runningVariance"];
    const given = readOptions(owner, statistics, names);
    const { count } = given;
    const kind = given.runningVariance ?? "biased";
    checkNotNegative(count, owner, "count");
    checkOneOf(kind, owner, "runningVariance", ["biased", "unbiased"]);
    const mean = readFloat64(given.mean, `${owner}: mean`);
    const variance = readFloat64(given.variance, `${owner}: variance`);
    if (mean.length !== variance.length) failForLengths(owner, mean, "variance", variance);
    checkNoneNegative(variance, `${owner}: variance`);
    // (Of one value the unbiased one is the biased one: n/(n − 1) is none then.)
    const freedom = kind === "unbiased" && count > 1 ? count - 1 : count;
    return made({ count, mean, m2: variance.map((value) => value * freedom) });
  }

  /**
   * Those of all parts together, in any order the same within rounding. Parts of nothing change
   * nothing.
   *
   * @param parts one at least, of as many channels each
   * @throws BatchNormError `invalid-option`, `shape-mismatch`
   *
   * @example
   * Moments.merge([Moments.of(x), Moments.of(x)]).count;   // → 4
   */
  static merge(parts: Iterable<Moments>): Moments {
    const owner = "Moments.merge";
    checkIterable(parts, owner, "parts");
    const all = Array.from(parts, (part, i) => {
      const own = insides.get(part);
      return own
        ? { count: part.count, ...own }
        : mustBe("invalid-option", `${owner}: part ${i}`, "Moments", part);
    });
    const [first = fail("invalid-option", `${owner}: there are no parts`)] = all;
    all.forEach(({ mean }, i) => {
      const [wanted, got] = [first.mean.length, mean.length];
      if (got === wanted) return;
      fail("shape-mismatch", `${owner}: part ${i} has ${got} channels, part 0 has ${wanted}`);
    });
    return made(merged(all));
  }

  /**
   * From what {@link Moments.toJSON} gives, or its text.
   *
   * @throws BatchNormError as the constructor; a `SyntaxError` of `JSON.parse`
   *
   * @example
   * const text = JSON.stringify(Moments.of(x));
   * Moments.fromJSON(text).mean;   // → Float64Array [2, 4, 6]
   */
  static fromJSON(json: string | MomentsJSON): Moments {
    const owner = "Moments.fromJSON";
    const given = (typeof json === "string" ? JSON.parse(json) : json) as MomentsJSON;
    const { count, mean, m2 } = readOptions(owner, given, ["count", "mean", "m2"]);
    return made({
      count,
      mean: fromNames(mean, `${owner}: mean`),
      m2: fromNames(m2, `${owner}: m2`),
    });
  }

  /**
   * Number of channels.
   *
   * @example
   * Moments.of(x).channels;   // → 3
   */
  get channels(): number {
    return inside(this).mean.length;
  }

  /**
   * A copy of the means.
   *
   * @example
   * Moments.of(x).mean;   // → Float64Array [2, 4, 6]
   */
  get mean(): Float64Values {
    return inside(this).mean.slice();
  }

  /**
   * A copy of the sums of squared deviations from the means.
   *
   * @example
   * Moments.of(x).m2;   // → Float64Array [2, 8, 18]
   */
  get m2(): Float64Values {
    return inside(this).m2.slice();
  }

  /**
   * The biased variances M2/n, which normalize; 0 of nothing.
   *
   * @example
   * Moments.of(x).variance;   // → Float64Array [1, 4, 9]
   */
  get variance(): Float64Values {
    return inside(this).m2.map((m2) => m2 / (this.count || 1));
  }

  /**
   * The unbiased variances M2/(n − 1), which PyTorch's running ones follow; of one value or less M2/n.
   *
   * @example
   * Moments.of(x).unbiasedVariance;   // → Float64Array [2, 8, 18]
   */
  get unbiasedVariance(): Float64Values {
    const { count } = this;
    return count > 1 ? inside(this).m2.map((m2) => m2 / (count - 1)) : this.variance;
  }

  /**
   * What `JSON.stringify` writes, and {@link Moments.fromJSON} reads, to the bit.
   *
   * @example
   * Moments.of(x).toJSON();   // → { count: 2, mean: [2, 4, 6], m2: [2, 8, 18] }
   */
  toJSON(): MomentsJSON {
    const { mean, m2 } = inside(this);
    return { count: this.count, mean: toNames(mean), m2: toNames(m2) };
  }
}

/** A new one. (Where its own text names a class, bundlers give it another name.) */
function made(moments: ConstructorParameters<typeof Moments>[0]): Moments {
  return new Moments(moments);
}

/** What a Proxy has not. */
function inside(moments: Moments): Inside {
  return insides.get(moments) ?? fail("dtype", `Moments are none${PROXY}`);
}

function failForLengths(owner: string, a: Float64Values, name: string, b: Float64Values): never {
  fail("shape-mismatch", `${owner}: ${name} must have ${a.length} values, got ${b.length}`);
}

/** JSON has no infinity and nothing that is not a number. */
function toNames(values: Float64Values): (number | string)[] {
  return Array.from(values, (value) => (Number.isFinite(value) ? value : `${value}`));
}

const NAMED: readonly unknown[] = ["NaN", "Infinity", "-Infinity"];

function fromNames(values: readonly (number | string)[], name: string): number[] {
  if (!Array.isArray(values)) mustBe("dtype", name, "an array", values);
  return values.map((value: unknown, i) => {
    if (NAMED.includes(value)) return Number(value);
    return typeof value === "number"
      ? value
      : mustBe("dtype", `${name}[${i}]`, `a number, ${NAMED.map(show).join(" or ")}`, value);
  });
}
