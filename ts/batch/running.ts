/** Running statistics, and how a batch moves them. */
import { type Call, Place } from "../core/operands.js";
import type { View } from "../core/view.js";

/** Running statistics and how a batch moves them. */
export interface RunningUpdate {
  readonly mean: View;
  readonly variance: View;
  /** Weight of the batch, from 0 to 1; of the first of its slices. */
  readonly weight: number;
  /** Whether all batches, and all slices, weigh the same. */
  readonly cumulative: boolean;
  /** Whether the running variance follows n/(n−1) times the batch's. */
  readonly unbiased: boolean;
}

/**
 * Has the batch move running statistics.
 *
 * @param count how many values a channel has, or how much these weigh
 */
export function move(
  call: Call<View>,
  { mean, variance, weight, unbiased }: RunningUpdate,
  count = (call.operands[Place.X] as View).size / call.channels,
): void {
  const { operands } = call;
  operands[Place.FIRST_ACCUMULATOR] = mean;
  operands[Place.SECOND_ACCUMULATOR] = variance;
  call.momentum = weight;
  call.correction = correctionOf(count, unbiased);
}

/** What the variance of so many values is multiplied with in the running one. */
export function correctionOf(count: number, unbiased: boolean): number {
  return unbiased && count > 1 ? count / (count - 1) : 1;
}
