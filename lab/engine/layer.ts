/**
 * What the layers of the lab have in common. Values are float64, in plain TypeScript; a norm goes
 * through the package's kernels, which are float32.
 */

import type { BatchNorm, Health } from "batchnorm-wasm";
import type { Samples } from "./dataset.js";

export type Values = Float64Array;

/** What a forward pass is for. */
export interface Pass {
  /** Batch statistics and dropout, as in a step of the optimizer. */
  readonly training: boolean;
  /** Whether running statistics move and dropout drops: in steps, but not where they are watched. */
  readonly learning: boolean;
  /** Of dropout's mask, another one each step. */
  readonly seed: number;
  /** As {@link Samples.weights}; `null` where all positions count alike. */
  readonly weights: Values | null;
}

/** What the optimizer moves. */
export interface Parameter {
  readonly name: string;
  readonly role: "weight" | "bias" | "gamma" | "beta";
  readonly values: Values;
  /** The gradient of the last step. */
  readonly grad: Values;
  /** Hands changed values on to where they are used, if that is elsewhere. */
  store?(): void;
}

/**
 * Weights, normal with a standard deviation of `std`, and biases of 0.
 *
 * @param layer its name, which the parameters' begin with
 */
export function weightAndBias(
  layer: string,
  weights: number,
  outputs: number,
  normal: () => number,
  std: number,
): { weight: Parameter; bias: Parameter } {
  const parameter = (role: "weight" | "bias", values: Values): Parameter => ({
    ...{ name: `${layer}.${role}`, role, values },
    grad: new Float64Array(values.length),
  });
  const values = Float64Array.from({ length: weights }, () => std * normal());
  return {
    weight: parameter("weight", values),
    bias: parameter("bias", new Float64Array(outputs)),
  };
}

export interface Layer {
  readonly parameters: readonly Parameter[];
  /** @param x `[rows, …]`, row-major; it is kept for the backward pass */
  forward(x: Values, rows: number, pass: Pass): Values;
  /** The gradient with respect to x; sets the gradients of the parameters. */
  backward(dy: Values): Values;
  /** Gives kernel memory back. */
  dispose?(): void;
}

/** A layer that normalizes. */
export interface NormLayer extends Layer {
  /** Time that it took since this was last set to 0. */
  ms: number;
  /** The package's batch norm, whose running statistics are to be seen; `null` of any other. */
  readonly batch: BatchNorm | null;
  /** Whether its statistics count the positions as the pass's weights say; without, all alike. */
  readonly masked: boolean;
  /** What stands out, by the package's `health`; `null` of any other. */
  health(seen: { x: Values; dy: Values; dx: Values }): Health | null;
  /** All that it has learned, by PyTorch's names behind the prefix. */
  stateDict(prefix: string): Record<string, number[]>;
  dispose(): void;
}

/** A place that a forward pass fills and `backward` reads. */
export function kept<T>(value: T | null): T {
  if (value === null) throw new Error("backward before forward");
  return value;
}
