/**
 * What the kernel saves of a pass, in its memory: the mean, variance and γ of each channel as
 * float64, all means first (`Word.Saved`).
 */
import { Allocation } from "../core/allocation.js";
import type { Port } from "../core/kernel.js";
import type { Float64Values } from "../core/values.js";
import { Contents } from "../generated/abi.js";

/** The vectors, in their order. */
export enum SavedVector {
  MEAN,
  VARIANCE,
  WEIGHT,
  COUNT,
}

/** Memory for all of them, which the caller releases. */
export function allocateSaved(port: Port, channels: number): Allocation {
  const values = new Allocation(port, channels * 8 * SavedVector.COUNT, Contents.Zero);
  values.retain();
  return values;
}

/** A copy of one of them. */
export function readSaved(
  { port, address, bytes }: Allocation,
  vector: SavedVector,
): Float64Values {
  const each = bytes / SavedVector.COUNT;
  const { buffer } = port.memory.linear;
  return new Float64Array(buffer, address + vector * each, each / 8).slice();
}
