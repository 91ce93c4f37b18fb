/**
 * The header of a `.safetensors` file: what the format's description asks for, and no more.
 *
 * ```text
 * 8 bytes   N, the size of the header: an unsigned integer, little-endian
 * N bytes   {"name": {"dtype": "F32", "shape": [3], "data_offsets": [0, 12]}, …} in UTF-8, perhaps
 *           with "__metadata__": {"name": "text", …}, and spaces at its end
 * the rest  the data, which the offsets divide without a gap
 * ```
 *
 * Read by hand, not by `JSON.parse`, which lets a name come twice, takes the last, and makes
 * objects of whatever is there: here nothing is deeper than the format, and nothing takes more
 * memory than the file, but for a constant factor.
 *
 * Source: https://github.com/huggingface/safetensors, README and `safetensors/src/tensor.rs`.
 */
import { fail } from "../core/errors.js";
import { cut, list, show, showShape } from "../core/show.js";
import { decodeUtf8, hasLoneSurrogates } from "./bytes.js";

/** Limits of files. */
export enum Limit {
  /** Bytes of a header, as the reference has it. */
  HEADER = 100_000_000,
  /** Axes of a tensor, as PyTorch and NumPy have it. */
  RANK = 64,
}

/** Bits of a value of each type; files have their types in this order, from the last to the first. */
export const BITS: ReadonlyMap<string, number> = /* @__PURE__ */ new Map([
  ["BOOL", 8],
  ["F4", 4],
  ["F6_E2M3", 6],
  ["F6_E3M2", 6],
  ["U8", 8],
  ["I8", 8],
  ["F8_E5M2", 8],
  ["F8_E4M3", 8],
  ["F8_E8M0", 8],
  ["F8_E4M3FNUZ", 8],
  ["F8_E5M2FNUZ", 8],
  ["I16", 16],
  ["U16", 16],
  ["F16", 16],
  ["BF16", 16],
  ["I32", 32],
  ["U32", 32],
  ["F32", 32],
  ["C64", 64],
  ["F64", 64],
  ["I64", 64],
  ["U64", 64],
]);

/** What the header says of a tensor. */
export interface HeaderEntry {
  readonly dtype: string;
  readonly shape: number[];
  /** Where its bytes begin and end, in the file. */
  readonly begin: number;
  readonly end: number;
}

export interface Header {
  readonly metadata: ReadonlyMap<string, string>;
  /** By name, in the order of the data. */
  readonly entries: ReadonlyMap<string, HeaderEntry>;
}

/**
 * Reads and checks the header of a whole file.
 *
 * @throws BatchNormError `invalid-file`
 */
export function readHeader(bytes: Uint8Array, owner: string): Header {
  const { length } = bytes;
  if (length < 8) fail("invalid-file", `${owner}: ${length} bytes are no .safetensors file`);
  const words = new DataView(bytes.buffer, bytes.byteOffset);
  const size = words.getUint32(0, true) + words.getUint32(4, true) * 2 ** 32;
  if (size > Limit.HEADER) {
    const most = `${Limit.HEADER} at most; is it a .safetensors file?`;
    fail("invalid-file", `${owner}: a header of ${size} bytes, ${most}`);
  }
  if (size > length - 8) {
    const there = `there are ${length - 8}: the file is cut off`;
    fail("invalid-file", `${owner}: a header of ${size} bytes, ${there}`);
  }
  const { metadata, entries } = new HeaderText(bytes, 8, 8 + size, owner).read();
  return { metadata, entries: checkLayout(entries, 8 + size, length, owner) };
}

/** @returns the entries in the order of the data, with their places in the file */
function checkLayout(
  entries: ReadonlyMap<string, HeaderEntry>,
  start: number,
  length: number,
  owner: string,
): Map<string, HeaderEntry> {
  const inOrder = [...entries].sort(([, a], [, b]) => a.begin - b.begin || a.end - b.end);
  let last = 0;
  for (const [name, entry] of inOrder) {
    const { dtype, shape, begin, end } = entry;
    const wrong = (what: string) => {
      const range = `data_offsets ${showShape([begin, end])}`;
      fail("invalid-file", `${owner}: ${cut(name)}: ${range} ${what}`);
    };
    if (end < begin) wrong("end before they begin");
    if (begin < last) wrong(`overlap what ends at ${last}`);
    if (begin > last) wrong(`leave a gap behind ${last}`);
    const bits = BITS.get(dtype);
    // Of a type that isn't known the values can't be asked for.
    const needed = bits === undefined ? end - begin : (sizeOf(shape) * bits) / 8;
    if (needed !== end - begin) {
      const size = needed < Infinity ? `${needed} bytes` : "more elements than can be counted";
      wrong(`are ${end - begin} bytes, and ${showShape(shape)} of ${dtype} has ${size}`);
    }
    last = end;
  }
  if (start + last !== length) {
    const there = `data of ${length - start} bytes, the header has ${last}`;
    const why = start + last > length ? "the file is cut off" : "there is more behind its end";
    fail("invalid-file", `${owner}: ${there}: ${why}`);
  }
  return new Map(
    inOrder.map(([name, { begin, end, ...one }]) => {
      return [name, { ...one, begin: start + begin, end: start + end }];
    }),
  );
}

/** The number of elements; infinite where it can't be counted, also before a 0, as the reference has it. */
export function sizeOf(shape: readonly number[]): number {
  let product = 1;
  for (const size of shape) {
    product *= size;
    if (!Number.isSafeInteger(product)) return Infinity;
  }
  return product;
}

