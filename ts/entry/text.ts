/**
 * The kernel's bytes as printable ASCII, so that no bundler, charset or minifier can
 * change them. A byte is one character, from "#" on; where it is 86 or more, "y" or "z"
 * stands before and says how many times 86. Base64 moves bytes out of step and gzips
 * to 1.36 times the module's own gzip; this, to 1.01 times. `scripts/kernel-text.mjs`
 * writes it.
 */
const FIRST = 35;
const DIGITS = 86;

/** The bytes that a text stands for. */
export function decode(text: string): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(text.length);
  let length = 0;
  for (let i = 0; i < text.length; i++) {
    let code = text.charCodeAt(i) - FIRST;
    if (code >= DIGITS) {
      const page = code - DIGITS + 1;
      code = page * DIGITS + text.charCodeAt(++i) - FIRST;
    }
    bytes[length++] = code;
  }
  return bytes.subarray(0, length);
}
