/** Files of safetensors, written as the reference writes them, byte for byte. */
import { isCount, readArray } from "../core/checks.js";
import { type DtypeName, readDtype } from "../core/dtypes.js";
import { type BatchNormErrorCode, fail, mustBe } from "../core/errors.js";
import { readField, readOptions } from "../core/options.js";
import { LAYOUT } from "../core/plain.js";
import { cut, remedyFor, show, showShape } from "../core/show.js";
import { type Tensor, viewOf } from "../core/tensor.js";
import { typedArrayName } from "../core/typed-arrays.js";
import { copyOut } from "../core/view.js";
import {
  bytesFor,
  encodeUtf8,
  type FileBytes,
  hasLoneSurrogates,
  type OwnBytes,
  readBytes,
  viewBytes,
} from "./bytes.js";
import { BITS, Limit, sizeOf } from "./header.js";

/** What can be written: floats and int64 as they are, other types as bytes. */
export type WritableEntry =
  | Tensor
  | Float32Array
  | Float64Array
  | BigInt64Array
  /** A count, as `num_batches_tracked`: one int64. */
  | number
  | bigint
  | {
      readonly data: Float32Array | Float64Array | BigInt64Array;
      readonly shape: readonly number[];
    }
  /** Bytes of values, little-endian; of `dtype` also by safetensors' other names, as `"BOOL"`. */
  | {
      readonly data: Uint16Array | FileBytes;
      readonly dtype: DtypeName | (string & {});
      readonly shape: readonly number[];
    };

/** Options of {@link toSafetensors}. */
export interface SafetensorsOptions {
  /** Notes for the file's head; other programs look for `format`, `"pt"` where PyTorch is to read it. */
  metadata?: Readonly<Record<string, string>> | null | undefined;
}

/** An entry as it came: nothing of the caller's runs any more, and nothing is checked yet. */
interface Given {
  readonly label: string;
  readonly name: string;
  readonly data: unknown;
  readonly dtype: unknown;
  /** A copy; `undefined` for that of a vector. */
  readonly shape: unknown[] | undefined;
}

type Note = readonly [key: string, text: string];

/** An entry that was checked. */
interface Part {
  readonly name: string;
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly bytes: Uint8Array;
  /** Where it begins in the data. */
  at: number;
}

/**
 * A `.safetensors` file of a dict, as `stateDict()` gives it, {@link fromSafetensors}, or a `Map`:
 * the same bytes for the same entries in whatever order, and those that the reference writes
 * (where there is more than one note, it has these in no order). Larger types come first, so that all
 * begin at multiples of their size.
 *
 * Source: https://github.com/huggingface/safetensors
 *
 * @throws BatchNormError `state-dict` for an entry or name that can't be written, `dtype`,
 *   `invalid-shape` where a shape is not that of the data, `disposed`, `invalid-option`,
 *   `unknown-option`, `out-of-memory`
 *
 * @example
 * const file = toSafetensors(bn.stateDict(), { metadata: { format: "pt" } });
 * const copy = new BatchNorm(3);
 * copy.loadStateDict(fromSafetensors(file));
 */
export function toSafetensors(
  dict: Readonly<Record<string, WritableEntry>> | ReadonlyMap<string, WritableEntry>,
  options?: SafetensorsOptions | null,
): OwnBytes {
  const owner = "toSafetensors";
  const { metadata } = readOptions(owner, options, ["metadata"]);
  const notes = readNotes(metadata, owner);
  const given = entriesOf(dict, owner).map(([name, entry]) => readEntry(name, entry, owner));
  // From here on nothing of the caller's runs.
  const parts = given.map(checkEntry).sort((a, b) => rank(b) - rank(a) || compare(a.name, b.name));
  let end = 0;
  for (const part of parts) {
    part.at = end;
    end += part.bytes.length;
  }
  const header = encodeHeader(notes, parts, owner);
  const start = 8 + Math.ceil(header.length / 8) * 8;
  const file = bytesFor(start + end, owner);
  new DataView(file.buffer).setUint32(0, start - 8, true);
  file.set(header, 8);
  // Spaces up to where the data begin.
  file.fill(0x20, 8 + header.length, start);
  for (const { bytes, at } of parts) file.set(bytes, start + at);
  return file;
}

