/**
 * The kernel's bytes as printable ASCII, so that no bundler, charset or minifier can
 * change them. The 86 most frequent bytes are one character each, "#" to "x"; above "x", "y"
 * or "z" stands before the others. Which are frequent is told first, in 43 characters of six
 * bits; they follow each other in order from "d" on, so that the most frequent ones get the
 * letters that are frequent in JavaScript, too. Base64 moves bytes out of step and gzips to
 * 1.36 times the module's own gzip; this in a bundle to 1.03 times, and an order by the bytes
 * alone to 1.07. `scripts/kernel-text.mjs` writes it.
 */
import { instantiate } from "../core/instance.js";

/**
 * A module that reads a text in its memory and leaves the bytes in its place. A loop that
 * runs once is interpreted in JavaScript: this takes a third of the time, with its own
 * compilation.
 */
const DECODER = /* @__PURE__ */ Uint8Array.of(
  ...[0, 97, 115, 109, 1, 0, 0, 0],
  ...[1, 7, 1, 96, 2, 127, 127, 1, 127], // (i32, i32) -> i32
  ...[3, 2, 1, 0],
  ...[5, 3, 1, 0, 1], // a memory of one page, or as many as are written there
  ...[7, 9, 2, 1, 109, 2, 0, 1, 100, 0, 0], // exports: m, the memory, and d, decode
  // decode(length, table), and locals: from, to, page, code
  ...[10, 76, 1, 74, 1, 4, 127],
  ...[3, 64], // do {
  ...[32, 2, 45, 0, 0, 33, 5], // code = memory[from]
  ...[32, 3, 32, 4, 32, 5, 106, 32, 1, 106], // memory[to] = memory[page + code + table]
  ...[45, 0, 0, 58, 0, 0],
  ...[32, 3, 32, 5, 65, 248, 0, 77, 106, 33, 3], // to += code <= "x"
  ...[32, 5, 65, 248, 0, 107, 65, 214, 0, 108], // page = (code - "x") * 86
  ...[32, 5, 65, 248, 0, 75, 108, 33, 4], // * (code > "x")
  ...[32, 2, 65, 1, 106, 34, 2, 32, 0, 73, 13, 0, 11], // } while (++from < length)
  ...[32, 3, 11], // return to
);

/** Where the decoder says how many pages it has; up to 127 are one byte. */
const PAGES = 25;

interface Decoder {
  m: WebAssembly.Memory;
  d(length: number, table: number): number;
}

/**
 * The bytes that a text stands for.
 *
 * @param text of `encode`
 * @throws BatchNormError `kernel` where WebAssembly is refused
 */
export function decode(text: string): Uint8Array<ArrayBuffer> {
  const { length } = text;
  // From the start: growing detaches a buffer, and the first one that is detached anywhere slows
  // JavaScript's loops over typed arrays for good.
  DECODER[PAGES] = 1 + ((length + 300) >> 16);
  const { m: memory, d: decode } = instantiate(DECODER) as unknown as Decoder;
  const bytes = new Uint8Array(memory.buffer);
  // Which byte a character stands for: by pages of 86, the frequent bytes first.
  const table = bytes.length - 300;
  let rank = 0;
  for (const frequent of [1, 0]) {
    for (let byte = 0; byte < 256; byte++) {
      if (((text.charCodeAt((byte / 6) | 0) - 35) >> (byte % 6)) % 2 !== frequent) continue;
      bytes[table + rank - (rank % 86) + ((rank + 65) % 86)] = byte;
      rank++;
    }
  }
  const coded = text.slice(43);
  if (typeof TextEncoder !== "undefined") new TextEncoder().encodeInto(coded, bytes);
  // An AudioWorklet has none, nor has jest's jsdom.
  else for (let i = 0; i < length; i++) bytes[i] = coded.charCodeAt(i);
  return bytes.subarray(0, decode(length - 43, table - 35));
}
