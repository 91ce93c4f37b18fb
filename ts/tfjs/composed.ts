/**
 * The same norms by tfjs's own operations: where a backend has none of our kernels, and where a gradient
 * is to have gradients itself. In float32, as tfjs computes.
 */
import { fold, type Problem } from "./problem.js";
import type { Inputs, Tensor, Tf } from "./types.js";

/** x less its mean, and 1/√(σ² + ε), folded. */
function settle(tf: Tf, problem: Problem, x: Tensor): { centered: Tensor; scale: Tensor } {
  const { shape, axes } = fold(problem, x.shape);
  const folded = tf.reshape(x, shape);
  const centered = problem.norm === "rms" ? folded : tf.sub(folded, tf.mean(folded, axes, true));
  const variance = tf.mean(tf.square(centered), axes, true);
  return { centered, scale: tf.rsqrt(tf.add(variance, problem.epsilon)) };
}

/** y by x's own statistics. */
export function composedForward(
  tf: Tf,
  problem: Problem,
  x: Tensor,
  gamma: Tensor | null,
  beta: Tensor | null,
): Tensor {
  const { parameters } = fold(problem, x.shape);
  const { centered, scale } = settle(tf, problem, x);
  let y = tf.mul(centered, scale);
  if (gamma) y = tf.mul(y, tf.reshape(gamma, parameters));
  if (beta) y = tf.add(y, tf.reshape(beta, parameters));
  return tf.reshape(y, x.shape);
}

/** dx, dγ and dβ of {@link composedForward}. */
export function composedBackward(
  tf: Tf,
  problem: Problem,
  dy: Tensor,
  x: Tensor,
  gamma: Tensor | null,
): Tensor[] {
  const { shape, axes, parameters } = fold(problem, x.shape);
  const { centered, scale } = settle(tf, problem, x);
  const normalized = tf.mul(centered, scale);
  const folded = tf.reshape(dy, shape);
  const weighted = gamma ? tf.mul(folded, tf.reshape(gamma, parameters)) : folded;
  const alongX = tf.mean(tf.mul(weighted, normalized), axes, true);
  let dx = tf.sub(weighted, tf.mul(normalized, alongX));
  if (problem.norm !== "rms") dx = tf.sub(dx, tf.mean(weighted, axes, true));
  const ofParameter = (each: Tensor) => tf.reshape(sumTo(tf, each, parameters), problem.parameters);
  return [
    tf.reshape(tf.mul(dx, scale), x.shape),
    ofParameter(tf.mul(folded, normalized)),
    ofParameter(folded),
  ];
}

/** y by given statistics, which broadcast, as do γ and β. */
export function composedFused(tf: Tf, inputs: Inputs<Tensor>, epsilon: number): Tensor {
  const { x, mean, variance, scale, offset } = inputs as { [name: string]: Tensor };
  let y = tf.sub(x as Tensor, mean as Tensor);
  y = tf.mul(y, tf.rsqrt(tf.add(variance as Tensor, epsilon)));
  if (scale) y = tf.mul(y, scale);
  return offset ? tf.add(y, offset) : y;
}

/** dx, dγ, dβ, dμ and dσ² of {@link composedFused}, where γ and β are given. */
export function composedFusedBackward(
  tf: Tf,
  epsilon: number,
  { dy, x, mean, variance, scale, offset }: { readonly [name: string]: Tensor },
): Tensor[] {
  const r = tf.rsqrt(tf.add(variance as Tensor, epsilon));
  const normalized = tf.mul(tf.sub(x as Tensor, mean as Tensor), r);
  const weighted = tf.mul(tf.mul(dy as Tensor, scale as Tensor), r);
  const half = tf.mul(tf.mul(weighted, normalized), tf.mul(r, tf.scalar(-0.5)));
  const of = (each: Tensor, like: Tensor | undefined) => sumTo(tf, each, (like as Tensor).shape);
  return [
    of(weighted, x),
    of(tf.mul(dy as Tensor, normalized), scale),
    of(dy as Tensor, offset),
    of(tf.mul(weighted, tf.scalar(-1)), mean),
    of(half, variance),
  ];
}

/** The sum over all that a shape was spread to. */
function sumTo(tf: Tf, each: Tensor, shape: readonly number[]): Tensor {
  // Of nothing tfjs's wasm backend gives what lies in its memory.
  if (each.size === 0) return tf.zeros(shape);
  const ahead = each.shape.length - shape.length;
  const spread = each.shape.flatMap((_, axis) => ((shape[axis - ahead] ?? 1) === 1 ? [axis] : []));
  return tf.reshape(spread.length > 0 ? tf.sum(each, spread) : each, shape);
}
