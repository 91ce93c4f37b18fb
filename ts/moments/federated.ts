/**
 * Federated averaging of state dicts (McMahan et al. 2017, arXiv:1602.05629) that keeps the variance
 * between clients.
 *
 * ```text
 * p = n/Σn of a client      μ = Σp·μᵢ      σ² = Σp·(σᵢ² + (μᵢ − μ)²)
 * ```
 *
 * Averaged by themselves, running variances lose the second term: what clients differ by.
 */
import { presets } from "../batch/presets.js";
import { checkOneOf, readArray } from "../core/checks.js";
import { fail, mustBe } from "../core/errors.js";
import { sameNumbers } from "../core/geometry.js";
import { readOptions } from "../core/options.js";
import type { PlainResult } from "../core/plain.js";
import { show, showShape } from "../core/show.js";
import { numberAt, readCount, readHeld, type StateDict } from "../core/state-dict.js";
import { typedArrayName } from "../core/typed-arrays.js";
import type { Float32Values, Float64Values } from "../core/values.js";

/** What {@link averageStateDicts} can be told. */
export interface AverageOptions {
  /** Samples that each client has seen, in the dicts' order; default all alike. */
  counts?: readonly number[] | null | undefined;
  /**
   * `local`: what belongs to norm layers with running statistics is left out, so that each client
   * keeps its own (FedBN, Li et al. 2021, arXiv:2102.07623); default `nothing`.
   */
  keep?: "local" | "nothing" | null | undefined;
}

/** Averages: vectors as they came, without a shape or with one, and counts. */
export type AveragedStateDict = Record<string, Float32Values | PlainResult | number>;

/** Names that running statistics go by, each pair of one framework, and of what counts batches. */
const PAIRS = /* @__PURE__ */ Object.values(presets).map(({ names }): [string, string] => [
  names.runningMean,
  names.runningVar,
]);
const COUNTER = "num_batches_tracked";

/**
 * The average of state dicts of one model from several clients, each weighing as much as it has
 * samples. Running variances, which are told by their names beside running means (of any preset, behind
 * any prefix), keep the variance between clients; of `num_batches_tracked` it is the largest.
 *
 * @param dicts of the same entries, each a tensor, floats, numbers, `{ data, shape }` or another of those
 *   that `loadStateDict` takes
 * @returns entries of the same names and shapes, for `loadStateDict`
 * @throws BatchNormError `state-dict`, `invalid-option`, `unknown-option`, `dtype`, `disposed`
 *
 * @example
 * const clients = [{ "bn.running_mean": [0], "bn.running_var": [1] },
 *                  { "bn.running_mean": [4], "bn.running_var": [1] }];
 * const dict = averageStateDicts(clients, { counts: [30, 10] });
 * dict["bn.running_mean"];   // → Float32Array [1]
 * dict["bn.running_var"];    // → Float32Array [4]
 */
export function averageStateDicts(
  dicts: readonly StateDict[],
  options?: AverageOptions | null,
): AveragedStateDict {
  const owner = "averageStateDicts";
  const given = readOptions(owner, options, ["counts", "keep"]);
  const keep = given.keep ?? "nothing";
  checkOneOf(keep, owner, "keep", ["local", "nothing"]);
  const list = readArray(dicts, `${owner}: dicts`);
  if (list.length === 0) fail("invalid-option", `${owner}: there are no dicts`);
  const shares = readShares(given.counts ?? null, list.length, owner);
  const all = list.map((dict, i) => readDict(dict, `${owner}: dict ${i}`));
  const [first] = all as [Map<string, Entry>];
  all.forEach((dict, i) => {
    checkAlike(first, dict, `${owner}: dict ${i}`);
  });
  // Who has seen nothing has nothing to say, not even what is no number.
  const some = all.filter((_, i) => (shares[i] as number) > 0);
  const weights = shares.filter((share) => share > 0);
  const names = [...first.keys()];
  const norms = prefixesOfNorms(names);
  const averages: AveragedStateDict = {};
  for (const name of names) {
    const entries = some.map((dict) => dict.get(name) as Entry);
    const { prefix, last } = split(name);
    if (keep === "local" && norms.has(prefix)) continue;
    if (last === COUNTER) {
      averages[name] = entries.reduce((most, { values }) => Math.max(most, values[0] as number), 0);
      continue;
    }
    const mean = meanOf(entries, weights);
    const pair = PAIRS.find(([, variance]) => variance === last);
    const of = pair && first.has(prefix + pair[0]) ? prefix + pair[0] : null;
    if (of !== null) {
      const means = some.map((dict) => dict.get(of) as Entry);
      addSpread(mean, means, weights);
    }
    averages[name] = asItCame(mean, entries[0] as Entry);
  }
  return averages;
}

