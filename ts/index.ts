/** The public API on one screen. */
// Whoever uses the types has `Symbol.dispose` then, whatever their `lib` is.
/// <reference lib="esnext.disposable" preserve="true" />
export type { PlainResult, PlainTensor, Vector } from "./arguments.js";
export {
  type BatchNormBackwardOptions,
  type BatchNormGradients,
  type BatchNormInferenceOptions,
  type BatchNormOptions as BatchNormFunctionOptions,
  type BatchNormStatisticsOptions,
  type BatchNormTrainingOptions,
  batchNormBackward,
  batchNormInference,
  batchNormStatistics,
  batchNormTraining,
} from "./batch-norm.js";
export {
  type BackwardOptions,
  BatchNorm,
  type BatchNormLayerOptions,
  type ForwardOptions,
  type StatisticsSwitch,
} from "./batch-norm-layer.js";
export { BatchNormError, type BatchNormErrorCode } from "./errors.js";
export {
  createKernel,
  defaultKernel,
  type Kernel,
  type KernelOption,
  type MemoryUsage,
  memoryUsage,
  reserve,
} from "./kernel.js";
export { type PresetName, presets } from "./presets.js";
export { BatchNormSaved } from "./saved.js";
export { scope } from "./scope.js";
export {
  BatchNorm1d,
  BatchNorm2d,
  BatchNorm3d,
  BatchNormalization,
  type BatchNormalizationOptions,
  type BatchNormNdOptions,
} from "./spellings.js";
export type { LoadOptions, SavedStateDict, StateDict, StateDictEntry } from "./state-dict.js";
export { Storage } from "./storage.js";
export { Parameter, Tensor, type TensorData } from "./tensor.js";
