/**
 * Batch norm over workers that each have a part of the batch: what PyTorch's `SyncBatchNorm` does,
 * with whatever carries numbers between them.
 *
 * ```text
 * n, μ, M2 of each part  → merged →  N, μ, σ² of the batch        y as in batch norm
 * A = Σdy, B = Σdy·x̂     → added  →  dx = γ/√(σ² + ε)·(dy − A/N − x̂·B/N)
 * dβ = A and dγ = B of the worker's own part, for its optimizer's all-reduce
 * ```
 */
import { batchNormBackward, batchNormInference } from "../batch/functions.js";
import type { BatchNormSaved } from "../batch/saved.js";
import { checkIterable, checkMomentum, checkNotNegative, checkOneOf } from "../core/checks.js";
import type { KernelOption } from "../core/default-kernel.js";
import { fail, mustBe } from "../core/errors.js";
import { type Float64Vector, readChannels, readFloat64 } from "../core/float64.js";
import { resolveAxis } from "../core/geometry.js";
import { readOptions } from "../core/options.js";
import { checkTensor, type Tensor, tensorOf } from "../core/tensor.js";
import type { Float64Values } from "../core/values.js";
import { Moments } from "./moments.js";
import { affineOf } from "./standardize.js";

/** Options of {@link syncBatchNorm}. */
export interface SyncBatchNormOptions extends KernelOption {
  /** Of the whole batch: {@link Moments.of} of each worker's part, merged. */
  moments: Moments;
  /** γ, one a channel; 1 where absent. */
  weight?: Float64Vector | null | undefined;
  /** β, one a channel; 0 where absent. */
  bias?: Float64Vector | null | undefined;
  /** Added to the variance; default 1e-5. */
  eps?: number | null | undefined;
  /** The channel axis, negative from the end; default 1. */
  axis?: number | null | undefined;
  /** Where to write y: a tensor of x's shape, but not x, which the backward pass needs. */
  out?: Tensor | null | undefined;
  /** Moved towards the batch's mean, if given. */
  runningMean?: Tensor | null | undefined;
  /** Moved towards the batch's variance, if given. */
  runningVar?: Tensor | null | undefined;
  /** Weight of this batch in the running statistics, from 0 to 1; default 0.1. */
  momentum?: number | null | undefined;
  /** Which variance the running one follows; default `unbiased`, n/(n−1). */
  runningVariance?: "biased" | "unbiased" | null | undefined;
}

/** What of dy each worker tells the others: plain numbers, to be added up channel by channel. */
export interface BackwardSums {
  /** Σdy of each channel. */
  readonly dy: readonly number[];
  /** Σdy·x̂ of each channel. */
  readonly dyXHat: readonly number[];
}

/** A worker's part of a forward pass, and its way back. */
export interface SyncBatchNormPass {
  /** The output of this part: `out`, or a new tensor. */
  readonly y: Tensor;
  /** What the others need of dy, and the gradients of γ and β of this part. */
  sums(dy: Tensor): BackwardSums;
  /**
   * The gradient with respect to this part.
   *
   * @param total of all workers: {@link addSums}
   * @returns dx, a new tensor
   */
  backward(dy: Tensor, total: BackwardSums): Tensor;
  /** Gives back what is kept for the way back. */
  dispose(): void;
}

const OPTIONS = [
  ...["moments", "weight", "bias", "eps", "axis", "out", "kernel"],
  ...["runningMean", "runningVar", "momentum", "runningVariance"],
];

/**
 * Normalizes a worker's part of a batch by the statistics of all of it, and moves its running statistics,
 * the same in each worker. A part may be empty.
 *
 * @param x the worker's part, any rank from 1 on
 * @throws BatchNormError as {@link batchNormTraining}
 *
 * @example
 * const parts = [x, dy].map((part) => Moments.of(part));   // each by its worker
 * const pass = syncBatchNorm(x, { moments: Moments.merge(parts) });
 * const total = addSums([pass.sums(dy)]);                  // of all workers
 * const dx = pass.backward(dy, total);
 */
