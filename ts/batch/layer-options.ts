/** What a batch norm layer can be told: the options of its making and of its calls. */
import {
  checkAxis,
  checkMomentum,
  checkNotNegative,
  checkNumber,
  checkOneOf,
} from "../core/checks.js";
import type { KernelOption } from "../core/default-kernel.js";
import { fail } from "../core/errors.js";
import { readOptions } from "../core/options.js";
import { presetOf } from "../core/presets.js";
import { show } from "../core/show.js";
import type { Tensor } from "../core/tensor.js";
import {
  ACTIVATION_OPTIONS,
  type Activation,
  type ActivationOptions,
  type ResidualOption,
  readSlope,
} from "./activation.js";
import { type Preset, type PresetName, presets } from "./presets.js";
import { hasOwnAverages, type RenormLimits, type RenormOptions, readRenorm } from "./renorm.js";
import type { BatchNormSaved } from "./saved.js";
import type { WeightOptions } from "./weights.js";

/** Which statistics normalize: by mode (`auto`), or always the batch's or the running ones. */
export type StatisticsSwitch = "auto" | "batch" | "running";

/** Options of {@link BatchNorm}; what is absent follows the preset. */
export interface BatchNormLayerOptions extends KernelOption, ActivationOptions {
  /** Whose conventions to follow; default `torch`. */
  preset?: PresetName | null | undefined;
  /** Added to the variance; finite, not negative, and in torch training not 0. */
  eps?: number | null | undefined;
  /**
   * From 0 to 1: the weight of the new batch (torch), or of the old value (keras, onnx,
   * flax). `null`, in torch only: the average of all batches, each weighing the same.
   */
  momentum?: number | null | undefined;
  /** Whether there are γ and β; default true. */
  affine?: boolean | null | undefined;
  /** γ alone; default as `affine`. */
  scale?: boolean | null | undefined;
  /** β alone; default as `affine`. */
  offset?: boolean | null | undefined;
  /** Whether there are running statistics; without, the batch's normalize in both modes. */
  trackRunningStats?: boolean | null | undefined;
  /** The channel axis, negative from the end. */
  axis?: number | null | undefined;
  /** Which variance the running one follows. */
  runningVariance?: "biased" | "unbiased" | null | undefined;
  /** See {@link BatchNorm.statistics}; default `auto`. */
  statistics?: StatisticsSwitch | null | undefined;
  /** See {@link BatchNorm.updateRunningStats}; default `auto`. */
  updateRunningStats?: boolean | "auto" | null | undefined;
  /** See {@link BatchNorm.requiresGrad}; default true. */
  requiresGrad?: boolean | null | undefined;
  /** See {@link BatchNorm.virtualBatchSize}; default the whole batch. */
  virtualBatchSize?: number | null | undefined;
  /** See {@link BatchNorm.renorm}; default none. */
  renorm?: RenormOptions | null | undefined;
  /**
   * Of the keras preset, whose renorm has averages of its own: weight of the old value in these;
   * default 0.99.
   */
  renormMomentum?: number | null | undefined;
}

/** Options of {@link BatchNorm.forward}. */
export interface ForwardOptions extends WeightOptions, ResidualOption {
  /** Where to write y: a tensor of x's shape, or x itself. */
  out?: Tensor | null | undefined;
  /** The mode of this call alone. */
  training?: boolean | null | undefined;
}

/** Options of {@link BatchNorm.backward}. */
export interface BackwardOptions {
  /** Where to write dx: a tensor of x's shape, or dy itself. */
  out?: Tensor | null | undefined;
  /** Which forward pass, as `takeSaved()` gave it; default the last one. */
  saved?: BatchNormSaved | null | undefined;
  /** Where to write the residual's gradient, if it is wanted: a tensor of x's shape, or dy itself. */
  residualGrad?: Tensor | null | undefined;
}

const LAYER_OPTIONS = [
  ...["preset", "eps", "momentum", "affine", "scale", "offset", "trackRunningStats", "axis"],
  ...["runningVariance", "statistics", "updateRunningStats", "requiresGrad", "kernel"],
  ...["virtualBatchSize", "renorm", "renormMomentum"],
];

/** What of a layer may be set at any time. */
interface Settings {
  training: boolean | null;
  eps: number;
  momentum: number | null;
  statistics: StatisticsSwitch;
  updateRunningStats: boolean | "auto";
  requiresGrad: boolean;
  virtualBatchSize: number | null;
}

/** The options of a layer, read. */
export interface LayerOptions extends Settings {
  /** The name of the layer's class in error messages. */
  readonly owner: string;
  readonly preset: Preset;
  readonly scale: boolean;
  readonly offset: boolean;
  readonly trackRunningStats: boolean;
  readonly axis: number;
  readonly runningVariance: "biased" | "unbiased";
  renorm: RenormLimits | null;
  /** Whether renorm has averages of its own, and the weight of the old value in these. */
  readonly renormStats: boolean;
  readonly renormMomentum: number;
  readonly activation: Activation | null;
  /** As {@link readSlope} has it. */
  readonly slope: number;
  readonly kernel: unknown;
}

