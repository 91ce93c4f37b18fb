import { insideOf, NormSaved, savedAccessFor } from "../core/saved.js";
import { Operation } from "../generated/abi.js";

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
}
