import { COUNT, checkOneOf, isCount } from "./checks.js";
import { fail, mustBe } from "./errors.js";
import { readShape, sameNumbers, sizeOf } from "./geometry.js";
import { readOptions } from "./options.js";
import { isPlain, readPlain } from "./plain.js";
import { cut, isBytes, list, remedyFor, show, showNames, showShape } from "./show.js";
import { type Tensor, viewOf } from "./tensor.js";
import { typedArrayName } from "./typed-arrays.js";
import { checkAttached, type Float32Values, readValues } from "./values.js";
import { copyOut } from "./view.js";

/** Values of an entry. Bytes are none: whose they are is not written on them. */
type Values = Float32Array | readonly number[];

/** What an entry can be loaded from: vectors of any kind, and a count for the batches. */
export type StateDictEntry =
  | Tensor
  | Values
  | { readonly data: Values; readonly shape: readonly number[] }
  | number
  | bigint
  | BigInt64Array;

/** Parameters and buffers by their names in the preset's framework. */
export type StateDict = Record<string, StateDictEntry>;

/** What {@link BatchNorm.stateDict} returns: copies, that no kernel memory backs. */
export type SavedStateDict = Record<string, Float32Values | number>;

/** How {@link BatchNorm.stateDict} names its entries. */
export interface StateDictOptions {
  /** What stands before each name, as in `layer1.bn.weight`; default nothing. */
  prefix?: string | null | undefined;
}

/** How {@link BatchNorm.loadStateDict} reads. */
export interface LoadOptions extends StateDictOptions {
  /** Take NaN and infinite values too; default false. */
  allowNonFinite?: boolean | null | undefined;
}

/** Names of the entries that a layer has. */
export interface EntryNames {
  readonly vectors: readonly string[];
  /** Which of the vectors can't be negative. */
  readonly variance: string | undefined;
  /** The count of batches. */
  readonly counter: string | undefined;
  /** The vectors' shape, if it is another than their length. */
  readonly shape?: readonly number[] | null;
}

/** @throws BatchNormError `invalid-option` unless `prefix` is a string or absent */
export function readPrefix(prefix: unknown, owner: string): string {
  if (prefix === undefined || prefix === null) return "";
  if (typeof prefix === "string") return prefix;
  return mustBe("invalid-option", `${owner}: prefix`, "a string", prefix);
}

/**
 * Reads the vectors and the count, if any, from a dict that must have exactly these
 * entries: each of them once, and nothing by an iterator or a method of the caller's.
 *
 * @param length that the vectors must have; `null` for that of the first
 * @throws BatchNormError `state-dict`, `dtype`, `disposed`, `invalid-shape`,
 *   `shape-overflow`, `invalid-option`, `unknown-option`
 */
export function readStateDict(
  dict: StateDict,
  names: EntryNames,
  length: number | null,
  options: LoadOptions | null | undefined,
  owner: string,
): { vectors: Float32Array[]; count: number } {
  const given = readOptions(owner, options, ["prefix", "allowNonFinite"]);
  const prefix = readPrefix(given.prefix, owner);
  const allowNonFinite = given.allowNonFinite ?? false;
  checkOneOf(allowNonFinite, owner, "allowNonFinite");
  checkEntries(dict, names, prefix, owner);
  let expected = length;
  const vectors = names.vectors.map((name) => {
    const label = `${owner}: ${cut(prefix + name)}`;
    const values = readVector(dict[prefix + name], expected, names.shape ?? null, label);
    expected = values.length;
    for (let i = 0; i < values.length; i++) {
      const value = values[i] as number;
      if (!allowNonFinite && !Number.isFinite(value)) {
        fail("state-dict", `${label}[${i}] is ${value}; allowNonFinite would take it`);
      }
      if (name === names.variance && value < 0) {
        fail("state-dict", `${label}[${i}] is ${value}: negative`);
      }
    }
    return values;
  });
  const { counter } = names;
  const count =
    counter === undefined
      ? 0
      : readCount(dict[prefix + counter], `${owner}: ${cut(prefix + counter)}`);
  return { vectors, count };
}

