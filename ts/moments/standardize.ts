/** Standardizing by float64 statistics, with the kernel's inference. */
import { batchNormInference } from "../batch/functions.js";
import type { KernelOption } from "../core/default-kernel.js";
import type { PlainResult, PlainTensor } from "../core/plain.js";
import type { Tensor } from "../core/tensor.js";
import type { Float64Values } from "../core/values.js";

/** Of each channel: (x − mean)·scale + offset. */
export interface Standardization {
  readonly mean: Float64Values;
  readonly scale: Float64Values;
  readonly offset: Float64Values;
}

/** What the kernel's inference does it by, in float32. */
export interface Affine {
  readonly mean: Float32Array;
  readonly variance: Float32Array;
  readonly weight: Float32Array;
  readonly bias: Float32Array;
  readonly eps: 0;
}

/** What rounding leaves over of a mean goes into the offset. */
export function affineOf({ mean, scale, offset }: Standardization): Affine {
  const center = Float32Array.from(mean);
  const bias = Float32Array.from(mean, (mean, c) => {
    return (offset[c] as number) - (mean - (center[c] as number)) * (scale[c] as number);
  });
  const variance = new Float32Array(mean.length).fill(1);
  return { mean: center, variance, weight: Float32Array.from(scale), bias, eps: 0 };
}

/** (x − mean)·scale + offset by the kernel. */
export function standardize(
  x: Tensor | PlainTensor,
  by: Standardization,
  options: KernelOption & { axis: number; out?: Tensor | null | undefined },
): Tensor | PlainResult {
  return batchNormInference(x, { ...options, ...affineOf(by) });
}
