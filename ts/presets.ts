/** Each framework's conventions, as data. */
import { fail, unknownName } from "./errors.js";

/** Names of a state dict's entries. */
interface Names {
  readonly weight: string;
  readonly bias: string;
  readonly runningMean: string;
  readonly runningVar: string;
  /** Absent where the framework counts no batches. */
  readonly numBatchesTracked?: string;
}

/** What distinguishes one framework's batch norm from another's. */
export interface Preset {
  readonly eps: number;
  readonly momentum: number;
  /** Whether momentum is the weight of the new batch, or of the old value that is kept. */
  readonly momentumWeighs: "new" | "kept";
  /** Which variance the running one follows. All normalize with the biased one. */
  readonly runningVariance: "biased" | "unbiased";
  readonly axis: number;
  readonly names: Names;
  /** PyTorch refuses to train on one value a channel, or with eps = 0. */
  readonly strictTraining: boolean;
}

/**
 * Sources: `torch.nn.BatchNorm2d` (2.13), `keras.layers.BatchNormalization` (3.15),
 * ONNX `BatchNormalization` (opset 15), `flax.linen.BatchNorm` (0.10).
 */
export const presets = {
  torch: {
    eps: 1e-5,
    momentum: 0.1,
    momentumWeighs: "new",
    runningVariance: "unbiased",
    axis: 1,
    names: {
      weight: "weight",
      bias: "bias",
      runningMean: "running_mean",
      runningVar: "running_var",
      numBatchesTracked: "num_batches_tracked",
    },
    strictTraining: true,
  },
  keras: {
    eps: 1e-3,
    momentum: 0.99,
    momentumWeighs: "kept",
    runningVariance: "biased",
    axis: -1,
    names: {
      weight: "gamma",
      bias: "beta",
      runningMean: "moving_mean",
      runningVar: "moving_variance",
    },
    strictTraining: false,
  },
  onnx: {
    eps: 1e-5,
    momentum: 0.9,
    momentumWeighs: "kept",
    runningVariance: "biased",
    axis: 1,
    names: {
      weight: "scale",
      bias: "B",
      runningMean: "input_mean",
      runningVar: "input_var",
    },
    strictTraining: false,
  },
  flax: {
    eps: 1e-5,
    momentum: 0.99,
    momentumWeighs: "kept",
    runningVariance: "biased",
    axis: -1,
    names: { weight: "scale", bias: "bias", runningMean: "mean", runningVar: "var" },
    strictTraining: false,
  },
} as const satisfies Record<string, Preset>;

/** A framework whose conventions a layer can follow. */
export type PresetName = keyof typeof presets;

/** @throws BatchNormError `unknown-option` with the nearest name that there is */
export function presetOf(name: string, owner: string): Preset {
  if (Object.hasOwn(presets, name)) return presets[name as PresetName];
  return fail("unknown-option", unknownName(owner, "preset", name, Object.keys(presets)));
}
