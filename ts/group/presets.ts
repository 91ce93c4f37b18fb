/** Each framework's conventions, as data. */
import type { StateNames } from "../core/layer-state.js";
import { immutable } from "../core/presets.js";

/** What distinguishes one framework's group norm from another's. */
export interface GroupPreset {
  readonly eps: number;
  readonly axis: number;
  /** Whether there are γ and β, unless told otherwise. */
  readonly affine: boolean;
  readonly names: StateNames;
  /** PyTorch refuses to normalize one value. */
  readonly strict: boolean;
  /** Whether γ and β are a group's, and not a channel's. */
  readonly perGroup?: boolean;
}

const [torch, keras] = [
  { weight: "weight", bias: "bias" },
  { weight: "gamma", bias: "beta" },
];
const [flax, onnx] = [
  { weight: "scale", bias: "bias" },
  { weight: "scale", bias: "B" },
];

/**
 * Sources: `torch.nn.GroupNorm` (2.15), `keras.layers.GroupNormalization` (3.15), ONNX
 * `GroupNormalization` (`onnx`: opset 21; `onnx18`: opset 18 to 20, whose scale and bias are a group's),
 * `flax.linen.GroupNorm` (0.10).
 *
 * @example
 * groupNormPresets.keras.eps;                          // → 0.001
 * new GroupNorm(1, 3, { preset: "flax" }).axis;        // → -1
 */
export const groupNormPresets = /* @__PURE__ */ immutable({
  torch: { eps: 1e-5, axis: 1, affine: true, names: torch, strict: true },
  keras: { eps: 1e-3, axis: -1, affine: true, names: keras, strict: false },
  onnx: { eps: 1e-5, axis: 1, affine: true, names: flax, strict: false },
  onnx18: { eps: 1e-5, axis: 1, affine: true, names: flax, strict: false, perGroup: true },
  flax: { eps: 1e-6, axis: -1, affine: true, names: flax, strict: false },
} as const satisfies Record<string, GroupPreset>);

/**
 * Sources: `torch.nn.InstanceNorm2d` (2.15), ONNX `InstanceNormalization` (opset 22),
 * `flax.linen.InstanceNorm` (0.10). Keras has `GroupNormalization({ groups: -1 })`.
 *
 * @example
 * instanceNormPresets.torch.affine;      // → false
 * instanceNormPresets.onnx.names.bias;   // → "B"
 */
export const instanceNormPresets = /* @__PURE__ */ immutable({
  torch: {
    eps: 1e-5,
    axis: 1,
    affine: false,
    names: {
      weight: "weight",
      bias: "bias",
      runningMean: "running_mean",
      runningVar: "running_var",
      numBatchesTracked: "num_batches_tracked",
    },
    strict: true,
  },
  onnx: { eps: 1e-5, axis: 1, affine: true, names: onnx, strict: false },
  flax: { eps: 1e-6, axis: -1, affine: true, names: flax, strict: false },
} as const satisfies Record<string, GroupPreset>);
