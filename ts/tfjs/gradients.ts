/**
 * Gradients of our kernels, and of tfjs's `FusedBatchNorm`. Where they are to have gradients themselves
 * they are composed of tfjs's operations; else they are kernels.
 */
import { channelsOf } from "./channels.js";
import { composedBackward, composedFusedBackward } from "./composed.js";
import { Kernels } from "./kernels.js";
import type { Problem } from "./problem.js";
import type { GradConfig, Tensor, Tf } from "./types.js";

/** Of several outputs that of the first. */
const first = (dy: Tensor | Tensor[]): Tensor => (Array.isArray(dy) ? (dy[0] as Tensor) : dy);

/** Whether the backend of now has our kernels. */
export function isOurs(tf: Tf): boolean {
  return tf.getKernel(Kernels.Forward, tf.getBackend()) !== undefined;
}

/** Whether a gradient that is computed now may be one of our kernels, which have no gradients. */
function isPlain(tf: Tf): boolean {
  return isOurs(tf) && tf.engine().state.gradientDepth === 0;
}

/** Gradients of the kernels that are ours. */
export function ownGradients(tf: Tf): GradConfig[] {
  return [true, false].map((isScaled) => ({
    kernelName: isScaled ? Kernels.Forward : Kernels.ForwardUnscaled,
    inputsToSave: isScaled ? ["x", "gamma"] : ["x"],
    outputsToSave: [false, true, false, false],
    gradFunc(dys, saved, attrs) {
      const dy = first(dys);
      const [x, gamma] = saved as [Tensor, Tensor];
      const statistics = saved[isScaled ? 2 : 1] as Tensor;
      const inputs = isScaled ? { dy, x, gamma, statistics } : { dy, x, statistics };
      const name = isScaled ? Kernels.Backward : Kernels.BackwardUnscaled;
      const [dx, dgamma, dbeta] = isPlain(tf)
        ? (tf.engine().runKernel(name, inputs, attrs) as Tensor[])
        : composedBackward(tf, attrs as unknown as Problem, dy, x, isScaled ? gamma : null);
      // What the batch moves has no part in y.
      const unmoved = () => tf.zerosLike(dgamma as Tensor);
      // All are there already: made where they are asked for, others would end with that scope.
      return {
        x: () => dx as Tensor,
        gamma: () => dgamma as Tensor,
        beta: () => dbeta as Tensor,
        movingMean: unmoved,
        movingVariance: unmoved,
      };
    },
  }));
}

/** tfjs's gradient of `FusedBatchNorm` with ours before it. */
export function overFusedGradient(original: GradConfig, tf: Tf): GradConfig {
  return {
    ...original,
    // β's shape may be another than the statistics'.
    inputsToSave: [...(original.inputsToSave as string[]), "offset"],
    gradFunc(dys, saved, attrs) {
      const [x, mean, variance, scale, offset] = saved as [Tensor, Tensor, Tensor, Tensor, Tensor];
      if (x.dtype !== "float32" || !isOurs(tf)) return original.gradFunc(dys, saved, attrs);
      const dy = first(dys);
      const inputs = { dy, x, mean, variance, scale, offset };
      const [dx, dscale, doffset, dmean, dvariance] =
        typeof channelsOf(inputs) === "object" && isPlain(tf)
          ? (tf.engine().runKernel(Kernels.FusedBackward, inputs, attrs) as Tensor[])
          : composedFusedBackward(tf, attrs.varianceEpsilon as number, inputs);
      return {
        x: () => dx as Tensor,
        scale: () => dscale as Tensor,
        offset: () => doffset as Tensor,
        mean: () => dmean as Tensor,
        variance: () => dvariance as Tensor,
      };
    },
  };
}
