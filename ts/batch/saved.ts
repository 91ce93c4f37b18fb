import { insideOf, NormSaved, savedAccessFor } from "../core/saved.js";
import type { Float64Values } from "../core/values.js";
import { Operation } from "../generated/abi.js";
import { correctionsOf } from "./renorm.js";

/** For all that needs saved values; what can do without asks `core/saved-access.ts`. */
export const savedAccess = /* @__PURE__ */ savedAccessFor(
  Operation.Forward,
  (state) => new BatchNormSaved(state),
);

/**
 * What a forward pass of batch norm keeps for its backward pass.
 *
 * @example
 * const { y, saved } = batchNormTraining(x, { weight, bias });
 * saved.mean;         // → Float64Array [2, 4, 6]
 * saved.statistics;   // → "batch"
 * const { dx, weightGrad, biasGrad } = batchNormBackward(dy, { saved });
 * saved.dispose();
 */
export class BatchNormSaved extends NormSaved {
  readonly [Symbol.toStringTag]: string = "BatchNormSaved";

  /**
   * Whether the batch's statistics normalized x, or given ones, which are constant.
   *
   * @example
   * saved.statistics;       // → "batch"
   * bn.eval().forward(x);
   * bn.saved?.statistics;   // → "running"
   */
  get statistics(): "batch" | "running" {
    return insideOf(this).call?.constant ? "running" : "batch";
  }

  /**
   * Copies of r and d, one a channel (of ghost batches slice by slice), that corrected the batch's
   * statistics; `null` where nothing did.
   *
   * @example
   * const options = { runningMean, runningVar, renorm: { rMax: 2 } };
   * const { saved } = batchNormTraining(x, options);
   * saved.renorm?.r;   // → Float64Array [1, 2, 2]
   */
  get renorm(): { r: Float64Values; d: Float64Values } | null {
    const state = insideOf(this);
    const numbers = state.extra("renorm");
    return numbers.length > 0 ? correctionsOf(numbers, state.sizes) : null;
  }
}