/** @throws BatchNormError `state-dict` where it is longer than a header, or a string, can be */
function encodeHeader(
  notes: readonly Note[] | null,
  parts: readonly Part[],
  owner: string,
): Uint8Array {
  let cause: unknown;
  try {
    const fields = parts.map(({ name, dtype, shape, bytes, at }) => {
      const entry = { dtype, shape, data_offsets: [at, at + bytes.length] };
      return `${JSON.stringify(name)}:${JSON.stringify(entry)}`;
    });
    const texts = notes?.map(([key, text]) => `${JSON.stringify(key)}:${JSON.stringify(text)}`);
    if (texts) fields.unshift(`"__metadata__":{${texts.join()}}`);
    const text = `{${fields.join()}}`;
    // Before it is encoded, too: that takes three times as much.
    const header = text.length <= Limit.HEADER && encodeUtf8(text);
    if (header && header.length <= Limit.HEADER) return header;
  } catch (error) {
    // A string can't be as long as that: half a gigabyte.
    cause = error;
  }
  return fail("state-dict", `${owner}: a header of more than ${Limit.HEADER} bytes`, { cause });
}

/** @throws BatchNormError where it has half a character */
function checkText(text: string, code: BatchNormErrorCode, label: string): void {
  if (hasLoneSurrogates(text)) fail(code, `${label}: half a character, a lone surrogate`);
}

/** Notes in the order of their names, or none. */
function readNotes(metadata: unknown, owner: string): Note[] | null {
  if (metadata === undefined || metadata === null) return null;
  if (show(metadata) !== "Object") {
    return mustBe("invalid-option", `${owner}: metadata`, "an object of strings", metadata);
  }
  const notes = Object.keys(metadata).map((key) => {
    const text: unknown = (metadata as Record<string, unknown>)[key];
    const name = `${owner}: metadata: ${cut(key)}`;
    if (typeof text !== "string") mustBe("invalid-option", name, "a string", text);
    for (const one of [key, text]) checkText(one, "invalid-option", name);
    return [key, text] as const;
  });
  return notes.sort(([a], [b]) => compare(a, b));
}

/** @throws BatchNormError `state-dict` unless it is an object of entries or a Map */
function entriesOf(dict: unknown, owner: string): [name: unknown, entry: unknown][] {
  const entries: [unknown, unknown][] = [];
  try {
    // Of a Map, of any realm, and by none of its own methods.
    Map.prototype.forEach.call(dict, (entry, name) => entries.push([name, entry]));
    return entries;
  } catch {
    // No Map.
  }
  const isObject = typeof dict === "object" && !Array.isArray(dict) && !ArrayBuffer.isView(dict);
  const names = isObject ? Object.keys(Object(dict)) : [];
  // Of what has no entries, `{}` alone is a dict: of a promise the file would have nothing.
  if (names.length === 0 && show(dict) !== "Object") {
    return mustBe("state-dict", owner, "an object of entries, or a Map", dict);
  }
  return names.map((name) => [name, (dict as Record<string, unknown>)[name]]);
}

