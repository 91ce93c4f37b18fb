import { insideOf, NormSaved, savedAccessFor } from "../core/saved.js";
import { Operation } from "../generated/abi.js";

/** For all that needs saved values; what can do without asks `core/saved-access.ts`. */
export const savedAccess = /* @__PURE__ */ savedAccessFor(
  Operation.GroupForward,
  (state) => new GroupNormSaved(state),
);

/**
 * What a forward pass of group or instance norm keeps for its backward pass.
 *
 * @example
 * const { y, saved } = groupNorm(x, { numGroups: 1, saved: true });
 * saved.mean;        // → Float64Array [2, 6]
 * saved.numGroups;   // → 1
 * const { dx } = groupNormBackward(dy, { saved });
 * saved.dispose();
 */
export class GroupNormSaved extends NormSaved {
  readonly [Symbol.toStringTag]: string = "GroupNormSaved";

  /**
   * Number of groups of each sample: of instance norm the number of channels.
   *
   * @example
   * const { saved } = groupNorm(x, { numGroups: 3, saved: true });
   * saved.numGroups;   // → 3
   */
  get numGroups(): number {
    // By running statistics a layer normalizes as batch norm does, without groups.
    return insideOf(this).call?.groups || this.channels;
  }
}
