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

/**
 * (x − mean)·scale + offset by the kernel, whose constants are float32: what rounding leaves over of
 * a mean goes into the offset.
 */
export function standardize(
  x: Tensor | PlainTensor,
  { mean, scale, offset }: Standardization,
  options: KernelOption & { axis: number; out?: Tensor | null | undefined },
): Tensor | PlainResult {
  const center = Float32Array.from(mean);
  const bias = Float32Array.from(mean, (mean, c) => {
    return (offset[c] as number) - (mean - (center[c] as number)) * (scale[c] as number);
  });
  const [variance, weight] = [new Float32Array(mean.length).fill(1), Float32Array.from(scale)];
  return batchNormInference(x, { ...options, mean: center, variance, weight, bias, eps: 0 });
}
