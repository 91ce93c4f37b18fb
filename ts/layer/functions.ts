/**
 * Layer normalization (Ba, Kiros & Hinton 2016, arXiv:1607.06450) and root mean square
 * normalization (Zhang & Sennrich 2019, arXiv:1910.07467), as functions.
 *
 * ```text
 * layer   y  = γ·(x − μ)/√(σ² + ε) + β      μ, σ²: of a row
 * RMS     y  = γ·x/√(mean x² + ε)
 *         dβ = Σ dy      dγ = Σ dy·x̂       γ, β: of an element of the rows
 * ```
 *
 * `crate/kernel/src/norm/layer.rs` has it in full. A row is what lies along the normalized axes.
 */
import type { Vector } from "../core/arguments.js";
import {
  NORM_BACKWARD_OPTIONS,
  type NormBackwardOptions,
  type NormForward,
  type NormGradients,
  type NormOptions,
} from "../core/norm-options.js";
import { readOptions } from "../core/options.js";
import { backwardPass, type ForwardPass, forwardPass } from "../core/passes.js";
import type { PlainResult, PlainTensor } from "../core/plain.js";
import { savedAccessOf } from "../core/saved-access.js";
import type { Tensor } from "../core/tensor.js";
import { Operation } from "../generated/abi.js";
import { type Axes, readAxes, resolveAxes } from "./axes.js";
import { FLOAT32_EPSILON } from "./presets.js";
import { rowCall } from "./rows.js";
import { type LayerNormSaved, layerAccess, type RMSNormSaved, rmsAccess } from "./saved.js";

/** Options of `rmsNorm`. */
export interface RMSNormOptions extends Omit<NormOptions, "axis" | "bias"> {
  /** γ, one for each element of a row, flat or in their shape; 1 where absent. */
  weight?: Vector | null | undefined;
  /** Added to the mean square; default 2⁻²³, as PyTorch's `None`. */
  eps?: number | null | undefined;
  /** The axes that are normalized together, negative from the end; default the last one. */
  axes?: Axes | null | undefined;
  /**
   * What the backward pass needs: saved values of an earlier call to overwrite, or `true` for new
   * ones, and then `{ y, saved }` is returned.
   */
  saved?: RMSNormSaved | boolean | null | undefined;
}

/** Options of `layerNorm`. */
export interface LayerNormOptions extends Omit<NormOptions, "axis"> {
  /** γ, one for each element of a row, flat or in their shape; 1 where absent. */
  weight?: Vector | null | undefined;
  /** β, likewise; 0 where absent. */
  bias?: Vector | null | undefined;
  /** The axes that are normalized together, negative from the end; default the last one. */
  axes?: Axes | null | undefined;
  /**
   * What the backward pass needs: saved values of an earlier call to overwrite, or `true` for new
   * ones, and then `{ y, saved }` is returned.
   */
  saved?: LayerNormSaved | boolean | null | undefined;
}

/** Options of `layerNormBackward`. */
export type LayerNormBackwardOptions = NormBackwardOptions<LayerNormSaved>;

/** Options of `rmsNormBackward`. */
export type RMSNormBackwardOptions = Omit<NormBackwardOptions<RMSNormSaved>, "biasGrad">;

/** A forward pass with what its backward pass needs. */
export type LayerNormForward<T> = NormForward<T, LayerNormSaved>;

/** Likewise, of RMS norm. */
export type RMSNormForward<T> = NormForward<T, RMSNormSaved>;

/** What `rmsNormBackward` returns: {@link NormGradients} without a bias. */
export type RMSNormGradients<T> = Omit<NormGradients<T>, "biasGrad">;

const RMS_OPTIONS = ["weight", "eps", "axes", "out", "kernel", "saved"];
const LAYER_OPTIONS = /* @__PURE__ */ RMS_OPTIONS.concat("bias");
const LAYER = {
  owner: "layerNorm",
  operation: Operation.LayerForward,
  backward: "layerNormBackward",
};
const RMS = {
  owner: "rmsNorm",
  operation: Operation.RmsForward,
  backward: "rmsNormBackward",
  eps: FLOAT32_EPSILON,
};

