/** What dicts hold: vectors and a count, of every type that people have them in, as float32. */
import { COUNT, checkOneOf, isCount } from "./checks.js";
import { type DtypeName, widen } from "./dtypes.js";
import { fail, mustBe } from "./errors.js";
import { readShape, sameNumbers, sizeOf } from "./geometry.js";
import { readOptions } from "./options.js";
import { isPlain, readPlain } from "./plain.js";
import { cut, isBytes, remedyFor, show, showShape } from "./show.js";
import { type Entry, isHolder } from "./state-names.js";
import { type Tensor, viewOf } from "./tensor.js";
import { lengthOf, typedArrayName } from "./typed-arrays.js";
import { checkAttached, type Float32Values, floats, type NumberArray } from "./values.js";
import { copyOut } from "./view.js";

/** Values of an entry. Bytes are none: whose they are is not written on them. */
type Values = Float32Array | Float64Array | readonly number[];

/** A typed array as `JSON.parse(JSON.stringify(array))` has it. */
type OfJSON = { readonly [index: number]: number };

/** Bytes, little-endian, and of what they are. */
export interface TypedBytes {
  /** Numbers of two bytes each may be a `Uint16Array`, too. */
  readonly data: Uint8Array | Uint16Array | DataView | ArrayBuffer | SharedArrayBuffer;
  /** Of the numbers in it: float16, bfloat16, float32 or float64, of a count also int64. */
  readonly dtype: DtypeName;
  readonly shape?: readonly number[];
}

/** What an entry can be loaded from: vectors of any kind, and a count for the batches. */
export type StateDictEntry =
  | Tensor
  | Values
  | OfJSON
  // Of int64 a count may be, as files have it.
  | { readonly data: Values | BigInt64Array; readonly shape: readonly number[] }
  | TypedBytes
  | number
  | bigint
  | BigInt64Array;

/** Parameters and buffers by their names in the preset's framework. */
export type StateDict = Record<string, StateDictEntry>;

/**
 * What {@link BatchNorm.loadStateDict} reads: a dict; one that has others in it, as Flax's variables do;
 * Maps of either kind; an array of vectors in the order of Keras's `get_weights()`.
 */
export type StateDictSource =
  | { readonly [name: string]: StateDictEntry | StateDictSource }
  | ReadonlyMap<string, StateDictEntry | StateDictSource>
  | readonly StateDictEntry[];

/** What {@link BatchNorm.stateDict} returns: copies, that no kernel memory backs. */
export type SavedStateDict = Record<string, Float32Values | number>;

/** How {@link BatchNorm.stateDict} names its entries. */
export interface StateDictOptions {
  /** What stands before each name, as in `layer1.bn.weight`; default nothing. */
  prefix?: string | null | undefined;
}

/** How dicts are read. */
export interface ModelLoadOptions extends StateDictOptions {
  /**
   * Whether a dict must have all entries, and behind the prefix no others; default true. Else what is
   * missing stays as it is. (`num_batches_tracked` may be missing anyway, as in PyTorch.)
   */
  strict?: boolean | null | undefined;
  /** Take NaN and infinite values too; default false. */
  allowNonFinite?: boolean | null | undefined;
}

/** How {@link BatchNorm.loadStateDict} reads. */
export interface LoadOptions extends ModelLoadOptions {
  /**
   * What entries are called in the dict, behind the prefix, by their names in `stateDict()`:
   * `{ weight: "g" }`. Names of the other frameworks are known without.
   */
  names?: Readonly<Record<string, string | null | undefined>> | null | undefined;
}

/** What became of a dict's entries. */
export interface LoadReport {
  /** Names that the dict doesn't have: these keep their values. */
  readonly missing: string[];
  /** Names in the dict that are nobody's. */
  readonly unexpected: string[];
  /** Entries of other types than float32. */
  readonly converted: ConvertedEntry[];
}

/** An entry that became float32. */
export interface ConvertedEntry {
  /** In the dict. */
  readonly name: string;
  /** What it was; JavaScript's numbers, where they had to be rounded, are float64. */
  readonly from: DtypeName;
  readonly to: "float32";
  /** Whether all values are as they were, and none was rounded. */
  readonly exact: boolean;
}

/** Options, read. */
export interface LoadSettings {
  readonly prefix: string;
  readonly strict: boolean;
  readonly allowNonFinite: boolean;
}

/** @throws BatchNormError `invalid-option` unless `prefix` is a string or absent */
export function readPrefix(prefix: unknown, owner: string): string {
  if (prefix === undefined || prefix === null) return "";
  if (typeof prefix === "string") return prefix;
  return mustBe("invalid-option", `${owner}: prefix`, "a string", prefix);
}

/** @throws BatchNormError `invalid-option`, `unknown-option` */
export function readLoadOptions(
  options: LoadOptions | null | undefined,
  owner: string,
  known: readonly string[],
): LoadSettings & Pick<LoadOptions, "names"> {
  const given: LoadOptions = readOptions(owner, options, known);
  const prefix = readPrefix(given.prefix, owner);
  const strict = given.strict ?? true;
  const allowNonFinite = given.allowNonFinite ?? false;
  checkOneOf(strict, owner, "strict");
  checkOneOf(allowNonFinite, owner, "allowNonFinite");
  return { prefix, strict, allowNonFinite, names: given.names };
}

/**
 * A copy of an entry's values as float32: nothing by an iterator or a method of the caller's.
 *
 * @param expected number of values; `null` for as many as there are
 * @param wanted the vectors' shape, if it is another than their length
 * @param isVariance whether they can't be negative
 * @param converted where it is told, if they were no float32
 * @throws BatchNormError `state-dict`, `dtype`, `disposed`, `invalid-shape`, `shape-overflow`,
 *   `invalid-option`, `out-of-memory`
 */
