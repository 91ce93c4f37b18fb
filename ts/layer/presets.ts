/** Each framework's conventions, as data. */
import type { StateNames } from "../core/layer-state.js";
import { immutable } from "../core/presets.js";

/** Float32's machine epsilon, 2⁻²³. (A power of two would stay in bundles that have no use for it.) */
export const FLOAT32_EPSILON = 1.1920928955078125e-7;

/** Of `keras.layers.UnitNormalization` (3.15), which has no other and no parameters. */
export const UNIT_PRESET: LayerPreset = { eps: 1e-12, names: { weight: "", bias: "" } };

/** What distinguishes one framework's layer or RMS norm from another's. */
export interface LayerPreset {
  readonly eps: number;
  readonly names: StateNames;
}

/**
 * Sources: `torch.nn.LayerNorm` (2.15), `keras.layers.LayerNormalization` (3.15), ONNX
 * `LayerNormalization` (opset 17), `flax.linen.LayerNorm` (0.10).
 *
 * @example
 * layerNormPresets.keras.eps;          // → 0.001
 * layerNormPresets.onnx.names.weight;  // → "Scale"
 */
export const layerNormPresets = /* @__PURE__ */ immutable({
  torch: { eps: 1e-5, names: { weight: "weight", bias: "bias" } },
  keras: { eps: 1e-3, names: { weight: "gamma", bias: "beta" } },
  onnx: { eps: 1e-5, names: { weight: "Scale", bias: "B" } },
  flax: { eps: 1e-6, names: { weight: "scale", bias: "bias" } },
} as const satisfies Record<string, LayerPreset>);

/**
 * Sources: `torch.nn.RMSNorm` (2.15; its `eps=None` is float32's machine epsilon),
 * `keras.layers.RMSNormalization` (3.15), ONNX `RMSNormalization` (opset 23), `flax.linen.RMSNorm`
 * (0.10).
 *
 * @example
 * rmsNormPresets.torch.eps === 2 ** -23;   // → true
 */
export const rmsNormPresets = /* @__PURE__ */ immutable({
  torch: { eps: FLOAT32_EPSILON, names: { weight: "weight", bias: "bias" } },
  keras: { eps: 1e-6, names: { weight: "scale", bias: "bias" } },
  onnx: { eps: 1e-5, names: { weight: "scale", bias: "bias" } },
  flax: { eps: 1e-6, names: { weight: "scale", bias: "bias" } },
} as const satisfies Record<string, LayerPreset>);