/** An entry, read. */
interface Entry {
  readonly values: Float64Values;
  readonly shape: readonly number[] | null;
  readonly isNumber: boolean;
}

/** Each client's part of the whole. */
function readShares(counts: unknown, length: number, owner: string): number[] {
  if (counts === null) return new Array(length).fill(1 / length);
  const all = readArray(counts as number[], `${owner}: counts`);
  const isCount = (value: unknown) => Number.isFinite(value) && (value as number) >= 0;
  if (all.length !== length || !all.every(isCount)) {
    mustBe("invalid-option", `${owner}: counts`, `${length} numbers from 0 on`, counts);
  }
  const sum = all.reduce((sum, count) => sum + count, 0);
  if (!(sum > 0 && sum < Number.POSITIVE_INFINITY)) {
    mustBe("invalid-option", `${owner}: counts`, "more than 0 together", counts);
  }
  return all.map((count) => count / sum);
}

function readDict(dict: StateDict, owner: string): Map<string, Entry> {
  if (typeof dict !== "object" || dict === null) {
    fail("state-dict", `${owner}: expected an object of entries, got ${show(dict)}`);
  }
  return new Map(
    Object.keys(dict).map((name) => [name, readEntry(dict[name], name, `${owner}: ${name}`)]),
  );
}

/** As `loadStateDict` reads it, in float64. */
function readEntry(entry: unknown, name: string, label: string): Entry {
  if (split(name).last === COUNTER) {
    const count = readCount({ name, read: () => entry }, label);
    return { values: Float64Array.of(count), shape: null, isNumber: true };
  }
  if (typeof entry === "number" || typeof entry === "bigint") {
    return { values: Float64Array.of(Number(entry)), shape: null, isNumber: true };
  }
  if (typedArrayName(entry) === "BigInt64Array") {
    const values = Float64Array.from(entry as BigInt64Array, Number);
    return { values, shape: null, isNumber: true };
  }
  const { numbers, shape = null } = readHeld(entry, label, false);
  const values = Float64Array.from({ length: numbers.length }, (_, i) =>
    numberAt(numbers, i, label),
  );
  return { values, shape, isNumber: false };
}

/** @throws BatchNormError `state-dict` unless a dict has the first one's entries */
function checkAlike(
  first: ReadonlyMap<string, Entry>,
  dict: ReadonlyMap<string, Entry>,
  owner: string,
): void {
  for (const name of new Set([...first.keys(), ...dict.keys()])) {
    const [want, got] = [first.get(name), dict.get(name)];
    if (!want || !got) {
      fail("state-dict", `${owner}: ${name} is ${got ? "not in" : "in"} the first dict alone`);
    }
    const shapes = [want, got].map(({ values, shape }) => shape ?? [values.length]);
    const [a, b] = shapes as [number[], number[]];
    if (!sameNumbers(a, b) || want.values.length !== got.values.length) {
      fail("state-dict", `${owner}: ${name} is ${showShape(b)}, in the first dict ${showShape(a)}`);
    }
  }
}

/** What is before and behind the last dot of a name. */
function split(name: string): { prefix: string; last: string } {
  const end = name.lastIndexOf(".") + 1;
  return { prefix: name.slice(0, end), last: name.slice(end) };
}

/** Prefixes behind which there are running statistics. */
function prefixesOfNorms(names: readonly string[]): Set<string> {
  const there = new Set(names);
  const isNorm = (prefix: string) =>
    PAIRS.some(([mean, variance]) => there.has(prefix + mean) && there.has(prefix + variance));
  return new Set(names.map((name) => split(name).prefix).filter(isNorm));
}

function meanOf(entries: readonly Entry[], shares: readonly number[]): Float64Values {
  const [{ values: first }] = entries as [Entry];
  // Around the first: equal ones stay equal.
  return first.map((center, c) =>
    entries.reduce(
      (sum, { values }, i) => sum + (shares[i] as number) * ((values[c] as number) - center),
      center,
    ),
  );
}

/** Adds the variance between clients, whose means these are. */
function addSpread(to: Float64Values, means: readonly Entry[], shares: readonly number[]): void {
  const mean = meanOf(means, shares);
  for (let c = 0; c < to.length; c++) {
    means.forEach(({ values }, i) => {
      const off = (values[c] as number) - (mean[c] as number);
      to[c] = (to[c] as number) + (shares[i] as number) * off ** 2;
    });
  }
}

function asItCame(values: Float64Values, { shape, isNumber }: Entry): AveragedStateDict[string] {
  if (isNumber) return values[0] as number;
  const data = Float32Array.from(values);
  return shape === null ? data : { data, shape: [...shape] };
}
