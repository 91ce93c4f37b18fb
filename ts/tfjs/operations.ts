/** A norm as an operation of tfjs's: one of our kernels with its gradient, or composed where there are none. */
import { composedForward } from "./composed.js";
import { isOurs } from "./gradients.js";
import { Kernels } from "./kernels.js";
import type { Problem } from "./problem.js";
import type { Inputs, Tensor, Tf } from "./types.js";

/**
 * Normalizes x by its own statistics.
 *
 * @param moving statistics that the batch moves
 * @returns y; of our kernels also the statistics' bits, and what the batch has moved
 */
export function runNorm(
  tf: Tf,
  problem: Problem,
  x: Tensor,
  gamma: Tensor | null | undefined,
  beta: Tensor | null | undefined,
  moving: Inputs<Tensor> = {},
): Tensor[] {
  if (!(isOurs(tf) && x.dtype === "float32")) {
    return [composedForward(tf, problem, x, gamma ?? null, beta ?? null)];
  }
  // What is absent must have no name.
  const inputs = { x, ...(gamma && { gamma }), ...(beta && { beta }), ...moving };
  const name = gamma ? Kernels.Forward : Kernels.ForwardUnscaled;
  return tf.engine().runKernel(name, inputs, problem) as Tensor[];
}
