/** What layer and RMS norm layers can be told. */
import { checkOneOf } from "../core/checks.js";
import type { KernelOption } from "../core/default-kernel.js";
import { setOption } from "../core/layer-options.js";
import { readOptions } from "../core/options.js";
import { presetOf } from "../core/presets.js";
import type { Axes } from "./axes.js";
import type { LayerPreset, layerNormPresets, rmsNormPresets } from "./presets.js";

/** What both can be told; what is absent follows the preset. */
interface CommonOptions extends KernelOption {
  /** Added to the variance, or to the mean square; finite, not negative. */
  eps?: number | null | undefined;
  /** Whether there is γ, and of layer norm β; default true. */
  elementwiseAffine?: boolean | null | undefined;
  /** The axes that `normalizedShape` is of, negative from the end; default the last ones. */
  axes?: Axes | null | undefined;
  /** See {@link SampleNorm.requiresGrad}; default true. */
  requiresGrad?: boolean | null | undefined;
}

/** Options of {@link LayerNorm}. */
export interface LayerNormLayerOptions extends CommonOptions {
  /** Whose conventions to follow; default `torch`. */
  preset?: keyof typeof layerNormPresets | null | undefined;
  /** β; default as `elementwiseAffine`. */
  bias?: boolean | null | undefined;
}

/** Options of {@link RMSNorm}. */
export interface RMSNormLayerOptions extends CommonOptions {
  /** Whose conventions to follow; default `torch`. */
  preset?: keyof typeof rmsNormPresets | null | undefined;
}

export const RMS_OPTIONS = ["preset", "eps", "elementwiseAffine", "axes", "requiresGrad", "kernel"];
export const LAYER_OPTIONS = /* @__PURE__ */ RMS_OPTIONS.concat("bias");

/** The options of a layer, read. */
export interface LayerOptions {
  /** The name of the layer's class in error messages. */
  readonly owner: string;
  readonly preset: LayerPreset;
  readonly scale: boolean;
  readonly offset: boolean;
  readonly trackRunningStats: false;
  readonly axes: Axes | null;
  readonly kernel: unknown;
  training: boolean;
  eps: number;
  requiresGrad: boolean;
}

/**
 * A layer's options; what is absent follows the preset.
 *
 * @throws BatchNormError `invalid-option`, `unknown-option`
 */
export function readLayerOptions(
  owner: string,
  options: LayerNormLayerOptions | RMSNormLayerOptions | null | undefined,
  presets: Readonly<Record<string, LayerPreset>>,
  known: readonly string[],
): LayerOptions {
  const given: LayerNormLayerOptions = readOptions(
    owner,
    options as LayerNormLayerOptions | null | undefined,
    known,
  );
  const preset = presetOf(presets, given.preset ?? "torch", owner);
  const affine = given.elementwiseAffine ?? true;
  const offset = known.includes("bias") && (given.bias ?? affine);
  checkOneOf(affine, owner, "elementwiseAffine");
  checkOneOf(offset, owner, "bias");
  // A literal: what somebody has put on `Object.prototype` by such a name may not be writable.
  const read: LayerOptions = {
    owner,
    preset,
    scale: affine,
    offset,
    trackRunningStats: false,
    axes: given.axes ?? null,
    kernel: given.kernel,
    training: true,
    eps: given.eps ?? preset.eps,
    requiresGrad: given.requiresGrad ?? true,
  };
  setOption(read, "eps", read.eps);
  setOption(read, "requiresGrad", read.requiresGrad);
  return read;
}
