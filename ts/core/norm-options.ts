/** What the functions of all norms can be told, and what they return. */
import type { Vector } from "./arguments.js";
import type { KernelOption } from "./default-kernel.js";
import type { Tensor } from "./tensor.js";

/** What every forward pass takes; defaults are PyTorch's. */
export interface NormOptions extends KernelOption {
  /** γ, one a channel; 1 where absent. */
  weight?: Vector | null | undefined;
  /** β, one a channel; 0 where absent. */
  bias?: Vector | null | undefined;
  /** Added to the variance; default 1e-5. */
  eps?: number | null | undefined;
  /** The channel axis, negative from the end; default 1. */
  axis?: number | null | undefined;
  /** Where to write y: a tensor of x's shape, x itself for in place. */
  out?: Tensor | null | undefined;
}

/** What every backward pass takes. */
export interface NormBackwardOptions<S> {
  /** What the forward pass saved. */
  saved: S;
  /** Where to write dx: a tensor of x's shape, dy itself for in place. */
  out?: Tensor | null | undefined;
  /** dγ is **added** to it. If absent, a new one where there was a weight; none if `null`. */
  weightGrad?: Tensor | null | undefined;
  /** dβ is **added** to it. If absent, a new one where there was a weight or a bias; none if `null`. */
  biasGrad?: Tensor | null | undefined;
}

/** A forward pass with what its backward pass needs. */
export interface NormForward<T, S> {
  y: T;
  saved: S;
}

/** What a backward pass returns. */
export interface NormGradients<T> {
  /** With respect to x, in its shape. */
  dx: T;
  /** With respect to the weight, `[C]`. */
  weightGrad: Tensor | null;
  /** With respect to the bias, `[C]`. */
  biasGrad: Tensor | null;
}

export const NORM_OPTIONS = ["weight", "bias", "eps", "axis", "out", "kernel", "saved"];
export const NORM_BACKWARD_OPTIONS = ["saved", "out", "weightGrad", "biasGrad"];
