/**
 * Group normalization (Wu & He 2018, arXiv:1803.08494) and instance normalization (Ulyanov,
 * Vedaldi & Lempitsky 2016, arXiv:1607.08022), which has a group for each channel, as functions
 * of tensors, parameters and saved values.
 *
 * ```text
 * y  = γ·(x − μ)/√(σ² + ε) + β      μ, σ²: of a group of channels of one sample
 * dβ = Σ dy      dγ = Σ dy·x̂       γ, β: of a channel
 * ```
 *
 * `crate/kernel/src/norm/group.rs` has it in full. The first axis counts samples; where it is
 * the channels' there is one sample.
 */

import { checkNumber } from "../core/checks.js";
import {
  NORM_BACKWARD_OPTIONS,
  NORM_OPTIONS,
  type NormBackwardOptions,
  type NormForward,
  type NormGradients,
  type NormOptions,
} from "../core/norm-options.js";
import { readOptions } from "../core/options.js";
import { alongAxis, backwardPass, type ForwardPass, forwardPass } from "../core/passes.js";
import type { PlainResult, PlainTensor } from "../core/plain.js";
import { savedAccessOf } from "../core/saved-access.js";
import type { Tensor } from "../core/tensor.js";
import { Operation } from "../generated/abi.js";
import { checkDivides } from "./checks.js";
import { type GroupNormSaved, savedAccess } from "./saved.js";

/** Options of `instanceNorm`. */
export interface InstanceNormOptions extends NormOptions {
  /**
   * What the backward pass needs: saved values of an earlier call to overwrite, or `true` for new
   * ones, and then `{ y, saved }` is returned.
   */
  saved?: GroupNormSaved | boolean | null | undefined;
}

/** Options of `groupNorm`. */
export interface GroupNormOptions extends InstanceNormOptions {
  /** Groups that the channels are divided into, in their order. */
  numGroups: number;
}

/** Options of `groupNormBackward` and `instanceNormBackward`. */
export type GroupNormBackwardOptions = NormBackwardOptions<GroupNormSaved>;

/** A forward pass with what its backward pass needs. */
export type GroupNormForward<T> = NormForward<T, GroupNormSaved>;

const GROUP_OPTIONS = /* @__PURE__ */ NORM_OPTIONS.concat("numGroups");
const GROUP = {
  owner: "groupNorm",
  operation: Operation.GroupForward,
  backward: "groupNormBackward",
};
const INSTANCE = {
  owner: "instanceNorm",
  operation: Operation.GroupForward,
  backward: "instanceNormBackward",
};

/**
 * Normalizes each group of channels of each sample by its own mean and variance:
 * `y = γ·(x − mean)/√(variance + eps) + β`.
 *
 * As `torch.nn.functional.group_norm`, with any channel axis. γ and β are a channel's.
 *
 * @param x any rank from 1 on, samples along the first axis; `{ data, shape }` is copied in, and
 *   y out
 * @returns y (`out`, or a new tensor of x's shape); with `saved: true`, `{ y, saved }`
 * @throws BatchNormError `shape-mismatch`, also where `numGroups` does not divide the channels;
 *   `invalid-option`, `dtype`, `overlap`, `disposed`, `foreign-kernel`, `out-of-memory`,
 *   `unsupported` for `saved: true` in a program that only goes forward
 *
 * @example
 * groupNorm(x, { numGroups: 1 });   // → Tensor([2, 3]) { -1.225, 0, 1.225, -1.225, 0, 1.225 }
 * const y = groupNorm(x, { numGroups: 3, weight, bias, eps: 1e-3 });
 */
export function groupNorm(
  x: Tensor,
  options: GroupNormOptions & { saved: true },
): GroupNormForward<Tensor>;
export function groupNorm(
  x: PlainTensor,
  options: GroupNormOptions & { saved: true },
): GroupNormForward<PlainResult>;
export function groupNorm(
  x: Tensor,
  options: GroupNormOptions & { saved?: GroupNormSaved | false | null | undefined },
): Tensor;
export function groupNorm(
  x: PlainTensor,
  options: GroupNormOptions & { saved?: GroupNormSaved | false | null | undefined },
): PlainResult;
export function groupNorm(
  x: Tensor | PlainTensor,
  options: GroupNormOptions & { saved?: GroupNormSaved | false | null | undefined },
): Tensor | PlainResult;
export function groupNorm(
  x: Tensor | PlainTensor,
  options: GroupNormOptions,
): Tensor | PlainResult | GroupNormForward<Tensor | PlainResult>;
export function groupNorm(
  x: Tensor | PlainTensor,
  options: GroupNormOptions,
): Tensor | PlainResult | GroupNormForward<Tensor | PlainResult> {
  const { owner } = GROUP;
  const given = readOptions(owner, options, GROUP_OPTIONS);
  const { numGroups } = given;
  checkNumber(numGroups, `${owner}: numGroups`);
  return forward(GROUP, x, given, (channels) => {
    checkDivides(numGroups, channels, `${owner}: numGroups`, "shape-mismatch");
    return numGroups;
  });
}

