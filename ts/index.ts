/**
 * The public API on one screen. What is named here is public; all else is seen by its own folder
 * and by those above it, and may change.
 *
 * In the examples of docstrings x is `[[1, 2, 3], [3, 6, 9]]`, dy is `[[1, 1, 1], [2, 4, 6]]` and
 * bn is a new `BatchNorm(3)`; a result stands behind `→`, to four digits.
 */
// Whoever uses the types has `Symbol.dispose` then, whatever their `lib` is.
/// <reference lib="esnext.disposable" preserve="true" />

// Batch norm.
export type { Activation, ActivationOptions, ResidualOption } from "./batch/activation.js";
export type {
  BatchNormBackwardOptions,
  BatchNormGradients,
  BatchNormInferenceOptions,
  BatchNormStatisticsOptions,
  BatchNormTrainingOptions,
} from "./batch/function-options.js";
export {
  type BatchNormForward,
  batchNormBackward,
  batchNormInference,
  batchNormStatistics,
  batchNormTraining,
} from "./batch/functions.js";
export { BatchNorm } from "./batch/layer.js";
export type {
  BackwardOptions,
  BatchNormLayerOptions,
  ForwardOptions,
  StatisticsSwitch,
} from "./batch/layer-options.js";
export { type PresetName, presets } from "./batch/presets.js";
export {
  type RenormLimits,
  type RenormOptions,
  type RenormScheduleOptions,
  renormSchedule,
} from "./batch/renorm.js";
export { BatchNormSaved } from "./batch/saved.js";
export {
  BatchNorm1d,
  BatchNorm2d,
  BatchNorm3d,
  BatchNormalization,
  type BatchNormalizationOptions,
  type BatchNormNdOptions,
  type RenormClipping,
} from "./batch/spellings.js";
export type { Mask, WeightOptions, Weights } from "./batch/weights.js";
// What every norm has: tensors, kernels and their memory, errors.
export type { Storage } from "./core/allocation.js";
export type { Vector } from "./core/arguments.js";
export { defaultKernel, type KernelOption, memoryUsage, reserve } from "./core/default-kernel.js";
export type { DtypeName } from "./core/dtypes.js";
export { BatchNormError, type BatchNormErrorCode } from "./core/errors.js";
export type { Float64Vector } from "./core/float64.js";
export type { KernelModule, LinearMemory, MemoryOptions } from "./core/instance.js";
export { createKernel, type Kernel } from "./core/kernel.js";
export type { MemoryTrace, MemoryUsage } from "./core/memory.js";
export type {
  NormBackwardOptions,
  NormForward,
  NormGradients,
  NormOptions,
} from "./core/norm-options.js";
export { Parameter } from "./core/parameter.js";
export type { PlainResult, PlainTensor } from "./core/plain.js";
export {
  type SampleBackwardOptions,
  type SampleForwardOptions,
  SampleNorm,
} from "./core/sample-norm.js";
export { NormSaved } from "./core/saved.js";
export { scope } from "./core/scope.js";
export type {
  ConvertedEntry,
  LoadOptions,
  LoadReport,
  ModelLoadOptions,
  SavedStateDict,
  StateDict,
  StateDictEntry,
  StateDictOptions,
  StateDictSource,
  TypedBytes,
} from "./core/state-dict.js";
export { Tensor } from "./core/tensor.js";
export { traceMemory } from "./core/trace.js";
export type {
  Backing,
  Float32Values,
  Float32View,
  Float64Values,
  MemoryBuffer,
  NumberSource,
  TensorData,
} from "./core/values.js";
// Deployment.
export {
  type FoldedKind,
  type FoldedLayer,
  type FoldedStatistics,
  type FoldOptions,
  foldBatchNorm,
} from "./folding/fold.js";
export { addScaleL1, type PrunedLayer, pruneByScale } from "./folding/pruning.js";
// Group and instance norm.
export {
  type GroupNormBackwardOptions,
  type GroupNormForward,
  type GroupNormOptions,
  groupNorm,
  groupNormBackward,
  type InstanceNormOptions,
  instanceNorm,
  instanceNormBackward,
} from "./group/functions.js";
export { InstanceNorm } from "./group/instance.js";
export { ChannelNorm, GroupNorm } from "./group/layer.js";
export type { GroupNormLayerOptions, InstanceNormLayerOptions } from "./group/layer-options.js";
export { groupNormPresets, instanceNormPresets } from "./group/presets.js";
export { GroupNormSaved } from "./group/saved.js";
export {
  GroupNormalization,
  type GroupNormalizationOptions,
  InstanceNorm1d,
  InstanceNorm2d,
  InstanceNorm3d,
  type InstanceNormNdOptions,
} from "./group/spellings.js";
// Layer and RMS norm, and unit length.
export type { Axes } from "./layer/axes.js";
export {
  type LayerNormBackwardOptions,
  type LayerNormForward,
  type LayerNormOptions,
  layerNorm,
  layerNormBackward,
  type RMSNormBackwardOptions,
  type RMSNormForward,
  type RMSNormGradients,
  type RMSNormOptions,
  rmsNorm,
  rmsNormBackward,
} from "./layer/functions.js";
export { LayerNorm, RMSNorm, RowNorm } from "./layer/layer.js";
export type { LayerNormLayerOptions, RMSNormLayerOptions } from "./layer/layer-options.js";
export { layerNormPresets, rmsNormPresets } from "./layer/presets.js";
export { LayerNormSaved, RMSNormSaved, UnitNormSaved } from "./layer/saved.js";
export {
  LayerNormalization,
  type LayerNormalizationOptions,
  RMSNormalization,
  type RMSNormalizationOptions,
  UnitNormalization,
  type UnitNormalizationOptions,
} from "./layer/spellings.js";
// All layers of a network at once.
export {
  freeze,
  loadStateDict,
  type Model,
  parameters,
  stateDict,
  train,
} from "./model/model.js";
// Moments that merge, and what is built on them.
export {
  type AdaptationOptions,
  type AdaptedBatchNorm,
  type AdaptedForwardOptions,
  adaptBatchNorm,
} from "./moments/adaptation.js";
export {
  type AveragedStateDict,
  type AverageOptions,
  averageStateDicts,
} from "./moments/federated.js";
export { type ChannelHealth, type Health, type HealthInputs, health } from "./moments/health.js";
export {
  type CountedStatistics,
  Moments,
  type MomentsJSON,
  type MomentsOptions,
} from "./moments/moments.js";
export { decayedMomentum, type MomentumDecay } from "./moments/momentum.js";
export { type PreciseOptions, preciseBatchNorm } from "./moments/precise.js";
export {
  type NormalizeOptions,
  RunningMoments,
  type RunningMomentsJSON,
  type RunningMomentsOptions,
} from "./moments/running.js";
export {
  addSums,
  type BackwardSums,
  type SyncBatchNormOptions,
  type SyncBatchNormPass,
  syncBatchNorm,
} from "./moments/sync.js";
// Beside norms.
export { type DropoutOptions, dropout, dropoutBackward } from "./regularization/dropout.js";
export { l1Penalty, l2Penalty, type PenaltyOptions } from "./regularization/penalties.js";