export function syncBatchNorm(x: Tensor, options: SyncBatchNormOptions): SyncBatchNormPass {
  const owner = "syncBatchNorm";
  const given = readOptions(owner, options, OPTIONS);
  const { moments, out, kernel } = given;
  const eps = given.eps ?? 1e-5;
  const axis = given.axis ?? 1;
  checkNotNegative(eps, owner, "eps");
  if (!(moments instanceof Moments)) {
    mustBe("invalid-option", `${owner}: moments`, "Moments of the whole batch", moments);
  }
  const { mean, variance, count, channels } = moments;
  const { shape } = checkTensor(x, `${owner}: x`);
  const along = resolveAxis(axis, shape.length, owner);
  if (shape[along] !== channels) {
    fail(
      "shape-mismatch",
      `${owner}: the moments are of ${channels} channels, x has ${shape[along]} along axis ${axis}`,
    );
  }
  const gamma = readChannels(given.weight, `${owner}: weight`, channels, 1);
  const beta = readChannels(given.bias, `${owner}: bias`, channels, 0);
  const move = readMove(given, moments, owner);
  // As of a batch without variance: every x − μ is 0, too.
  const inverseStd = variance.map((value) => (value + eps === 0 ? 0 : 1 / Math.sqrt(value + eps)));
  const product = (a: Float64Values, b: Float64Values) => a.map((value, c) => value * at(b, c));
  const scale = product(gamma, inverseStd);
  const common = { axis, kernel };
  const { y, saved } = batchNormInference(x, {
    ...common,
    ...affineOf({ mean, scale, offset: beta }),
    out,
    saved: true,
  });
  move?.();

  // Its way back is that of constants, whose dx is γ·s·dy.
  const ofPart = (dy: Tensor, out: Tensor | null) => {
    const parts = batchNormBackward(dy, { saved, out });
    const [ofWeight, ofBias] = [parts.weightGrad as Tensor, parts.biasGrad as Tensor];
    const [products, sums] = [ofWeight, ofBias].map((one) => readFloat64(one, owner)) as [
      Float64Values,
      Float64Values,
    ];
    ofWeight.dispose();
    ofBias.dispose();
    const dyXHat = product(inverseStd, products);
    return { dx: parts.dx, sums: { dy: Array.from(sums), dyXHat: Array.from(dyXHat) } };
  };
  return {
    y,
    sums(dy) {
      const { dx, sums } = ofPart(dy, null);
      dx.dispose();
      return sums;
    },
    backward(dy, total) {
      const sums = [total?.dy, total?.dyXHat].map((sum) => {
        const read = readChannels(sum, `${owner}: total`, channels);
        return read.map((value) => value / (count || 1));
      }) as [Float64Values, Float64Values];
      const [meanDy, covariance] = sums;
      const { dx } = ofPart(dy, null);
      // −γ·s·(A/N + x̂·B/N), to which γ·s·dy is added.
      const slope = product(product(scale, inverseStd), covariance).map((value) => -value);
      const offset = product(scale, meanDy).map((value) => -value);
      const by = affineOf({ mean, scale: slope, offset });
      return batchNormInference(x, { ...common, ...by, residual: dx, out: dx });
    },
    dispose: () => (saved as BatchNormSaved).dispose(),
  };
}

/** What moves running statistics, checked; the same in all workers. */
function readMove(
  options: SyncBatchNormOptions,
  { mean, variance, unbiasedVariance, count, channels }: Moments,
  owner: string,
): (() => void) | null {
  const { runningMean, runningVar } = options;
  const weight = options.momentum ?? 0.1;
  const kind = options.runningVariance ?? "unbiased";
  checkMomentum(weight, owner);
  checkOneOf(kind, owner, "runningVariance", ["biased", "unbiased"]);
  if ((runningMean == null) !== (runningVar == null)) {
    fail("invalid-option", `${owner}: runningMean and runningVar go together`);
  }
  if (runningMean == null) return null;
  const moves = [
    { name: "runningMean", tensor: runningMean, batch: mean },
    {
      name: "runningVar",
      tensor: runningVar,
      batch: kind === "unbiased" ? unbiasedVariance : variance,
    },
  ].map(({ name, tensor, batch }) => {
    const view = checkTensor(tensor, `${owner}: ${name}`);
    if (view.disposed) fail("disposed", `${owner}: ${name} was disposed`);
    if (view.size !== channels || !view.contiguous) {
      fail("shape-mismatch", `${owner}: ${name} must be a contiguous tensor of ${channels} values`);
    }
    return { running: tensorOf(view), batch };
  });
  return () => {
    if (count === 0) return;
    for (const { running, batch } of moves) {
      const old = running.toFloat32Array();
      running.set(batch.map((value, c) => at(old, c) * (1 - weight) + value * weight));
    }
  };
}

/**
 * The sums of all workers' parts.
 *
 * @throws BatchNormError `invalid-option`, `dtype`, `shape-mismatch`
 *
 * @example
 * addSums([{ dy: [1, 2], dyXHat: [3, 4] }, { dy: [1, 1], dyXHat: [1, 1] }]).dy;   // → [2, 3]
 */
export function addSums(parts: Iterable<BackwardSums>): BackwardSums {
  const owner = "addSums";
  checkIterable(parts, owner, "parts");
  const all = Array.from(parts, (part, i) => {
    const { dy, dyXHat } = readOptions(`${owner}: part ${i}`, part, ["dy", "dyXHat"]);
    return [dy, dyXHat].map((sum) => readFloat64(sum, `${owner}: part ${i}`)) as Pair;
  });
  const [first = fail("invalid-option", `${owner}: there are no parts`)] = all;
  const sum = (k: 0 | 1) =>
    Array.from(first[k], (_, c) => all.reduce((sum, part) => sum + at(part[k], c), 0));
  for (const part of all) {
    const length = first[0].length;
    if (part[0].length !== length || part[1].length !== length) {
      fail("shape-mismatch", `${owner}: all sums must have ${length} values`);
    }
  }
  return { dy: sum(0), dyXHat: sum(1) };
}

type Pair = [Float64Values, Float64Values];

const at = (values: ArrayLike<number>, c: number) => values[c] as number;
