/** The bytes of files: views of what callers hand over, and the text in them. */
import { fail, mustBe } from "../core/errors.js";
import { bufferOf, lengthOf, typedArrayName } from "../core/typed-arrays.js";
import { checkAttached } from "../core/values.js";

/** What a file's bytes can come as: read by Node, fetched, or a part of something larger. */
export type FileBytes = Uint8Array | ArrayBuffer | SharedArrayBuffer | DataView;
/** A `Uint8Array` over an `ArrayBuffer`, however old the TypeScript that reads this is. */
export type OwnBytes = ReturnType<typeof Uint8Array.of>;

/** Where a view begins, whatever property a caller has put over it. */
const beginOf = /* @__PURE__ */ (() => {
  const { get } = Object.getOwnPropertyDescriptor(
    Object.getPrototypeOf(Uint8Array.prototype),
    "byteOffset",
  ) as { get(): number };
  return (view: ArrayBufferView): number => get.call(view);
})();

/**
 * The bytes, of whatever they come as; no copy.
 *
 * @throws BatchNormError `dtype`
 */
export function readBytes(value: unknown, owner: string): Uint8Array {
  if (typedArrayName(value) === "Uint8Array") {
    return viewBytes(value as Uint8Array, 1, owner);
  }
  try {
    // Takes what is a buffer, of any realm, and nothing that only looks like one.
    return new Uint8Array(new DataView(value as ArrayBuffer).buffer);
  } catch {
    // No buffer, or a detached one.
  }
  try {
    const { buffer, offset, length } = readDataView(value);
    return new Uint8Array(buffer, offset, length);
  } catch {
    return mustBe("dtype", owner, "a Uint8Array or an ArrayBuffer that is attached", value);
  }
}

/**
 * The bytes of a typed array whose elements take `size` each; no copy.
 *
 * @throws BatchNormError `dtype` where it is detached
 */
export function viewBytes(view: ArrayBufferView, size: number, owner: string): Uint8Array {
  checkAttached(view, owner);
  return new Uint8Array(bufferOf(view), beginOf(view), lengthOf(view) * size);
}

/** By the getters of the class: they throw for all that is none, or is detached. */
function readDataView(value: unknown) {
  const slot = (name: string) => {
    const { get } = Object.getOwnPropertyDescriptor(DataView.prototype, name) as { get(): unknown };
    return get.call(value);
  };
  return {
    buffer: slot("buffer") as ArrayBuffer,
    offset: slot("byteOffset") as number,
    length: slot("byteLength") as number,
  };
}

/** @throws BatchNormError `out-of-memory` where JavaScript has no room for so many bytes */
export function bytesFor(size: number, owner: string): OwnBytes {
  try {
    return new Uint8Array(size);
  } catch (cause) {
    return fail("out-of-memory", `${owner}: JavaScript has no room for ${size} bytes`, { cause });
  }
}

/** By its first byte: how many bytes follow it, and which character is the first that needs so many. */
const LEADS = [
  [0xf0, 3, 0x1_0000],
  [0xe0, 2, 0x800],
  [0xc0, 1, 0x80],
] as const;

/** UTF-16 units that become text at a time: one by one each would take 32 bytes in a long text. */
const CHUNK = 0x1000;
/** Written anew by each text; one for each would be what a long header costs most. */
const units = /* @__PURE__ */ new Uint16Array(CHUNK + 1);

/**
 * Text from UTF-8, to the letter of its definition: nothing overlong, no surrogates. By hand, for
 * an AudioWorklet and jest's jsdom have no `TextDecoder`.
 *
 * @throws BatchNormError `invalid-file`
 */
export function decodeUtf8(bytes: Uint8Array, from: number, to: number, owner: string): string {
  let text = "";
  let count = 0;
  for (let i = from; i < to; ) {
    const first = bytes[i] as number;
    if (first < 0x80) {
      units[count++] = first;
      i++;
    } else {
      const [code, size] = readCharacter(bytes, i, to);
      if (size === 0) fail("invalid-file", `${owner}: byte ${i} is not UTF-8`);
      if (code > 0xffff) units[count++] = 0xd7c0 + (code >> 10);
      units[count++] = code > 0xffff ? 0xdc00 + (code & 0x3ff) : code;
      i += size;
    }
    if (count >= CHUNK || i >= to) {
      // Spreading would iterate, four times as long.
      text += String.fromCharCode.apply(null, units.subarray(0, count) as unknown as number[]);
      count = 0;
    }
  }
  return text;
}

/** A character of several bytes and their number, which is 0 where they are none. */
function readCharacter(bytes: Uint8Array, at: number, to: number): [code: number, size: number] {
  const [mark, more, least] = LEADS.find(([mark]) => (bytes[at] as number) >= mark) ?? [0, 0, 256];
  let code = (bytes[at] as number) - mark;
  for (let k = 1; k <= more; k++) {
    const next = at + k < to ? (bytes[at + k] as number) : 0;
    if (next >> 6 !== 2) return [0, 0];
    code = code * 64 + (next & 0x3f);
  }
  const isSurrogate = code >= 0xd800 && code < 0xe000;
  return code < least || code > 0x10_ffff || isSurrogate ? [0, 0] : [code, more + 1];
}

/** UTF-8 of text that has no lone surrogates ({@link hasLoneSurrogates}). */
export function encodeUtf8(text: string): Uint8Array {
  const bytes = new Uint8Array(3 * text.length);
  let size = 0;
  for (let i = 0; i < text.length; i++) {
    const code = text.codePointAt(i) as number;
    if (code < 0x80) {
      bytes[size++] = code;
      continue;
    }
    const more = code < 0x800 ? 1 : code < 0x1_0000 ? 2 : 3;
    const [mark] = LEADS[3 - more] ?? [0];
    bytes[size++] = mark + (code >> (6 * more));
    for (let k = more - 1; k >= 0; k--) bytes[size++] = 0x80 + ((code >> (6 * k)) & 0x3f);
    // Of two units.
    if (code > 0xffff) i++;
  }
  return bytes.subarray(0, size);
}

/** Whether a text has halves of characters (lone surrogates), for which UTF-8 has no bytes. */
export function hasLoneSurrogates(text: string): boolean {
  return /[\ud800-\udfff]/u.test(text);
}