export function readVector(
  { name, read }: Entry,
  expected: number | null,
  wanted: readonly number[] | null,
  isVariance: boolean,
  { allowNonFinite }: LoadSettings,
  converted: ConvertedEntry[],
  owner: string,
): Float32Values {
  const label = `${owner}: ${cut(name)}`;
  const { numbers, from, shape } = readHeld(read(), label, false);
  const isArray = Array.isArray(numbers);
  const size = isArray ? numbers.length : lengthOf(numbers as NumberArray);
  const length = expected ?? sizeOf(readShape([size], label));
  const whole = wanted ?? [length];
  if (size !== length || (shape && !fits(shape, whole))) {
    fail(
      "state-dict",
      `${label}: expected the shape ${showShape(whole)}, got ${showShape(shape ?? [size])} of ` +
        `${size} values${isArray ? remedyFor(numbers[0]) : ""}`,
    );
  }
  const values = floats(size, label);
  // What a NaN carries stays as it is.
  if (!isArray) values.set(numbers as NumberArray);
  let exact = true;
  for (let i = 0; i < size; i++) {
    const value = numberAt(numbers, i, label);
    if (isArray) values[i] = value;
    const now = values[i] as number;
    if (!allowNonFinite && !Number.isFinite(value)) {
      fail("state-dict", `${label}[${i}] is ${value}; allowNonFinite would take it`);
    }
    if (isVariance && value < 0) fail("state-dict", `${label}[${i}] is ${value}: negative`);
    if (Object.is(now, value)) continue;
    if (now === 0 || !Number.isFinite(now)) {
      fail("dtype", `${label}[${i}] is ${value}, which float32 has as ${now}`);
    }
    exact = false;
  }
  if (from || !exact) converted.push({ name, from: from ?? "float64", to: "float32", exact });
  return values;
}

/** Whether a shape is the one that is wanted, or a vector along any axis, or flat. */
function fits(shape: readonly number[], whole: readonly number[]): boolean {
  const isVector = whole.length === 1 && shape.filter((axis) => axis !== 1).length < 2;
  const size = sizeOf(whole);
  return (
    sameNumbers(shape, whole) || sameNumbers(shape, [size]) || (isVector && sizeOf(shape) === size)
  );
}

/**
 * What holds the values of an entry, and the shape that it gives them.
 *
 * @param isCounter whether numbers of any kind are taken, in any shape, and one without an array
 * @returns `numbers` in row-major order: floats, or an array of which nothing is read yet; `from`: their
 *   type, where it is another than float32
 */
export function readHeld(
  entry: unknown,
  owner: string,
  isCounter: boolean,
): { numbers: ArrayLike<unknown>; from: DtypeName | null; shape?: readonly number[] } {
  const view = viewOf(entry);
  if (view?.disposed) fail("disposed", `${owner} was disposed`);
  if (view) return { numbers: copyOut(view), from: null, shape: view.shape };
  const held = isHolder(entry) ? entry : null;
  const dtype = held?.dtype;
  let from: DtypeName | null = null;
  const decode = (data: unknown): ArrayLike<unknown> => {
    if (Array.isArray(data)) return data;
    let numbers = data;
    let kind = show(data);
    if (dtype !== undefined && dtype !== null && (isBytes(kind) || kind === "Uint16Array")) {
      numbers = widen(data as Uint8Array, dtype as DtypeName, owner);
      kind = show(numbers);
      if (!/32$/.test(dtype as string)) from = dtype as DtypeName;
    } else if (kind === "Object" && Object.keys(data as object).every((key, i) => key === `${i}`)) {
      // A typed array that went through JSON.
      return Object.values(data as object);
    }
    // One byte may be a count; eight are more likely an int64 than eight counts.
    const isNumbers = isCounter ? !isBytes(kind) : /^Float/.test(kind);
    if (!isNumbers) {
      const wanted = "a Float32Array, Float64Array, number[] or { data, dtype }";
      const remedy = remedyFor(numbers, isCounter ? "BigInt64Array" : undefined);
      mustBe("dtype", `${owner}: data`, wanted, numbers, remedy);
    }
    if (typedArrayName(numbers) === undefined) return [numbers];
    checkAttached(numbers as NumberArray, owner);
    if (kind !== "Float32Array") from ??= kind.slice(0, -5).toLowerCase() as DtypeName;
    return numbers as NumberArray;
  };
  if (!isPlain(entry) || isCounter) return { numbers: decode(held ? held.data : entry), from };
  const { values, shape } = readPlain(entry, owner, null, (data) => {
    const numbers = decode(data);
    if (!Array.isArray(numbers)) return numbers as NumberArray;
    const copy = floats(numbers.length, owner, "Float64Array");
    for (let i = 0; i < copy.length; i++) copy[i] = numberAt(numbers, i, owner);
    return copy;
  });
  return { numbers: values, from, shape };
}

/** @throws BatchNormError `dtype` */
export function numberAt(numbers: ArrayLike<unknown>, i: number, owner: string): number {
  const value = numbers[i];
  if (typeof value === "number") return value;
  const remedy = value === null ? "; JSON has no NaN and no Infinity" : remedyFor(value);
  return mustBe("dtype", `${owner}: data[${i}]`, "a number", value, remedy);
}

/** @throws BatchNormError `state-dict`, `dtype`, `disposed` */
export function readCount({ name, read }: Pick<Entry, "name" | "read">, owner: string): number {
  const label = `${owner}: ${cut(name)}`;
  const { numbers } = readHeld(read(), label, true);
  const value = numbers.length === 1 ? numbers[0] : numbers;
  const count = typeof value === "bigint" ? Number(value) : value;
  return isCount(count) ? count : mustBe("state-dict", label, COUNT, value);
}