/** Reads all that the caller's getters can answer, once. */
function readEntry(name: unknown, entry: unknown, owner: string): Given {
  if (typeof name !== "string") return mustBe("state-dict", `${owner}: names`, "strings", name);
  const label = `${owner}: ${cut(name)}`;
  if (name === "__metadata__") fail("state-dict", `${label} is where notes are: give metadata`);
  checkText(name, "state-dict", label);
  const given = { label, name, dtype: undefined };
  const view = viewOf(entry);
  if (view?.disposed) fail("disposed", `${label} was disposed`);
  if (view) return { ...given, data: copyOut(view), shape: [...view.shape] };
  if (typeof entry === "number" || typeof entry === "bigint") {
    return { ...given, data: countOf(entry, label), shape: [] };
  }
  const isVector = typedArrayName(entry) !== undefined || Array.isArray(entry);
  if (isVector || Object(entry) !== entry) return { ...given, data: entry, shape: undefined };
  const { data, shape } = entry as Record<string, unknown>;
  const dtype = readField(entry as object, "dtype");
  for (const layout of LAYOUT) {
    if (readField(entry as object, layout)) {
      fail("unsupported", `${label}: ${layout}: row-major order alone is written`);
    }
  }
  const sizes = readArray(shape as unknown[], `${label}: shape`, "invalid-shape");
  const rank = sizes.length;
  if (rank > Limit.RANK) fail("invalid-shape", `${label}: ${rank} axes, ${Limit.RANK} at most`);
  return { ...given, data, dtype: dtype ?? undefined, shape: sizes };
}

function countOf(value: number | bigint, label: string): BigInt64Array {
  const count = typeof value === "bigint" || Number.isSafeInteger(value) ? BigInt(value) : null;
  if (count === null || BigInt.asIntN(64, count) !== count) {
    return mustBe("state-dict", label, "an int64, or data with a shape", value);
  }
  return BigInt64Array.of(count);
}

/** By kind of array: the type that it is written as, unless another is told, and bytes of an element. */
const KINDS: ReadonlyMap<string | undefined, readonly [dtype: string | undefined, size: number]> =
  /* @__PURE__ */ new Map([
    ["Float32Array", ["F32", 4]],
    ["Float64Array", ["F64", 8]],
    ["BigInt64Array", ["I64", 8]],
    ["Uint16Array", [undefined, 2]],
    ["Uint8Array", [undefined, 1]],
    // What is no typed array: a buffer, perhaps.
    [undefined, [undefined, 1]],
  ]);

function checkEntry({ label, name, data, dtype: told, shape }: Given): Part {
  const kind = typedArrayName(data);
  const [own, size] = KINDS.get(kind) ?? [undefined, 0];
  if (size === 0 || (kind === undefined && Object(data) !== data) || Array.isArray(data)) {
    const wanted = "a Float32Array, Float64Array or BigInt64Array, or bytes with a dtype";
    return mustBe("dtype", label, wanted, data, remedyFor(data));
  }
  const bytes =
    kind === undefined ? readBytes(data, label) : viewBytes(data as Uint8Array, size, label);
  const dtype = BITS.has(told as string) ? (told as string) : readDtype(told ?? own, label);
  const bits = BITS.get(dtype) as number;
  if ((own ?? dtype) !== dtype || (size > 1 && bits !== 8 * size)) {
    fail("dtype", `${label}: a ${show(data)} is not ${dtype}; give its bytes, a Uint8Array`);
  }
  const count = (bytes.length * 8) / bits;
  const sizes = shape ?? [count];
  const whole = sizes.every(isCount) ? sizeOf(sizes as number[]) : Number.NaN;
  if (whole !== count) {
    fail(
      "invalid-shape",
      `${label}: ${bytes.length} bytes of ${dtype} are not ${showShape(sizes as number[])}`,
    );
  }
  return { name, dtype, shape: sizes as number[], bytes, at: 0 };
}

const TYPES = /* @__PURE__ */ (() => [...BITS.keys()])();

/** Where a type stands among all. */
function rank({ dtype }: Part): number {
  return TYPES.indexOf(dtype);
}

/** Which of two comes first by its bytes in UTF-8, which is the order of characters. */
function compare(a: string, b: string): number {
  let i = 0;
  while (i < a.length && a[i] === b[i]) i++;
  return placeOf(a, i) - placeOf(b, i);
}

/** Where a UTF-16 unit stands among all: those of pairs, whose characters are the last, come last. */
function placeOf(text: string, i: number): number {
  if (i >= text.length) return -1;
  const unit = text.charCodeAt(i);
  if (unit < 0xd800) return unit;
  return unit < 0xe000 ? unit + 0x2000 : unit - 0x800;
}