/**
 * Normalizes each row, the elements along the last axis or some others, by its own mean and
 * variance: `y = γ·(x − mean)/√(variance + eps) + β`.
 *
 * As `torch.nn.functional.layer_norm`. γ and β are of an element of the rows. The last axes are
 * fastest, then any one axis; several that don't lie end to end go through copies.
 *
 * @param x any rank from 1 on; `{ data, shape }` is copied in, and y out
 * @returns y (`out`, or a new tensor of x's shape); with `saved: true`, `{ y, saved }`
 * @throws BatchNormError `shape-mismatch`, `invalid-option`, `invalid-shape`, `dtype`, `overlap`,
 *   `disposed`, `foreign-kernel`, `out-of-memory`, `unsupported` for `saved: true` in a program
 *   that only goes forward
 *
 * @example
 * layerNorm(x);   // → Tensor([2, 3]) { -1.225, 0, 1.225, -1.225, 0, 1.225 }
 * const y = layerNorm(x, { axes: [0, 1], weight: [1, 1, 1, 2, 2, 2] });
 */
export function layerNorm(
  x: Tensor,
  options: LayerNormOptions & { saved: true },
): LayerNormForward<Tensor>;
export function layerNorm(
  x: PlainTensor,
  options: LayerNormOptions & { saved: true },
): LayerNormForward<PlainResult>;
export function layerNorm(
  x: Tensor,
  options?: (LayerNormOptions & { saved?: LayerNormSaved | false | null | undefined }) | null,
): Tensor;
export function layerNorm(
  x: PlainTensor,
  options?: (LayerNormOptions & { saved?: LayerNormSaved | false | null | undefined }) | null,
): PlainResult;
export function layerNorm(
  x: Tensor | PlainTensor,
  options?: (LayerNormOptions & { saved?: LayerNormSaved | false | null | undefined }) | null,
): Tensor | PlainResult;
export function layerNorm(
  x: Tensor | PlainTensor,
  options?: LayerNormOptions | null,
): Tensor | PlainResult | LayerNormForward<Tensor | PlainResult>;
export function layerNorm(
  x: Tensor | PlainTensor,
  options?: LayerNormOptions | null,
): Tensor | PlainResult | LayerNormForward<Tensor | PlainResult> {
  const given = readOptions(LAYER.owner, options, LAYER_OPTIONS);
  return forward(LAYER, x, given) as Tensor | LayerNormForward<Tensor>;
}

/**
 * Normalizes each row, the elements along the last axis or some others, by its root mean square:
 * `y = γ·x/√(mean of x² + eps)`.
 *
 * As `torch.nn.functional.rms_norm`, in all else as {@link layerNorm}.
 *
 * @param x as {@link layerNorm}'s
 * @returns y (`out`, or a new tensor of x's shape); with `saved: true`, `{ y, saved }`
 * @throws BatchNormError as {@link layerNorm}
 *
 * @example
 * rmsNorm(x);   // → Tensor([2, 3]) { 0.4629, 0.9258, 1.389, 0.4629, 0.9258, 1.389 }
 * const y = rmsNorm(x, { weight, eps: 1e-6 });
 */
export function rmsNorm(
  x: Tensor,
  options: RMSNormOptions & { saved: true },
): RMSNormForward<Tensor>;
export function rmsNorm(
  x: PlainTensor,
  options: RMSNormOptions & { saved: true },
): RMSNormForward<PlainResult>;
export function rmsNorm(
  x: Tensor,
  options?: (RMSNormOptions & { saved?: RMSNormSaved | false | null | undefined }) | null,
): Tensor;
export function rmsNorm(
  x: PlainTensor,
  options?: (RMSNormOptions & { saved?: RMSNormSaved | false | null | undefined }) | null,
): PlainResult;
export function rmsNorm(
  x: Tensor | PlainTensor,
  options?: (RMSNormOptions & { saved?: RMSNormSaved | false | null | undefined }) | null,
): Tensor | PlainResult;
export function rmsNorm(
  x: Tensor | PlainTensor,
  options?: RMSNormOptions | null,
): Tensor | PlainResult | RMSNormForward<Tensor | PlainResult>;
export function rmsNorm(
  x: Tensor | PlainTensor,
  options?: RMSNormOptions | null,
): Tensor | PlainResult | RMSNormForward<Tensor | PlainResult> {
  const given = readOptions(RMS.owner, options, RMS_OPTIONS);
  return forward(RMS, x, given) as Tensor | RMSNormForward<Tensor>;
}

