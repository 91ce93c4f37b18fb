/**
 * What the last step has left in a network, block by block. Where positions have weights, padding (weight 0) is
 * left out of all that is told of values, whatever the norm counts.
 */
import type { Values } from "./layer.js";
import type { Block, Network } from "./network.js";

export const BINS = 48;

/** How values are distributed; what is beyond numbers is counted apart. */
export interface Distribution {
  readonly mean: number;
  readonly std: number;
  /** Where the first bin begins and the last one ends. */
  readonly from: number;
  readonly to: number;
  readonly counts: readonly number[];
  readonly infinite: number;
}

/** A statistic of each channel: of the last batch, and the running one. */
export interface Statistics {
  readonly batchMean: readonly number[];
  readonly runningMean: readonly number[];
  readonly batchStd: readonly number[];
  readonly runningStd: readonly number[];
}

export interface BlockReport {
  readonly before: Distribution;
  readonly after: Distribution;
  /** √Σ of the squared gradients of the block's weights, and of what goes into its norm. */
  readonly weightGradient: number;
  readonly flow: number;
  readonly gamma: readonly number[] | null;
  readonly beta: readonly number[] | null;
  /** Of batch norm. */
  readonly statistics: Statistics | null;
  /** Channels whose activation is the same for all that the batch has. */
  readonly dead: number;
  readonly channels: number;
  /** What the package's `health` says of batch norm. */
  readonly findings: readonly string[];
}

export function inspect(network: Network): BlockReport[] {
  return network.blocks.map((block) => ({
    before: distribution(present(block.before, network)),
    after: distribution(present(block.after, network)),
    weightGradient: norm(block.linear.weight.grad),
    flow: norm(block.dBefore),
    gamma: valuesOf(block, "gamma"),
    beta: valuesOf(block, "beta"),
    statistics: statisticsOf(block, network),
    dead: deadOf(present(block.active, network), network),
    channels: network.channels,
    findings: findingsOf(block, network),
  }));
}

/** The range is that of the values, or four standard deviations around the mean where it is wider. */
export function distribution(values: Values): Distribution {
  let [count, sum, square] = [0, 0, 0];
  let [least, most] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
  for (const value of values) {
    if (!Number.isFinite(value)) continue;
    count++;
    sum += value;
    if (value < least) least = value;
    if (value > most) most = value;
  }
  const mean = count ? sum / count : Number.NaN;
  for (const value of values) if (Number.isFinite(value)) square += (value - mean) ** 2;
  const std = Math.sqrt(square / count);
  const counts = new Array<number>(BINS).fill(0);
  const infinite = values.length - count;
  if (count === 0) return { mean, std, from: 0, to: 0, counts, infinite };
  const from = Math.max(least, mean - 4 * std);
  const to = Math.min(most, mean + 4 * std);
  const width = (to - from) / BINS;
  for (const value of values) {
    if (!Number.isFinite(value)) continue;
    const bin = width > 0 ? Math.floor((value - from) / width) : 0;
    const at = Math.min(BINS - 1, Math.max(0, bin));
    counts[at] = (counts[at] as number) + 1;
  }
  return { mean, std, from, to, counts, infinite };
}

function norm(values: Values): number {
  let sum = 0;
  for (const value of values) sum += value * value;
  return Math.sqrt(sum);
}

function valuesOf({ norm }: Block, role: "gamma" | "beta"): number[] | null {
  const found = norm?.parameters.find((one) => one.role === role);
  return found ? Array.from(found.values) : null;
}

/** Those that the norm counts: with a mask by the weights, without one of padding, too. */
function statisticsOf({ norm, before }: Block, network: Network): Statistics | null {
  const { channels, area } = network;
  const { runningMean, runningVar } = norm?.batch ?? {};
  if (!runningMean || !runningVar) return null;
  const weights = norm?.masked ? network.weights : null;
  const count = weights
    ? weights.reduce((sum, weight) => sum + weight, 0)
    : before.length / channels;
  const weightOf = (i: number) =>
    weights ? (weights[Math.floor(i / area / channels) * area + (i % area)] as number) : 1;
  const sums = new Float64Array(channels);
  before.forEach((value, i) => {
    const c = Math.floor(i / area) % channels;
    const weight = weightOf(i);
    if (weight > 0) sums[c] = (sums[c] as number) + (weight * value) / count;
  });
  const squares = new Float64Array(channels);
  before.forEach((value, i) => {
    const c = Math.floor(i / area) % channels;
    const weight = weightOf(i);
    if (weight > 0) {
      squares[c] = (squares[c] as number) + (weight * (value - (sums[c] as number)) ** 2) / count;
    }
  });
  return {
    batchMean: Array.from(sums),
    runningMean: Array.from(runningMean.data),
    batchStd: Array.from(squares, Math.sqrt),
    runningStd: Array.from(runningVar.data, Math.sqrt),
  };
}

/** @param active `[positions, channels]` */
function deadOf(active: Values, { channels }: Network): number {
  const same = new Array<boolean>(channels).fill(true);
  active.forEach((value, i) => {
    if (value !== active[i % channels]) same[i % channels] = false;
  });
  return same.filter((one) => one).length;
}

/** By what the norm counts, as {@link statisticsOf}. */
function findingsOf({ norm, before, dAfter, dBefore }: Block, network: Network): readonly string[] {
  if (!norm || dAfter.length === 0) return [];
  const { channels, area } = network;
  const seen = { channels, area, weights: norm.masked ? network.weights : null };
  const [x, dy, dx] = [before, dAfter, dBefore].map((values) => present(values, seen));
  return norm.health({ x, dy, dx } as Parameters<typeof norm.health>[0])?.findings ?? [];
}

/** Values as `[positions, channels]`, without those of weight 0. */
function present(
  values: Values,
  { channels, area, weights }: Pick<Network, "channels" | "area" | "weights">,
): Values {
  const positions = values.length / channels;
  const found = new Float64Array(values.length);
  let to = 0;
  for (let at = 0; at < positions; at++) {
    if (weights && !((weights[at] as number) > 0)) continue;
    const from = Math.floor(at / area) * channels * area + (at % area);
    for (let c = 0; c < channels; c++) found[to++] = values[from + c * area] as number;
  }
  return found.subarray(0, to);
}
