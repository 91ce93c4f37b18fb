/** Each framework's conventions, as data. */
import type { StateNames } from "../core/layer-state.js";
import { immutable } from "../core/presets.js";

/** What distinguishes one framework's batch norm from another's. */
export interface Preset {
  readonly eps: number;
  readonly momentum: number;
  /** Whether momentum is the weight of the new batch, or of the old value that is kept. */
  readonly momentumWeighs: "new" | "kept";
  /** Which variance the running one follows. All normalize with the biased one. */
  readonly runningVariance: "biased" | "unbiased";
  readonly axis: number;
  readonly names: StateNames;
  /** Whether a new layer trains; `null` where it has to be told before its first call. */
  readonly training: boolean | null;
  /** PyTorch refuses to train on one value a channel, or with eps = 0. */
  readonly strictTraining: boolean;
}

/**
 * Sources: `torch.nn.BatchNorm2d` (2.13), `keras.layers.BatchNormalization` (3.15),
 * ONNX `BatchNormalization` (opset 15), `flax.linen.BatchNorm` (0.10). Keras's `call`
 * infers without `training`, ONNX's `training_mode` is 0, Flax demands `use_running_average`.
 *
 * @example
 * presets.keras.momentum;                       // → 0.99
 * new BatchNorm(3, { preset: "keras" }).axis;   // → -1
 * presets.onnx.names.runningMean;               // → "input_mean"
 */
export const presets = /* @__PURE__ */ immutable({
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
    training: true,
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
      runningStd: "moving_stddev",
      renormMean: "renorm_mean",
      renormStd: "renorm_stddev",
    },
    training: false,
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
    training: false,
    strictTraining: false,
  },
  flax: {
    eps: 1e-5,
    momentum: 0.99,
    momentumWeighs: "kept",
    runningVariance: "biased",
    axis: -1,
    names: { weight: "scale", bias: "bias", runningMean: "mean", runningVar: "var" },
    training: null,
    strictTraining: false,
  },
} as const satisfies Record<string, Preset>);

/** A framework whose conventions a layer can follow. */
export type PresetName = keyof typeof presets;
