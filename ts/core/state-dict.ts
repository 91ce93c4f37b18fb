/** What dicts hold: vectors and a count, of every type that people have them in, as float32. */
import { COUNT, checkOneOf, isCount } from "./checks.js";
import { type DtypeName, readDtype, spelled, widen } from "./dtypes.js";
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
  | { readonly data: Values; readonly shape: readonly number[] }
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
  more: readonly string[] = [],
): LoadSettings & Pick<LoadOptions, "names"> {
  const known = ["prefix", "strict", "allowNonFinite", ...more];
  const given: LoadOptions = readOptions(owner, options, known);
  const prefix = readPrefix(given.prefix, owner);
  const strict = given.strict ?? true;
  const allowNonFinite = given.allowNonFinite ?? false;
  checkOneOf(strict, owner, "strict");
  checkOneOf(allowNonFinite, owner, "allowNonFinite");
  return { prefix, strict, allowNonFinite, names: more[0] ? given.names : null };
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
  const { numbers, from, shape } = readEntry(read(), label);
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
      fail("dtype", `${label}[${i}] is ${value}, which float32 has as ${now}${remedyFor(FLOAT64)}`);
    }
    exact = false;
  }
  if (from || !exact) converted.push({ name, from: from ?? "float64", to: "float32", exact });
  return values;
}

const FLOAT64 = /* @__PURE__ */ new Float64Array();

/** Whether a shape is the one that is wanted, or a vector along any axis, or flat. */
function fits(shape: readonly number[], whole: readonly number[]): boolean {
  const isVector = whole.length === 1 && shape.filter((axis) => axis !== 1).length < 2;
  const size = sizeOf(whole);
  return (
    sameNumbers(shape, whole) || sameNumbers(shape, [size]) || (isVector && sizeOf(shape) === size)
  );
}

/** Numbers as the caller has them. */
interface Held {
  /** In row-major order: a typed array of floats, or an array of which nothing is read yet. */
  readonly numbers: ArrayLike<unknown>;
  /** Their type, where it is another than float32. */
  readonly from: DtypeName | null;
}

/** What holds the values of an entry, and the shape that it gives them. */
function readEntry(
  entry: unknown,
  owner: string,
): Held & { readonly shape?: readonly number[] | undefined } {
  const view = viewOf(entry);
  if (view?.disposed) fail("disposed", `${owner} was disposed`);
  if (view) return { numbers: copyOut(view), from: null, shape: view.shape };
  if (!isHolder(entry)) return readNumbers(entry, null, owner);
  const { dtype } = entry;
  if (!isPlain(entry)) return readNumbers(entry.data, dtype, owner);
  let from: DtypeName | null = null;
  const { values, shape } = readPlain(entry, owner, null, (data) => {
    const held = readNumbers(data, dtype, owner);
    const { numbers } = held;
    from = held.from;
    if (!Array.isArray(numbers)) return numbers as unknown as NumberArray;
    const copy = floats(numbers.length, owner, "Float64Array");
    for (let i = 0; i < copy.length; i++) copy[i] = numberAt(numbers, i, owner);
    return copy;
  });
  return { numbers: values, from, shape };
}

/** @throws BatchNormError `dtype` */
function readNumbers(data: unknown, dtype: unknown, owner: string): Held {
  const { numbers, from } = unwrap(data, dtype, owner);
  const kind = typedArrayName(numbers) ?? "";
  if (/^Float/.test(kind)) {
    checkAttached(numbers as NumberArray, owner);
    const own = kind === "Float32Array" ? null : (kind.slice(0, 7).toLowerCase() as DtypeName);
    return { numbers: numbers as NumberArray, from: from ?? own };
  }
  if (Array.isArray(numbers)) return { numbers, from };
  const wanted = "a Float32Array, Float64Array or number[]";
  return mustBe("dtype", `${owner}: data`, wanted, numbers, remedyFor(numbers));
}

/** @throws BatchNormError `dtype` */
function numberAt(numbers: ArrayLike<unknown>, i: number, owner: string): number {
  const value = numbers[i];
  if (typeof value === "number") return value;
  const remedy = value === null ? "; JSON has that for NaN and infinite values" : remedyFor(value);
  return mustBe("dtype", `${owner}: data[${i}]`, "a number", value, remedy);
}

/** Numbers that lie in bytes or come from JSON; all else as it is. */
function unwrap(
  data: unknown,
  dtype: unknown,
  owner: string,
): { numbers: unknown; from: DtypeName | null } {
  if (Array.isArray(data)) return { numbers: data, from: null };
  const kind = show(data);
  if (dtype !== undefined && dtype !== null && (isBytes(kind) || kind === "Uint16Array")) {
    const type = readDtype(dtype, owner);
    const numbers = widen(data as Uint8Array, type, owner);
    return { numbers, from: type === "F32" ? null : spelled(type) };
  }
  if (kind === "Object") {
    const keys = Object.keys(data as object);
    if (keys.every((key, i) => key === `${i}`)) {
      return { numbers: Object.values(data as object), from: null };
    }
  }
  return { numbers: data, from: null };
}

/** @throws BatchNormError `state-dict`, `dtype`, `disposed` */
export function readCount({ name, read }: Entry, owner: string): number {
  const label = `${owner}: ${cut(name)}`;
  const entry = read();
  const view = viewOf(entry);
  if (view?.disposed) fail("disposed", `${label} was disposed`);
  // Of what shape it is doesn't matter: of one value, [], [1] or none.
  const { data, dtype } = isHolder(entry)
    ? { data: entry.data, dtype: entry.dtype }
    : { data: view ? copyOut(view) : entry, dtype: null };
  const { numbers } = unwrap(data, dtype, label);
  // One byte may be a count; eight are more likely an int64 than eight counts.
  if (isBytes(show(numbers))) {
    fail("dtype", `${label}: got ${show(numbers)}${remedyFor(numbers, "BigInt64Array")}`);
  }
  const isView = typedArrayName(numbers) !== undefined;
  if (isView) checkAttached(numbers as ArrayBufferView, label);
  const values = (isView || Array.isArray(numbers) ? numbers : [numbers]) as ArrayLike<unknown>;
  const value = values.length === 1 ? values[0] : undefined;
  const count = typeof value === "number" || typeof value === "bigint" ? Number(value) : -1;
  if (!isCount(count)) mustBe("state-dict", label, COUNT, data);
  return count;
}
