/** What group and instance norm layers can be told. */
import { checkAxis, checkOneOf } from "../core/checks.js";
import type { KernelOption } from "../core/default-kernel.js";
import { fail } from "../core/errors.js";
import { setOption } from "../core/layer-options.js";
import { readOptions } from "../core/options.js";
import { presetOf } from "../core/presets.js";
import type { GroupPreset, groupNormPresets, instanceNormPresets } from "./presets.js";

/** What both can be told; what is absent follows the preset. */
interface CommonOptions extends KernelOption {
  /** Added to the variance; finite, not negative. */
  eps?: number | null | undefined;
  /** Whether there are γ and β; default true, of torch's instance norm false. */
  affine?: boolean | null | undefined;
  /** γ alone; default as `affine`. */
  scale?: boolean | null | undefined;
  /** β alone; default as `affine`. */
  offset?: boolean | null | undefined;
  /** The channel axis, negative from the end. The first axis counts samples, unless it is that. */
  axis?: number | null | undefined;
  /** See {@link GroupNorm.requiresGrad}; default true. */
  requiresGrad?: boolean | null | undefined;
}

/** Options of {@link GroupNorm}. */
export interface GroupNormLayerOptions extends CommonOptions {
  /** Whose conventions to follow; default `torch`. */
  preset?: keyof typeof groupNormPresets | null | undefined;
}

/** Options of {@link InstanceNorm}. */
export interface InstanceNormLayerOptions extends CommonOptions {
  /** Whose conventions to follow; default `torch`. */
  preset?: keyof typeof instanceNormPresets | null | undefined;
  /** Whether there are running statistics, which normalize in evaluation (torch alone has them). */
  trackRunningStats?: boolean | null | undefined;
  /**
   * Weight of the new batch in the running statistics, from 0 to 1; default 0.1, also for `null`
   * (torch's `None` stands for 0 in this norm).
   */
  momentum?: number | null | undefined;
}

export const GROUP_OPTIONS = [
  ...["preset", "eps", "affine", "scale", "offset", "axis", "requiresGrad", "kernel"],
];
export const INSTANCE_OPTIONS = /* @__PURE__ */ GROUP_OPTIONS.concat(
  "trackRunningStats",
  "momentum",
);

/** Of PyTorch's layers by rank. */
export const TORCH_INSTANCE_OPTIONS = [
  ...["eps", "momentum", "affine", "trackRunningStats", "kernel"],
];

/** The options of a layer, read. */
export interface LayerOptions {
  /** The name of the layer's class in error messages. */
  readonly owner: string;
  readonly preset: GroupPreset;
  readonly scale: boolean;
  readonly offset: boolean;
  readonly axis: number;
  readonly trackRunningStats: boolean;
  readonly kernel: unknown;
  training: boolean;
  eps: number;
  momentum: number;
  requiresGrad: boolean;
}

/**
 * A layer's options; what is absent follows the preset.
 *
 * @throws BatchNormError `invalid-option`, `unknown-option`, `unsupported`
 */
export function readLayerOptions(
  owner: string,
  options: InstanceNormLayerOptions | GroupNormLayerOptions | null | undefined,
  presets: Readonly<Record<string, GroupPreset>>,
  known: readonly string[],
): LayerOptions {
  const given: InstanceNormLayerOptions = readOptions(
    owner,
    options as InstanceNormLayerOptions | null | undefined,
    known,
  );
  const preset = presetOf(presets, given.preset ?? "torch", owner);
  const affine = given.affine ?? preset.affine;
  // A literal: what somebody has put on `Object.prototype` by such a name may not be writable.
  const read: LayerOptions = {
    owner,
    preset,
    scale: given.scale ?? affine,
    offset: given.offset ?? affine,
    axis: given.axis ?? preset.axis,
    trackRunningStats: given.trackRunningStats ?? false,
    kernel: given.kernel,
    training: true,
    eps: given.eps ?? preset.eps,
    momentum: given.momentum ?? 0.1,
    requiresGrad: given.requiresGrad ?? true,
  };
  checkOneOf(affine, owner, "affine");
  for (const name of ["scale", "offset", "trackRunningStats"] as const) {
    checkOneOf(read[name], owner, name);
  }
  checkAxis(read.axis, owner);
  for (const name of ["eps", "momentum", "requiresGrad"] as const) {
    setOption(read, name, read[name]);
  }
  if (read.trackRunningStats && !preset.names.runningMean) {
    fail("unsupported", `${owner}: trackRunningStats is of the torch preset`);
  }
  return read;
}
