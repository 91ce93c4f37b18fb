/** Standardizing by float64 statistics, with the kernel's inference. */
import { INFERENCE, infer } from "../batch/functions.js";
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

/** The options of the kernel's inference for it. */
export function affineOf({ mean, scale, offset }: Standardization) {
  const variance = new Float64Array(mean.length).fill(1);
  const [weight, bias] = [Float32Array.from(scale), Float32Array.from(offset)];
  return { mean, variance, weight, bias, eps: 0 };
}

/** (x − mean)·scale + offset by the kernel, in the name of a call. */
export function standardize(
  owner: string,
  x: Tensor | PlainTensor,
  by: Standardization,
  options: KernelOption & { axis: number; out?: Tensor | null | undefined },
): Tensor | PlainResult {
  return infer({ ...INFERENCE, owner }, x, { ...options, ...affineOf(by) }) as Tensor | PlainResult;
}
