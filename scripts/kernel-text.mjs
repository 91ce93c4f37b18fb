/** The kernel as text, for an esbuild or Vite build: `import text from "….wasm?text"`. */
import { readFileSync } from "node:fs";

const FIRST = "#".charCodeAt(0);
const DIGITS = 86;
const SHIFT = 4; // Byte 0 is the fifth character.

/**
 * Printable ASCII of bytes; `ts/entry/text.ts` says how and why, and reads it.
 *
 * @param {Uint8Array} bytes
 */
export function encode(bytes) {
  const character = (/** @type {number} */ code) => String.fromCharCode(FIRST + code);
  return Array.from(bytes, (byte) => {
    const code = (byte + SHIFT) % 256;
    const page = Math.floor(code / DIGITS);
    return (page ? character(DIGITS + page - 1) : "") + character(code % DIGITS);
  }).join("");
}

/** @param {string} path */
export function kernelText(path) {
  return encode(readFileSync(path));
}