/**
 * A layer's options; what is absent follows the preset.
 *
 * @throws BatchNormError `invalid-option`, `unknown-option`, `unsupported`
 */
export function readLayerOptions(
  owner: string,
  options: BatchNormLayerOptions | null | undefined,
): LayerOptions {
  const given = readOptions(owner, options, LAYER_OPTIONS.concat(ACTIVATION_OPTIONS));
  const preset = presetOf(presets, given.preset ?? "torch", owner);
  const affine = given.affine ?? true;
  // Here null says something: the average of all batches.
  const { momentum = preset.momentum, renormMomentum } = given;
  const renorm = readRenorm(given.renorm, owner, preset);
  const activation = given.activation ?? null;
  // A literal: what somebody has put on `Object.prototype` by such a name may not be writable.
  const read: LayerOptions = {
    owner,
    preset,
    scale: given.scale ?? affine,
    offset: given.offset ?? affine,
    trackRunningStats: given.trackRunningStats ?? true,
    axis: given.axis ?? preset.axis,
    runningVariance: given.runningVariance ?? preset.runningVariance,
    activation,
    slope: readSlope(activation, given.negativeSlope, owner),
    training: preset.training,
    eps: given.eps ?? preset.eps,
    momentum,
    statistics: given.statistics ?? "auto",
    updateRunningStats: given.updateRunningStats ?? "auto",
    requiresGrad: given.requiresGrad ?? true,
    virtualBatchSize: given.virtualBatchSize ?? null,
    renorm: null,
    renormStats: renorm !== null && hasOwnAverages(preset),
    renormMomentum: renormMomentum ?? 0.99,
    kernel: given.kernel,
  };
  checkOneOf(affine, owner, "affine");
  for (const name of ["scale", "offset", "trackRunningStats", "runningVariance"] as const) {
    checkValue(read[name], owner, name);
  }
  checkAxis(read.axis, owner);
  checkMomentum(read.renormMomentum, owner, "renormMomentum");
  if (renormMomentum != null && !read.renormStats) {
    fail("unsupported", `${owner}: renormMomentum is of the keras preset's renorm`);
  }
  for (const name of [
    "eps",
    "momentum",
    "statistics",
    "updateRunningStats",
    "requiresGrad",
    "virtualBatchSize",
  ] as const) {
    setOption(read, name, read[name]);
  }
  setRenorm(read, renorm);
  return read;
}

/**
 * Sets what may be set.
 *
 * @throws BatchNormError `invalid-option`, `unsupported`
 */
export function setOption<Name extends keyof Settings>(
  options: LayerOptions,
  name: Name,
  value: LayerOptions[Name],
): void {
  const { owner } = options;
  if (name === "eps") checkNotNegative(value, owner, "eps");
  else if (name === "virtualBatchSize") {
    if (value !== null) checkNumber(value, `${owner}: virtualBatchSize`);
  } else if (name === "momentum") {
    if (value !== null) checkMomentum(value, owner);
    else if (options.preset.momentumWeighs !== "new") {
      fail("unsupported", `${owner}: momentum null (cumulative) is of the torch preset`);
    }
  } else checkValue(value, owner, name);
  const needs = value === "running" || (value === true && name === "updateRunningStats");
  if (needs && !options.trackRunningStats) {
    fail("unsupported", `${owner}: ${name} ${show(value)} needs trackRunningStats`);
  }
  options[name] = value;
}

/**
 * Sets how far renorm may correct, which was read.
 *
 * @throws BatchNormError `unsupported`
 */
export function setRenorm(options: LayerOptions, renorm: RenormLimits | null): void {
  const { owner, preset, trackRunningStats, renormStats } = options;
  if (renorm && !trackRunningStats) {
    fail("unsupported", `${owner}: renorm needs trackRunningStats`);
  }
  if (renorm && !renormStats && hasOwnAverages(preset)) {
    fail("unsupported", `${owner}: renorm of the keras preset has to be told to the constructor`);
  }
  options.renorm = renorm;
}

/**
 * Checks an option that takes one of some values, `true` and `false` where nothing else is listed. Inside a
 * function, as Parcel leaves a table that two functions read in programs without either.
 */
function checkValue(value: unknown, owner: string, name: string): void {
  const values: Record<string, readonly unknown[]> = {
    statistics: ["auto", "batch", "running"],
    updateRunningStats: [true, false, "auto"],
    runningVariance: ["biased", "unbiased"],
  };
  checkOneOf(value, owner, name, values[name]);
}
