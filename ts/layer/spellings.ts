/** Layer and RMS norm and unit length as Keras spells them: its names and defaults. */
import { checkOneOf } from "../core/checks.js";
import type { KernelOption } from "../core/default-kernel.js";
import { readOptions } from "../core/options.js";
import { Operation } from "../generated/abi.js";
import type { Axes } from "./axes.js";
import { RowEngine } from "./engine.js";
import { RowNorm } from "./layer.js";
import { LAYER_OPTIONS, RMS_OPTIONS, readLayerOptions } from "./layer-options.js";
import { layerNormPresets, rmsNormPresets, UNIT_PRESET } from "./presets.js";
import {
  layerAccess,
  type RMSNormSaved,
  rmsAccess,
  type UnitNormSaved,
  unitAccess,
} from "./saved.js";

/** Options of Keras's `RMSNormalization`. */
export interface RMSNormalizationOptions extends KernelOption {
  /** The axes that are normalized together; default −1. */
  axis?: Axes | null | undefined;
  /** Added to the mean square; default 1e-6. */
  epsilon?: number | null | undefined;
}

/** Options of Keras's `UnitNormalization`. */
export interface UnitNormalizationOptions extends KernelOption {
  /** The axes that are normalized together; default −1. */
  axis?: Axes | null | undefined;
}

/** Options of Keras's `LayerNormalization`. */
export interface LayerNormalizationOptions extends KernelOption {
  /** The axes that are normalized together; default −1. */
  axis?: Axes | null | undefined;
  /** Added to the variance; default 1e-3. */
  epsilon?: number | null | undefined;
  /** Whether there is β; default true. */
  center?: boolean | null | undefined;
  /** Whether there is γ; default true. */
  scale?: boolean | null | undefined;
}

/**
 * `keras.layers.LayerNormalization`: the sizes are learned from the first input.
 *
 * @example
 * const norm = new LayerNormalization();
 * norm.forward(x);   // → Tensor([2, 3]) { -1.224, 0, 1.224, -1.225, 0, 1.225 }
 */
export class LayerNormalization extends RowNorm {
  /** @throws BatchNormError `invalid-option`, `unknown-option`, `invalid-shape` */
  constructor(options?: LayerNormalizationOptions | null) {
    const owner = "LayerNormalization";
    const names = ["axis", "epsilon", "center", "scale", "kernel"];
    const { axis, epsilon, center, scale, kernel } = readOptions(owner, options, names);
    // By Keras's name.
    checkOneOf(scale ?? true, owner, "scale");
    const own = { elementwiseAffine: scale, bias: center ?? true };
    const given = { ...own, axes: axis, eps: epsilon, kernel };
    const all = { ...given, preset: "keras" as const };
    const read = readLayerOptions(owner, all, layerNormPresets, LAYER_OPTIONS);
    super(new RowEngine(read, Operation.LayerForward, layerAccess, null));
  }

  protected override get owner(): string {
    return "LayerNormalization";
  }
}

/**
 * `keras.layers.RMSNormalization`: the sizes are learned from the first input.
 *
 * @example
 * const norm = new RMSNormalization();
 * norm.forward(x);   // → Tensor([2, 3]) { 0.4629, 0.9258, 1.389, 0.4629, 0.9258, 1.389 }
 */
export class RMSNormalization extends RowNorm<RMSNormSaved> {
  /** @throws BatchNormError `invalid-option`, `unknown-option`, `invalid-shape` */
  constructor(options?: RMSNormalizationOptions | null) {
    const owner = "RMSNormalization";
    const { axis, epsilon, kernel } = readOptions(owner, options, ["axis", "epsilon", "kernel"]);
    const given = { axes: axis, eps: epsilon, kernel, preset: "keras" as const };
    const read = readLayerOptions(owner, given, rmsNormPresets, RMS_OPTIONS);
    super(new RowEngine(read, Operation.RmsForward, rmsAccess, null));
  }

  protected override get owner(): string {
    return "RMSNormalization";
  }
}

/**
 * `keras.layers.UnitNormalization`: each row is divided by its Euclidean length, `y = x·min(1/‖x‖,
 * 1e12)`. There are no parameters, and any shape is taken. (PyTorch: `F.normalize(x, dim=axis)`.)
 *
 * @example
 * const norm = new UnitNormalization();
 * norm.forward(x);   // → Tensor([2, 3]) { 0.2673, 0.5345, 0.8018, 0.2673, 0.5345, 0.8018 }
 */
export class UnitNormalization extends RowNorm<UnitNormSaved> {
  /** @throws BatchNormError `invalid-option`, `unknown-option`, `invalid-shape` */
  constructor(options?: UnitNormalizationOptions | null) {
    const owner = "UnitNormalization";
    const { axis, kernel } = readOptions(owner, options, ["axis", "kernel"]);
    const given = { axes: axis, kernel, elementwiseAffine: false, preset: "keras" as const };
    const read = readLayerOptions(owner, given, { keras: UNIT_PRESET }, RMS_OPTIONS);
    super(new RowEngine(read, Operation.UnitForward, unitAccess, null));
  }

  protected override get owner(): string {
    return "UnitNormalization";
  }
}
