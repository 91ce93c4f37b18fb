/** The kernel as text, for an esbuild or Vite build: `import text from "….wasm?text"`. */
import { readFileSync } from "node:fs";

const FIRST = "#".charCodeAt(0);
const DIGITS = 86;
/** The digit of the first byte of a page, "d". */
const TURN = 65;

const character = (/** @type {number} */ code) => String.fromCharCode(FIRST + code);

/**
 * Printable ASCII of bytes; `ts/entry/text.ts` says how and why, and reads it.
 *
 * @param {Uint8Array} bytes
 */
export function encode(bytes) {
  const counts = new Uint32Array(256);
  for (const byte of bytes) counts[byte] = (counts[byte] ?? 0) + 1;
  const all = Array.from(counts.keys());
  const byCount = all.toSorted((a, b) => (counts[b] ?? 0) - (counts[a] ?? 0));
  const frequent = new Set(byCount.slice(0, DIGITS));
  const rank = all.toSorted((a, b) => Number(frequent.has(b)) - Number(frequent.has(a)));
  const codes = rank.map(() => "");
  rank.forEach((byte, i) => {
    const page = Math.floor(i / DIGITS);
    codes[byte] = (page ? character(DIGITS + page - 1) : "") + character((i + TURN) % DIGITS);
  });
  const bits = Array.from({ length: 43 }, (_, group) =>
    character(
      [0, 1, 2, 3, 4, 5].reduce((sum, bit) => {
        return sum + (frequent.has(group * 6 + bit) ? 1 << bit : 0);
      }, 0),
    ),
  );
  return bits.join("") + Array.from(bytes, (byte) => codes[byte]).join("");
}

/** @param {string} path */
export function kernelText(path) {
  return encode(readFileSync(path));
}