/** The characters of the format's JSON. */
const SPACE = " \n\r\t";
const [QUOTE, BACKSLASH] = [0x22, 0x5c];
const ENTRY = ["dtype", "shape", "data_offsets"];

/** The header as text, read once from its beginning to its end. */
class HeaderText {
  readonly #bytes: Uint8Array;
  #at: number;
  readonly #end: number;
  readonly #owner: string;

  constructor(bytes: Uint8Array, begin: number, end: number, owner: string) {
    this.#bytes = bytes;
    this.#at = begin;
    this.#end = end;
    this.#owner = owner;
  }

  /** With offsets as they are written, not checked. */
  read(): Header {
    const metadata = new Map<string, string>();
    const entries = new Map<string, HeaderEntry>();
    let hasMetadata = false;
    // Without spaces before it, as the format has it.
    if (this.#character() !== "{") this.#wrong("it must begin with {");
    this.#fields((name) => {
      if (name !== "__metadata__") {
        if (entries.has(name)) this.#twice(name);
        entries.set(name, this.#entry());
        return;
      }
      if (hasMetadata) this.#twice(name);
      hasMetadata = true;
      this.#fields((key) => {
        if (metadata.has(key)) this.#twice(key);
        metadata.set(key, this.#string());
      });
    });
    this.#skipSpace();
    if (this.#at < this.#end) this.#expect("the header's end");
    return { metadata, entries };
  }

  #entry(): HeaderEntry {
    let dtype: string | undefined;
    // Without what somebody has put on `Object.prototype`.
    const numbers: Record<string, number[]> = Object.create(null);
    this.#fields((key) => {
      if (!ENTRY.includes(key)) this.#wrong(`${show(key)} is none of ${list(ENTRY, String)}`);
      if (key === "dtype" ? dtype !== undefined : numbers[key]) this.#twice(key);
      if (key === "dtype") dtype = this.#string();
      else numbers[key] = this.#numbers(key);
    });
    const { shape, data_offsets: offsets } = numbers;
    if (dtype === undefined || !shape || !offsets) {
      return this.#wrong(`an entry needs each of ${list(ENTRY, String)}`);
    }
    const [begin, end] = offsets;
    if (begin === undefined || end === undefined || offsets.length !== 2) {
      return this.#wrong(`data_offsets are two numbers, got ${offsets.length}`);
    }
    return { dtype, shape, begin, end };
  }

  /** `{ "key": value, … }`, whose values `value` reads. */
  #fields(value: (key: string) => void): void {
    this.#items("{", "}", () => {
      const key = this.#string();
      this.#expect(":");
      value(key);
    });
  }

  #numbers(what: string): number[] {
    const numbers: number[] = [];
    this.#items("[", "]", () => {
      if (numbers.length === Limit.RANK) this.#wrong(`${what} has more than ${Limit.RANK} numbers`);
      numbers.push(this.#number());
    });
    return numbers;
  }

  #items(open: string, close: string, item: () => void): void {
    this.#expect(open);
    if (this.#takes(close)) return;
    do item();
    while (this.#takes(","));
    this.#expect(close);
  }

  /** A whole number from 0 on: no sign, fraction, exponent or leading zero. */
  #number(): number {
    this.#skipSpace();
    const from = this.#at;
    let value = 0;
    while (/\d/.test(this.#character())) {
      value = value * 10 + Number(this.#character());
      this.#at++;
      const digits = this.#at - from;
      if (!Number.isSafeInteger(value)) this.#wrong("a number is too large");
      if (digits > 1 && value < 10) this.#wrong("a number begins with 0");
    }
    if (this.#at === from || /[-+.\w]/.test(this.#character())) {
      this.#expect("a whole number from 0 on");
    }
    return value;
  }

  #string(): string {
    this.#expect('"');
    const from = this.#at;
    let isPlain = true;
    for (let byte = 0; this.#at < this.#end; this.#at += byte === BACKSLASH ? 2 : 1) {
      byte = this.#bytes[this.#at] as number;
      if (byte === QUOTE) break;
      isPlain &&= byte >= 0x20 && byte < 0x7f && byte !== BACKSLASH;
    }
    const to = this.#at;
    this.#expect('"');
    const text = decodeUtf8(this.#bytes, from, to, this.#owner);
    // As nearly all names are, of which a file can have many.
    if (isPlain) return text;
    try {
      // Of escapes, and of control characters, which it refuses.
      const string: string = JSON.parse(`"${text}"`);
      if (!hasLoneSurrogates(string)) return string;
    } catch {
      // Said below.
    }
    return this.#wrong(`${show(text)} is no string of JSON`);
  }

  #takes(character: string): boolean {
    this.#skipSpace();
    if (this.#character() !== character) return false;
    this.#at++;
    return true;
  }

  #expect(what: string): void {
    if (this.#takes(what)) return;
    const found = this.#at < this.#end ? show(this.#character()) : "the header's end";
    this.#wrong(`expected ${what.length > 1 ? what : show(what)}, got ${found}`);
  }

  #skipSpace(): void {
    while (this.#at < this.#end && SPACE.includes(this.#character())) this.#at++;
  }

  /** Of one byte: those of UTF-8 that are more are in strings alone. */
  #character(): string {
    return this.#at < this.#end ? String.fromCharCode(this.#bytes[this.#at] as number) : "";
  }

  #twice(name: string): never {
    return this.#wrong(`${show(name)} comes twice`);
  }

  #wrong(what: string): never {
    return fail("invalid-file", `${this.#owner}: the header, at byte ${this.#at}: ${what}`);
  }
}
