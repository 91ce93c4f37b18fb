/**
 * Activations that are a part of the norm, and residuals before them: of post-activation residual
 * networks (He et al. 2015, arXiv:1512.03385).
 *
 * ```text
 * v  = γ·x̂ + β + residual
 * y  = v where v > 0, else slope·v        slope: 0 of ReLU, 1 of none
 * dv = dy where y > 0, else slope·dy      the residual's gradient, and what goes back through
 *                                         the norm
 * ```
 *
 * `crate/kernel/src/activation.rs` does it within the map and, band by band, before the gradients.
 */
import { checkOneOf } from "../core/checks.js";
import { fail, mustBe } from "../core/errors.js";
import { type Call, Place } from "../core/operands.js";
import type { PlainTensor } from "../core/plain.js";
import type { Tensor } from "../core/tensor.js";
import type { View } from "../core/view.js";
import { Operation } from "../generated/abi.js";

/** What comes after the norm. */
export type Activation = "relu" | "leaky-relu";

/** Options of what comes after the norm. */
export interface ActivationOptions {
  /**
   * `relu`: max(v, 0); `leaky-relu`: v, or `negativeSlope`·v where that is not above 0. Default
   * none. The backward pass reads y, too: it must not be overwritten before.
   */
  activation?: Activation | null | undefined;
  /** Of `leaky-relu`, from 0 to 1; default 0.01. */
  negativeSlope?: number | null | undefined;
}

/** Option of a forward pass. */
export interface ResidualOption {
  /** Added to what is normalized, before the activation: of x's shape. `out` may be it. */
  residual?: Tensor | PlainTensor | null | undefined;
}

export const ACTIVATION_OPTIONS = ["activation", "negativeSlope"];

/**
 * What an activation multiplies with where its input is not above 0; 1 of none.
 *
 * @throws BatchNormError `invalid-option`
 */
export function readSlope(activation: unknown, negativeSlope: unknown, owner: string): number {
  if (activation != null) checkOneOf(activation, owner, "activation", ["relu", "leaky-relu"]);
  if (activation !== "leaky-relu") {
    if (negativeSlope != null) {
      fail("invalid-option", `${owner}: negativeSlope needs activation "leaky-relu"`);
    }
    return activation == null ? 1 : 0;
  }
  const slope = negativeSlope ?? 0.01;
  if (!(typeof slope === "number" && slope >= 0 && slope <= 1)) {
    mustBe("invalid-option", `${owner}: negativeSlope`, "from 0 to 1", slope);
  }
  return slope as number;
}

/** Whether an operation of batch norm goes back. */
export function isBackward(operation: Operation): boolean {
  return operation === Operation.Backward || operation === Operation.ActivatedBackward;
}

/** Has an activation follow, and a residual come before it where the call has one. */
export function activate(call: Call<View>, slope: number): void {
  const hasResidual = call.operands[Place.DY] !== null;
  if (slope === 1 && !hasResidual) return;
  call.operation = hasResidual ? Operation.ResidualForward : Operation.ActivatedForward;
  call.slope = slope;
}
