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
import { type Float64Vector, inverseStd, readChannels, readFloat64 } from "../core/float64.js";
import { overlaps, resolveAxis } from "../core/geometry.js";
import { checkOperands, Place } from "../core/operands.js";
import { readOptions } from "../core/options.js";
import { FORWARD_NAMES } from "../core/passes.js";
import { checkTensor, type Tensor, tensorOf } from "../core/tensor.js";
import type { Float64Values } from "../core/values.js";
import type { View } from "../core/view.js";
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
  /**
   * What the others need of dy, and the gradients of γ and β of this part.
   *
   * @param dy a tensor of the part's shape
   * @throws BatchNormError `stale` where x was overwritten; as {@link batchNormBackward}
   */
  sums(dy: Tensor): BackwardSums;
  /**
   * The gradient with respect to this part.
   *
   * @param total of all workers: {@link addSums}
   * @returns dx, a new tensor
   * @throws BatchNormError as `sums`; `invalid-option`, `unknown-option`, `dtype`, `shape-mismatch`
   *   of `total`
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
 * @throws BatchNormError as {@link batchNormTraining}, and `overlap` where `out` is x
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
  const { moments, kernel } = given;
  const eps = given.eps ?? 1e-5;
  const axis = given.axis ?? 1;
  checkNotNegative(eps, owner, "eps");
  if (!(moments instanceof Moments)) {
    mustBe("invalid-option", `${owner}: moments`, "Moments of the whole batch", moments);
  }
  const { mean, variance, count, channels } = moments;
  const view = checkTensor(x, `${owner}: x`);
  const { shape } = view;
  const along = resolveAxis(axis, shape.length, owner);
  if (shape[along] !== channels) {
    fail(
      "shape-mismatch",
      `${owner}: the moments are of ${channels} channels, x has ${shape[along]} along axis ${axis}`,
    );
  }
  const gamma = readChannels(given.weight, `${owner}: weight`, channels, 1);
  const beta = readChannels(given.bias, `${owner}: bias`, channels, 0);
  const to = given.out == null ? null : checkTensor(given.out, `${owner}: out`);
  const out = tensorOf(to);
  const move = readMove(given, moments, owner);
  if (to?.allocation === view.allocation && overlaps(to, view)) {
    fail("overlap", `${owner}: out overlaps x, which the backward pass needs`);
  }
  checkOperands(FORWARD_NAMES, owner, view, along, [
    [Place.OUT, to],
    [Place.FIRST_ACCUMULATOR, move?.mean ?? null],
    [Place.SECOND_ACCUMULATOR, move?.variance ?? null],
  ]);
  const std = inverseStd(variance, eps);
  const product = (a: Float64Values, b: Float64Values) => a.map((value, c) => value * at(b, c));
  const scale = product(gamma, std);
  const common = { axis, kernel };
  const { y, saved } = batchNormInference(x, {
    ...common,
    ...affineOf({ mean, scale, offset: beta }),
    out,
    saved: true,
  });
  move?.run();

  // Its way back is that of constants, whose dx is γ·s·dy.
  const ofPart = (dy: Tensor, owner: string) => {
    checkTensor(dy, `${owner}: dy`);
    const parts = batchNormBackward(dy, { saved });
    const [ofWeight, ofBias] = [parts.weightGrad as Tensor, parts.biasGrad as Tensor];
    const [products, sums] = [ofWeight, ofBias].map((one) => readFloat64(one, owner)) as [
      Float64Values,
      Float64Values,
    ];
    ofWeight.dispose();
    ofBias.dispose();
    const dyXHat = product(std, products);
    return { dx: parts.dx, sums: { dy: Array.from(sums), dyXHat: Array.from(dyXHat) } };
  };
  return Object.freeze({
    y,
    sums(dy: Tensor) {
      const { dx, sums } = ofPart(dy, "SyncBatchNormPass.sums");
      dx.dispose();
      return sums;
    },
    backward(dy: Tensor, total: BackwardSums) {
      const owner = "SyncBatchNormPass.backward";
      const [sums, products] = readSums(total, `${owner}: total`, channels);
      const meansOf = (sums: Float64Values) => sums.map((value) => value / (count || 1));
      const { dx } = ofPart(dy, owner);
      // −γ·s·(A/N + x̂·B/N), to which γ·s·dy is added.
      const slope = product(product(scale, std), meansOf(products)).map((value) => -value);
      const offset = product(scale, meansOf(sums)).map((value) => -value);
      const by = affineOf({ mean, scale: slope, offset });
      try {
        return batchNormInference(x, { ...common, ...by, residual: dx, out: dx });
      } catch (error) {
        dx.dispose();
        throw error;
      }
    },
    dispose: () => (saved as BatchNormSaved).dispose(),
  });
}

/** What moves running statistics, and how. */
interface Move {
  readonly mean: View;
  readonly variance: View;
  run(): void;
}

/** What moves running statistics, checked; the same in all workers. */
function readMove(
  options: SyncBatchNormOptions,
  { mean, variance, unbiasedVariance, count }: Moments,
  owner: string,
): Move | null {
  const { runningMean, runningVar } = options;
  const weight = options.momentum ?? 0.1;
  const kind = options.runningVariance ?? "unbiased";
  checkMomentum(weight, owner);
  checkOneOf(kind, owner, "runningVariance", ["biased", "unbiased"]);
  if ((runningMean == null) !== (runningVar == null)) {
    fail("invalid-option", `${owner}: runningMean and runningVar go together`);
  }
  if (runningMean == null) return null;
  const views = [
    checkTensor(runningMean, `${owner}: runningMean`),
    checkTensor(runningVar, `${owner}: runningVar`),
  ] as const;
  const batch = [mean, kind === "unbiased" ? unbiasedVariance : variance] as const;
  const run = () => {
    if (count === 0) return;
    views.forEach((view, k) => {
      const running = tensorOf(view);
      const old = running.toFloat32Array();
      const moved = batch[k]?.map((value, c) => at(old, c) * (1 - weight) + value * weight);
      running.set(moved as Float64Values);
    });
  };
  return { mean: views[0], variance: views[1], run };
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
  let channels: number | undefined;
  const all = Array.from(parts, (part, i) => {
    const sums = readSums(part, `${owner}: part ${i}`, channels);
    channels = sums[0].length;
    return sums;
  });
  if (channels === undefined) fail("invalid-option", `${owner}: there are no parts`);
  const sum = (k: 0 | 1) =>
    Array.from({ length: channels as number }, (_, c) =>
      all.reduce((sum, part) => sum + at(part[k], c), 0),
    );
  return { dy: sum(0), dyXHat: sum(1) };
}

/**
 * Both sums of a part, of as many channels.
 *
 * @throws BatchNormError `invalid-option`, `unknown-option`, `dtype`, `shape-mismatch`
 */
function readSums(part: BackwardSums, name: string, channels?: number): Pair {
  if (part == null) mustBe("invalid-option", name, "{ dy, dyXHat }", part);
  const given = readOptions(name, part, ["dy", "dyXHat"]);
  const dy = readFloat64(given.dy, `${name}: dy`);
  const dyXHat = readFloat64(given.dyXHat, `${name}: dyXHat`);
  for (const [sum, values] of Object.entries({ dy, dyXHat })) {
    const wanted = channels ?? dy.length;
    if (values.length !== wanted) {
      fail("shape-mismatch", `${name}: ${sum} must have ${wanted} values, got ${values.length}`);
    }
  }
  return [dy, dyXHat];
}

type Pair = [Float64Values, Float64Values];

const at = (values: ArrayLike<number>, c: number) => values[c] as number;