/**
 * The gradients of {@link layerNorm} with `saved`, with respect to x, weight and bias.
 *
 * @param dy of x's shape; `{ data, shape }` is copied in, and dx out
 * @returns dx (`out`, or a new tensor), and the gradients that were added to or made, in the
 *   shape of the weight; `null` where there are none
 * @throws BatchNormError `stale` where x was overwritten or disposed since the forward
 *   pass; `shape-mismatch`, `overlap`, `disposed`, `foreign-kernel`, `out-of-memory`
 *
 * @example
 * const { saved } = layerNorm(x, { weight, bias, saved: true });
 * const { dx, weightGrad, biasGrad } = layerNormBackward(dy, { saved });
 * biasGrad;   // → Tensor([3]) { 3, 5, 7 }
 */
export function layerNormBackward(
  dy: Tensor,
  options: LayerNormBackwardOptions,
): NormGradients<Tensor>;
export function layerNormBackward(
  dy: PlainTensor,
  options: LayerNormBackwardOptions,
): NormGradients<PlainResult>;
export function layerNormBackward(
  dy: Tensor | PlainTensor,
  options: LayerNormBackwardOptions,
): NormGradients<Tensor | PlainResult>;
export function layerNormBackward(
  dy: Tensor | PlainTensor,
  options: LayerNormBackwardOptions,
): NormGradients<Tensor | PlainResult> {
  const owner = "layerNormBackward";
  const given = readOptions(owner, options, NORM_BACKWARD_OPTIONS);
  return backwardPass(owner, layerAccess, dy, given);
}

/**
 * The gradients of {@link rmsNorm} with `saved`, with respect to x and weight.
 *
 * @param dy as {@link layerNormBackward}'s
 * @returns dx (`out`, or a new tensor), and the gradient of the weight that was added to or made;
 *   `null` where there is none
 * @throws BatchNormError as {@link layerNormBackward}
 *
 * @example
 * const { saved } = rmsNorm(x, { weight, saved: true });
 * const { dx, weightGrad } = rmsNormBackward(dy, { saved });
 * weightGrad;   // → Tensor([3]) { 1.389, 4.629, 9.721 }
 */
export function rmsNormBackward(
  dy: Tensor,
  options: RMSNormBackwardOptions,
): RMSNormGradients<Tensor>;
export function rmsNormBackward(
  dy: PlainTensor,
  options: RMSNormBackwardOptions,
): RMSNormGradients<PlainResult>;
export function rmsNormBackward(
  dy: Tensor | PlainTensor,
  options: RMSNormBackwardOptions,
): RMSNormGradients<Tensor | PlainResult>;
export function rmsNormBackward(
  dy: Tensor | PlainTensor,
  options: RMSNormBackwardOptions,
): RMSNormGradients<Tensor | PlainResult> {
  const owner = "rmsNormBackward";
  const { saved, out, weightGrad: given } = readOptions(owner, options, RMS_BACKWARD_OPTIONS);
  const all = { saved, out, weightGrad: given, biasGrad: null };
  const { dx, weightGrad } = backwardPass(owner, rmsAccess, dy, all);
  return { dx, weightGrad };
}

const RMS_BACKWARD_OPTIONS = ["saved", "out", "weightGrad"];

function forward(
  pass: ForwardPass,
  x: unknown,
  given: LayerNormOptions | RMSNormOptions,
): Tensor | PlainResult | NormForward<Tensor | PlainResult, unknown> {
  const { operation, owner } = pass;
  const axes = readAxes(given.axes, owner);
  const { saved } = given;
  const wanted = saved === false ? null : saved;
  const result = forwardPass(pass, savedAccessOf(operation), x, given, wanted, (x) =>
    rowCall(operation, owner, x, resolveAxes(axes, x.shape.length, owner)),
  );
  return wanted === true ? result : result.y;
}
