/** `batchnorm-wasm/weights`: files of weights, read and written. No kernel is needed, and none comes with it. */
// The error by way of the index: so this entry shares one file with the others (`build-js.mjs`), and its
// errors are theirs.
export { BatchNormError, type BatchNormErrorCode } from "../index.js";
export type { FileBytes } from "../weights/bytes.js";
export type { WeightDict, WeightEntry, WeightOptions } from "../weights/dict.js";
export { type SafetensorsOptions, toSafetensors, type WritableEntry } from "../weights/encode.js";
export {
  fromLayersModel,
  type LayersModel,
  type LayersModelFiles,
  type WeightGroup,
  type WeightSpec,
} from "../weights/layers-model.js";
export {
  fromSafetensors,
  inspectSafetensors,
  type SafetensorsContents,
} from "../weights/safetensors.js";
