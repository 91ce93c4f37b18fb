/**
 * The kernel's bytes as printable ASCII, so that no bundler, charset or minifier can
 * change them. A byte is one character, 0 is "'", and the last four (−4 to −1, frequent in
 * WebAssembly) are those before it, from "#" on. Above "x", "y" or "z" stands before and
 * says how many times 86 to add. Base64 moves bytes out of step and gzips to 1.36 times the
 * module's own gzip; this, to 1.01 times. `scripts/kernel-text.mjs` writes it.
 */
import { instantiate } from "../kernel.js";

const ZERO = 39; // "'"
const LAST = 120; // "x"
const DIGITS = 86; // "#" to "x"

/**
 * A module that reads a text in its memory and leaves the bytes in its place. A loop that
 * runs once is interpreted in JavaScript: this takes a third of the time, with its own
 * compilation.
 */
const DECODER = /* @__PURE__ */ Uint8Array.of(
  ...[0, 97, 115, 109, 1, 0, 0, 0],
  ...[1, 9, 1, 96, 4, 127, 127, 127, 127, 1, 127], // (i32, i32, i32, i32) -> i32
  ...[3, 2, 1, 0],
  ...[5, 3, 1, 0, 1], // a memory of one page
  ...[7, 9, 2, 1, 109, 2, 0, 1, 100, 0, 0], // exports: m, the memory, and d, decode
  // decode(length, zero, last, digits), and locals: from, to, page, code
  ...[10, 69, 1, 67, 1, 4, 127],
  ...[3, 64], // do {
  ...[32, 4, 45, 0, 0, 33, 7], // code = memory[from]
  ...[32, 5, 32, 6, 32, 7, 106, 32, 1, 107, 58, 0, 0], // memory[to] = page + code - zero
  ...[32, 5, 32, 7, 32, 2, 77, 106, 33, 5], // to += code <= last
  ...[32, 7, 32, 2, 107, 32, 3, 108], // page = (code - last) * digits
  ...[32, 7, 32, 2, 75, 108, 33, 6], // * (code > last)
  ...[32, 4, 65, 1, 106, 34, 4, 32, 0, 73, 13, 0, 11], // } while (++from < length)
  ...[32, 5, 11], // return to
);

interface Decoder {
  m: WebAssembly.Memory;
  d(length: number, zero: number, last: number, digits: number): number;
}

/**
 * The bytes that a text stands for.
 *
 * @param text at least one character
 * @throws BatchNormError `kernel` where WebAssembly is refused
 */
export function decode(text: string): Uint8Array<ArrayBuffer> {
  const { m: memory, d: decode } = instantiate(DECODER) as unknown as Decoder;
  memory.grow(text.length >> 16);
  const bytes = new Uint8Array(memory.buffer);
  new TextEncoder().encodeInto(text, bytes);
  return bytes.subarray(0, decode(text.length, ZERO, LAST, DIGITS));
}
