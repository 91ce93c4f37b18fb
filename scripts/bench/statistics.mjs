/** From the times of rounds to figures. */
import { quantileSorted } from "simple-statistics";

/** ms a call by round; a contestant need not be in every round. @typedef {Map<number, number>} Times */

/** @param {Iterable<number>} values */
export function quartiles(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const [p25, median, p75] = [0.25, 0.5, 0.75].map((q) => quantileSorted(sorted, q));
  return /** @type {{ p25: number, median: number, p75: number }} */ ({ p25, median, p75 });
}

/**
 * Ratios within the rounds that both were in: what slows a machine down for a while
 * slows both.
 *
 * @param {Times} times @param {Times} base
 */
export function ratios(times, base) {
  return [...times].flatMap(([round, time]) => {
    const other = base.get(round);
    return other === undefined ? [] : [time / other];
  });
}

/**
 * The median of the rounds' ratios. Of large tensors no round may have both: there it is the
 * ratio of the medians.
 *
 * @param {Times} times @param {Times} base
 */
export function medianRatio(times, base) {
  const some = ratios(times, base);
  if (some.length > 0) return quartiles(some).median;
  return quartiles(times.values()).median / quartiles(base.values()).median;
}

/** z of a normal distribution: 95 % lie within so many standard deviations. */
const Z95 = 1.96;

/**
 * Where the median of what these are a sample of lies with 95 %: between two of them, by how many are
 * on either side of it (Conover, Practical Nonparametric Statistics, 1999, 3.2). Five or fewer have no
 * such pair, and their least and most are given.
 *
 * @param {Iterable<number>} values
 */
export function medianInterval(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const count = sorted.length;
  const below = Math.max(0, Math.floor((count - Z95 * Math.sqrt(count)) / 2));
  return /** @type {{ low: number, high: number }} */ ({
    low: sorted[below],
    high: sorted[count - 1 - below],
  });
}

/**
 * How long a contestant ran until its calls took what they take in the rounds (up to a
 * tenth over the upper quartile).
 *
 * @param {readonly { ms: number, calls: number }[]} slices all that ran before the rounds
 * @param {number} p75 of the rounds, ms a call
 */
export function warmupTime(slices, p75) {
  const last = slices.findLastIndex(({ ms, calls }) => ms / calls > p75 * 1.1);
  return slices.slice(0, last + 1).reduce((sum, { ms }) => sum + ms, 0);
}

/**
 * In which of `all` rounds a contestant runs that has time for `few`: evenly spread.
 *
 * @param {number} round from 0 @param {number} few @param {number} all
 */
export function takesPart(round, few, all) {
  return Math.floor(((round + 1) * few) / all) > Math.floor((round * few) / all);
}
