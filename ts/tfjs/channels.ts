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
  const { shape } = x as TensorInfo;
  const parameters = [mean, variance, scale, offset].filter(
    (one) => one !== undefined && one !== null,
  );
  const first = (mean as TensorInfo).shape;
  if (!parameters.every((one) => sameNumbers((one as TensorInfo).shape, first))) return "broadcast";
  // Aligned at the last axis, as everything broadcasts.
  const ahead = shape.length - first.length;
  const large = first.flatMap((size, i) => (size === 1 ? [] : [i]));
  if (ahead < 0 || large.some((i) => first[i] !== shape[i + ahead])) {
    // No broadcasting at all: whatever tfjs does with it.
    return "full";
  }
  if (large.length === 0) return [sizeOf(shape), 1, 1];
  if (large.length === 1) return aroundAxis(shape, (large[0] as number) + ahead);
  const start = large[0] as number;
  return sameNumbers(first.slice(start), shape.slice(start + ahead)) ? "full" : "broadcast";
}
