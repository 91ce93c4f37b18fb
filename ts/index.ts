/** The public API on one screen. */
// Whoever uses the types has `Symbol.dispose` then, whatever their `lib` is.
/// <reference lib="esnext.disposable" preserve="true" />
export type { Storage } from "./allocation.js";
export type { PlainResult, PlainTensor, Vector } from "./arguments.js";
export {
  type BatchNormBackwardOptions,
  type BatchNormForward,
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
export type { KernelModule, LinearMemory, MemoryOptions } from "./instantiate.js";
export {
  createKernel,
  defaultKernel,
  type Kernel,
  type KernelOption,
  memoryUsage,
  reserve,
} from "./kernel.js";
export type { MemoryTrace, MemoryUsage } from "./port.js";
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
export type {
  LoadOptions,
  SavedStateDict,
  StateDict,
  StateDictEntry,
  StateDictOptions,
} from "./state-dict.js";
export { Parameter, Tensor } from "./tensor.js";
export { traceMemory } from "./trace.js";
export type { Float32Values, Float64Values, NumberSource, TensorData } from "./values.js";
