/** Moments of parts as those of the whole, one a channel: Chan, Golub & LeVeque (1983), eq. 2.1. */
import type { Float64Values } from "./values.js";

/** Values a channel, their means, and sums of squared deviations from these. */
export interface PartMoments {
  readonly count: number;
  readonly mean: Float64Values;
  readonly m2: Float64Values;
}

/** @param parts of as many channels each, one at least */
export function merged(parts: readonly PartMoments[]): PartMoments {
  const some = parts.filter(({ count }) => count > 0);
  const [one = parts[0] as PartMoments] = some;
  if (some.length <= 1) return one;
  const count = some.reduce((sum, part) => sum + part.count, 0);
  // Around one of the means: what they share costs no digits then.
  const mean = one.mean.map((center, c) => {
    const off = some.reduce((sum, part) => sum + part.count * (at(part.mean, c) - center), 0);
    return center + off / count;
  });
  const m2 = mean.map((mean, c) =>
    some.reduce(
      (sum, part) => sum + at(part.m2, c) + part.count * (at(part.mean, c) - mean) ** 2,
      0,
    ),
  );
  return { count, mean, m2 };
}

const at = (values: Float64Values, c: number) => values[c] as number;
