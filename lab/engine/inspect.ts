/** What the last step has left in a network, block by block. */
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
    before: distribution(block.before),
    after: distribution(block.after),
    weightGradient: norm(block.linear.weight.grad),
    flow: norm(block.dBefore),
    gamma: valuesOf(block, "gamma"),
    beta: valuesOf(block, "beta"),
    statistics: statisticsOf(block, network),
    dead: deadOf(block.active, network),
    channels: network.channels,
    findings: findingsOf(block),
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

function statisticsOf({ norm, before }: Block, { channels, area }: Network): Statistics | null {
  const batch = norm?.batch;
  const { runningMean, runningVar } = batch ?? {};
  if (!runningMean || !runningVar) return null;
  const count = before.length / channels;
  const sums = new Float64Array(channels);
  before.forEach((value, i) => {
    const c = Math.floor(i / area) % channels;
    sums[c] = (sums[c] as number) + value / count;
  });
  const squares = new Float64Array(channels);
  before.forEach((value, i) => {
    const c = Math.floor(i / area) % channels;
    squares[c] = (squares[c] as number) + (value - (sums[c] as number)) ** 2 / count;
  });
  return {
    batchMean: Array.from(sums),
    runningMean: Array.from(runningMean.data),
    batchStd: Array.from(squares, Math.sqrt),
    runningStd: Array.from(runningVar.data, Math.sqrt),
  };
}

function deadOf(active: Values, { channels, area }: Network): number {
  const first = Array.from({ length: channels }, (_, c) => active[c * area] as number);
  const same = new Array<boolean>(channels).fill(true);
  active.forEach((value, i) => {
    const c = Math.floor(i / area) % channels;
    if (value !== first[c]) same[c] = false;
  });
  return same.filter((one) => one).length;
}

function findingsOf({ norm, before, dAfter, dBefore }: Block): readonly string[] {
  if (!norm || dAfter.length === 0) return [];
  return norm.health({ x: before, dy: dAfter, dx: dBefore })?.findings ?? [];
}
