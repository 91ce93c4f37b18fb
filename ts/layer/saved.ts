import { insideOf, NormSaved, savedAccessFor } from "../core/saved.js";
import type { Float64Values } from "../core/values.js";
import { Operation } from "../generated/abi.js";

// For all that needs saved values; what can do without asks `core/saved-access.ts`.
export const layerAccess = /* @__PURE__ */ savedAccessFor(
  Operation.LayerForward,
  (state) => new LayerNormSaved(state),
);
export const rmsAccess = /* @__PURE__ */ savedAccessFor(
  Operation.RmsForward,
  (state) => new RMSNormSaved(state),
);
export const unitAccess = /* @__PURE__ */ savedAccessFor(
  Operation.UnitForward,
  (state) => new UnitNormSaved(state),
);

/**
 * What a forward pass of layer norm keeps for its backward pass. The means and variances are those
 * of the rows, in their order.
 *
 * @example
 * const { y, saved } = layerNorm(x, { saved: true });
 * saved.mean;              // → Float64Array [2, 6]
 * saved.normalizedShape;   // → [3]
 * const { dx } = layerNormBackward(dy, { saved });
 * saved.dispose();
 */
export class LayerNormSaved extends NormSaved {
  readonly [Symbol.toStringTag]: string = "LayerNormSaved";

  /**
   * The sizes of the axes that are normalized together.
   *
   * @example
   * const { saved } = layerNorm(x, { axes: [0, 1], saved: true });
   * saved.normalizedShape;   // → [2, 3]
   */
  get normalizedShape(): readonly number[] {
    return [...(insideOf(this).call?.rows?.shape ?? [])];
  }

  /**
   * 1/√(variance + eps) of each row: ONNX's `InvStdDev`.
   *
   * @example
   * const { saved } = layerNorm(x, { saved: true });
   * saved.inverseStd;   // → Float64Array [1.225, 0.4082]
   */
  get inverseStd(): Float64Values {
    const { eps } = this;
    return this.variance.map((variance) => 1 / Math.sqrt(variance + eps));
  }
}

/**
 * What a forward pass of RMS norm keeps for its backward pass: the means are 0, and the variances
 * mean squares.
 *
 * @example
 * const { y, saved } = rmsNorm(x, { saved: true });
 * saved instanceof RMSNormSaved;   // → true
 * saved.variance;                  // → Float64Array [4.667, 42]
 * const { dx } = rmsNormBackward(dy, { saved });
 * saved.dispose();
 */
export class RMSNormSaved extends LayerNormSaved {
  override readonly [Symbol.toStringTag]: string = "RMSNormSaved";
}

/**
 * What a forward pass to unit length keeps for its backward pass: the means are 0, and the variances
 * the squares of the rows' lengths.
 *
 * @example
 * const norm = new UnitNormalization();
 * norm.forward(x);
 * norm.saved instanceof UnitNormSaved;   // → true
 * norm.saved?.variance;                  // → Float64Array [14, 126]
 */
export class UnitNormSaved extends RMSNormSaved {
  override readonly [Symbol.toStringTag]: string = "UnitNormSaved";

  /**
   * min(1/length, 1/eps) of each row.
   *
   * @example
   * const norm = new UnitNormalization();
   * norm.forward(x);
   * norm.saved?.inverseStd;   // → Float64Array [0.2673, 0.08909]
   */
  override get inverseStd(): Float64Values {
    const { eps } = this;
    return this.variance.map((square) => 1 / Math.max(Math.sqrt(square), eps));
  }
}