/** @throws BatchNormError `state-dict` unless the dict's names behind `prefix` are these */
function checkEntries(
  dict: unknown,
  { vectors, counter }: EntryNames,
  prefix: string,
  owner: string,
): void {
  const kind = show(dict);
  if (dict === null || typeof dict !== "object" || kind === "Map" || typedArrayName(dict)) {
    const remedy = kind === "Map" ? "; Object.fromEntries(map) makes one" : remedyFor(dict);
    fail("state-dict", `${owner}: expected an object of entries, got ${kind}${remedy}`);
  }
  const names = counter === undefined ? vectors : [...vectors, counter];
  const wanted = names.map((one) => prefix + one);
  const all = Object.keys(dict);
  const given = new Set(all.filter((name) => name.startsWith(prefix)));
  const missing = wanted.filter((name) => !given.has(name));
  const extra = [...given].filter((name) => !wanted.includes(name));
  if (missing.length === 0 && extra.length === 0) return;
  // Where some are there, the prefix was meant.
  const fits = missing.length === wanted.length ? fittingPrefixes(all, names) : [];
  fail(
    "state-dict",
    `${owner}: expected ${showNames(wanted) || "no entries"}` +
      (fits.length > 0
        ? `; the entries fit with prefix ${list(fits, show)}`
        : (missing.length > 0 ? `; missing: ${showNames(missing)}` : "") +
          (extra.length > 0 ? `; not expected: ${showNames(extra)}` : "")),
  );
}

/** The prefixes behind which a dict has all the names. */
function fittingPrefixes(all: readonly string[], names: readonly string[]): string[] {
  const there = new Set(all);
  const [first] = names;
  if (first === undefined) return [];
  return all
    .filter((name) => name.endsWith(first))
    .map((name) => name.slice(0, name.length - first.length))
    .filter((prefix) => names.every((name) => there.has(prefix + name)));
}

/** What holds the values of an entry, in row-major order, and the shape that it gives them. */
function readEntry(
  entry: unknown,
  owner: string,
): { values: unknown; shape: readonly number[] | undefined } {
  const view = viewOf(entry);
  if (view?.disposed) fail("disposed", `${owner} was disposed`);
  if (view) return { values: copyOut(view), shape: view.shape };
  return isPlain(entry) ? readPlain(entry, owner, null) : { values: entry, shape: undefined };
}

/** A copy of the values as float32 has them: what is finite in float64 may be infinite then. */
function readVector(
  entry: unknown,
  expected: number | null,
  wanted: readonly number[] | null,
  owner: string,
): Float32Array {
  const { values, shape } = readEntry(entry, owner);
  const check = (size: number) => {
    const length = expected ?? sizeOf(readShape([size], owner));
    const whole = wanted ?? [length];
    if (size !== length || (shape && !sameNumbers(shape, whole))) {
      fail(
        "state-dict",
        `${owner}: expected the shape ${showShape(whole)}, got ${showShape(shape ?? [size])} of ` +
          `${size} values${Array.isArray(values) ? remedyFor(values[0]) : ""}`,
      );
    }
  };
  return new Float32Array(readValues(values, owner, ["Float32Array"], check));
}

function readCount(entry: unknown, owner: string): number {
  // Of what shape it is doesn't matter: of one value, [], [1] or none.
  const data = isPlain(entry) ? entry.data : readEntry(entry, owner).values;
  // One byte may be a count; eight are more likely an int64 than eight counts.
  if (isBytes(show(data))) {
    fail("dtype", `${owner}: got ${show(data)}${remedyFor(data, "BigInt64Array")}`);
  }
  const isView = typedArrayName(data) !== undefined;
  if (isView) checkAttached(data as ArrayBufferView, owner);
  const values = (isView || Array.isArray(data) ? data : [data]) as ArrayLike<unknown>;
  const value = values.length === 1 ? values[0] : undefined;
  const count = typeof value === "number" || typeof value === "bigint" ? Number(value) : -1;
  if (!isCount(count)) {
    mustBe("state-dict", owner, COUNT, data);
  }
  return count;
}
