/**
 * L1 and L2 penalties of weights, and their gradients.
 *
 * ```text
 * L1: λ·Σ|w|       its subgradient λ·sign(w)
 * L2: λ/2·Σw²      its gradient λ·w, which is weight decay where the optimizer is SGD
 * ```
 */
import { batchNormInference, readStatistics } from "../batch/functions.js";
import { checkNotNegative } from "../core/checks.js";
import { fail } from "../core/errors.js";
import { overlaps, sameNumbers } from "../core/geometry.js";
import { readOptions } from "../core/options.js";
import { showShape } from "../core/show.js";
import { checkTensor, type Tensor, tensorOf } from "../core/tensor.js";
import { copyOut, type View } from "../core/view.js";

/** Options of a penalty. */
export interface PenaltyOptions {
  /** λ, from 0 on. */
  strength: number;
  /** A tensor of the weight's shape that the gradient is **added** to. */
  grad?: Tensor | null | undefined;
}

/**
 * The L1 penalty of a weight, λ·Σ|w|, which drives weights to zero; adds its subgradient.
 *
 * @returns the penalty
 * @throws BatchNormError `invalid-option`, `unknown-option`, `dtype`, `shape-mismatch`, `overlap`,
 *   `disposed`
 *
 * @example
 * const grad = Tensor.zeros([3]);
 * l1Penalty(Tensor.from([1, -2, 0]), { strength: 0.5, grad });   // → 1.5
 * grad;   // → Tensor([3]) { 0.5, -0.5, 0 }
 */
export function l1Penalty(weight: Tensor, options: PenaltyOptions): number {
  const { view, strength, grad } = read("l1Penalty", weight, options);
  const weights = view.contiguous ? view.elements : copyOut(view);
  let sum = 0;
  for (let i = 0; i < view.size; i++) sum += Math.abs(weights[i] as number);
  if (grad?.contiguous) {
    addSigns(grad.elements, weights, strength);
    grad.wrote();
  } else if (grad) {
    const sums = copyOut(grad);
    addSigns(sums, weights, strength);
    tensorOf(grad).set(sums);
  }
  return strength * sum;
}

/** A loop of its own, over locals alone: as a closure it takes three times as long. */
function addSigns(to: Float32Array, weights: Float32Array, strength: number): void {
  for (let i = 0; i < to.length; i++) {
    to[i] = (to[i] as number) + strength * Math.sign(weights[i] as number);
  }
}

/**
 * The L2 penalty of a weight, λ/2·Σw², which keeps weights small; adds its gradient λ·w, by the kernel.
 * (Of γ and β of a norm, and of biases, it is usually left out.)
 *
 * @returns the penalty
 * @throws BatchNormError as {@link l1Penalty}, `foreign-kernel`, `out-of-memory`
 *
 * @example
 * const grad = Tensor.zeros([3]);
 * l2Penalty(Tensor.from([1, -2, 0]), { strength: 0.5, grad });   // → 1.25
 * grad;   // → Tensor([3]) { 0.5, -1, 0 }
 */
export function l2Penalty(weight: Tensor, options: PenaltyOptions): number {
  const owner = "l2Penalty";
  const { view, strength, grad } = read(owner, weight, options);
  const channels = view.shape[view.shape.length - 1] as number;
  const { mean, variance, count } = readStatistics(owner, weight, { axis: -1 }, ["axis"]);
  const squares =
    mean.reduce((sum, mean, c) => sum + (variance[c] as number) + mean ** 2, 0) * count;
  if (grad) {
    const vector = (value: number) => new Float32Array(channels).fill(value);
    const by = { mean: vector(0), variance: vector(1), weight: vector(strength), eps: 0, axis: -1 };
    const to = tensorOf(grad);
    batchNormInference(weight, { ...by, residual: to, out: to });
  }
  return (strength / 2) * squares;
}

function read(
  owner: string,
  weight: unknown,
  options: PenaltyOptions,
): { view: View; strength: number; grad: View | null } {
  const given = readOptions(owner, options, ["strength", "grad"]);
  const { strength } = given;
  checkNotNegative(strength, owner, "strength");
  const view = checkTensor(weight, `${owner}: weight`);
  const grad = given.grad == null ? null : checkTensor(given.grad, `${owner}: grad`);
  if (view.disposed) fail("disposed", `${owner}: weight was disposed`);
  if (grad?.disposed) fail("disposed", `${owner}: grad was disposed`);
  if (grad && !sameNumbers(grad.shape, view.shape)) {
    fail(
      "shape-mismatch",
      `${owner}: grad must have the weight's shape ${showShape(view.shape)}, got ${showShape(grad.shape)}`,
    );
  }
  if (grad && grad.allocation === view.allocation && overlaps(grad, view)) {
    fail("overlap", `${owner}: grad overlaps weight`);
  }
  return { view, strength, grad };
}
