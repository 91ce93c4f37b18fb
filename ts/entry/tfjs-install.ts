/** `batchnorm-wasm/tfjs/install`: what {@link ./tfjs.ts} does, for a tfjs that is a script or a second copy. */
// How kernels are made: the default entry, whose file this one needs.
import "batchnorm-wasm";

// The error by way of the index: so this entry shares one file with the others (`build-js.mjs`), and its
// errors are theirs.
export { BatchNormError, type BatchNormErrorCode, type MemoryUsage } from "../index.js";
export { type InstallOptions, install, type TfNamespace } from "../tfjs/install.js";
export { normalizationMemory, releaseMemory } from "../tfjs/memory.js";
export {
  type AffineArgs,
  type GroupNormalizationArgs,
  type LayerArgs,
  type Normalizations,
  normalizations,
  type RMSNormalizationArgs,
  type TfLayers,
} from "../tfjs/normalizations.js";
