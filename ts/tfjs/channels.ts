/** Which axis the channels of tfjs's `FusedBatchNorm` are on: it is told by the shapes alone. */
import { sameNumbers, sizeOf } from "../core/geometry.js";
import { aroundAxis } from "./problem.js";
import type { Inputs, TensorInfo } from "./types.js";

/** Sizes before, at and behind the channel axis. */
export type Around = readonly [before: number, channels: number, behind: number];

/**
 * - `Around`: statistics and parameters are one a channel, however they broadcast;
 * - `"full"`: they are repeated as x's last elements are, which tfjs's own kernels do;
 * - `"broadcast"`: they are spread otherwise, which these get wrong.
 */
export function channelsOf({
  x,
  mean,
  variance,
  scale,
  offset,
}: Inputs): Around | "full" | "broadcast" {
  // Small calls are as long as what is asked here: no lists are made.
  const { shape } = x as TensorInfo;
  const first = (mean as TensorInfo).shape;
  for (const one of [variance, scale, offset]) {
    if (one && !sameNumbers(one.shape, first)) return "broadcast";
  }
  // Aligned at the last axis, as everything broadcasts.
  const ahead = shape.length - first.length;
  let axis = -1;
  let large = 0;
  for (let i = first.length; i-- > 0; ) {
    if (first[i] === 1) continue;
    // No broadcasting at all: whatever tfjs does with it.
    if (first[i] !== shape[i + ahead]) return "full";
    axis = i;
    large++;
  }
  if (ahead < 0) return "full";
  if (large === 0) return [sizeOf(shape), 1, 1];
  if (large === 1) return aroundAxis(shape, axis + ahead);
  return sameNumbers(first.slice(axis), shape.slice(axis + ahead)) ? "full" : "broadcast";
}