/**
 * Normalizes each channel of each sample by its own mean and variance.
 *
 * As `torch.nn.functional.instance_norm` with `use_input_stats`, with any channel axis. By running
 * statistics `batchNormInference` normalizes.
 *
 * @param x as {@link groupNorm}'s
 * @returns y (`out`, or a new tensor of x's shape); with `saved: true`, `{ y, saved }`
 * @throws BatchNormError as {@link groupNorm}
 *
 * @example
 * const image = Tensor.from([1, 3, 10, 30], [1, 2, 2]);
 * instanceNorm(image);   // → Tensor([1, 2, 2]) { -1, 1, -1, 1 }
 */
export function instanceNorm(
  x: Tensor,
  options: InstanceNormOptions & { saved: true },
): GroupNormForward<Tensor>;
export function instanceNorm(
  x: PlainTensor,
  options: InstanceNormOptions & { saved: true },
): GroupNormForward<PlainResult>;
export function instanceNorm(
  x: Tensor,
  options?: (InstanceNormOptions & { saved?: GroupNormSaved | false | null | undefined }) | null,
): Tensor;
export function instanceNorm(
  x: PlainTensor,
  options?: (InstanceNormOptions & { saved?: GroupNormSaved | false | null | undefined }) | null,
): PlainResult;
export function instanceNorm(
  x: Tensor | PlainTensor,
  options?: (InstanceNormOptions & { saved?: GroupNormSaved | false | null | undefined }) | null,
): Tensor | PlainResult;
export function instanceNorm(
  x: Tensor | PlainTensor,
  options?: InstanceNormOptions | null,
): Tensor | PlainResult | GroupNormForward<Tensor | PlainResult>;
export function instanceNorm(
  x: Tensor | PlainTensor,
  options?: InstanceNormOptions | null,
): Tensor | PlainResult | GroupNormForward<Tensor | PlainResult> {
  const given = readOptions(INSTANCE.owner, options, NORM_OPTIONS);
  // Of no channels there is one group of none.
  return forward(INSTANCE, x, given, (channels) => Math.max(channels, 1));
}

/**
 * The gradients of {@link groupNorm} with `saved`, with respect to x, weight and bias.
 *
 * @param dy of x's shape; `{ data, shape }` is copied in, and dx out
 * @returns dx (`out`, or a new tensor), and the gradients that were added to or made,
 *   `null` where there are none
 * @throws BatchNormError `stale` where x was overwritten or disposed since the forward
 *   pass; `shape-mismatch`, `overlap`, `disposed`, `foreign-kernel`, `out-of-memory`
 *
 * @example
 * const { saved } = groupNorm(x, { numGroups: 3, weight, bias, saved: true });
 * const { dx, weightGrad, biasGrad } = groupNormBackward(dy, { saved });
 * biasGrad;   // → Tensor([3]) { 3, 5, 7 }
 */
export function groupNormBackward(
  dy: Tensor,
  options: GroupNormBackwardOptions,
): NormGradients<Tensor>;
export function groupNormBackward(
  dy: PlainTensor,
  options: GroupNormBackwardOptions,
): NormGradients<PlainResult>;
export function groupNormBackward(
  dy: Tensor | PlainTensor,
  options: GroupNormBackwardOptions,
): NormGradients<Tensor | PlainResult>;
export function groupNormBackward(
  dy: Tensor | PlainTensor,
  options: GroupNormBackwardOptions,
): NormGradients<Tensor | PlainResult> {
  return backward("groupNormBackward", dy, options);
}

/**
 * The gradients of {@link instanceNorm} with `saved`, with respect to x, weight and bias.
 *
 * @param dy as {@link groupNormBackward}'s
 * @returns as {@link groupNormBackward}
 * @throws BatchNormError as {@link groupNormBackward}
 *
 * @example
 * const { saved } = instanceNorm(x, { weight, bias, saved: true });
 * const { biasGrad } = instanceNormBackward(dy, { saved });   // { dx, weightGrad, biasGrad }
 * biasGrad;   // → Tensor([3]) { 3, 5, 7 }
 */
export function instanceNormBackward(
  dy: Tensor,
  options: GroupNormBackwardOptions,
): NormGradients<Tensor>;
export function instanceNormBackward(
  dy: PlainTensor,
  options: GroupNormBackwardOptions,
): NormGradients<PlainResult>;
export function instanceNormBackward(
  dy: Tensor | PlainTensor,
  options: GroupNormBackwardOptions,
): NormGradients<Tensor | PlainResult>;
export function instanceNormBackward(
  dy: Tensor | PlainTensor,
  options: GroupNormBackwardOptions,
): NormGradients<Tensor | PlainResult> {
  return backward("instanceNormBackward", dy, options);
}

function forward(
  pass: ForwardPass,
  x: unknown,
  given: InstanceNormOptions,
  groupsOf: (channels: number) => number,
): Tensor | PlainResult | GroupNormForward<Tensor | PlainResult> {
  const { saved } = given;
  const wanted = saved === false ? null : saved;
  const access = savedAccessOf(pass.operation);
  const callOf = alongAxis(pass, given.axis, groupsOf);
  const result = forwardPass(pass, access, x, given, wanted, callOf);
  return wanted === true ? (result as GroupNormForward<Tensor | PlainResult>) : result.y;
}

function backward(
  owner: string,
  dy: unknown,
  options: GroupNormBackwardOptions,
): NormGradients<Tensor | PlainResult> {
  const given = readOptions(owner, options, NORM_BACKWARD_OPTIONS);
  return backwardPass(owner, savedAccess, dy, given);
}
