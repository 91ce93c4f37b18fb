/**
 * Whether the memory that a module imports is shared, as one bit of its limits says it. It is flipped
 * around wasm-bindgen, which would look for thread-local storage that the kernel doesn't have.
 */

import { Reader } from "./sections.mjs";

/** Of limits that have a maximum; shared ones have to. */
const MAXIMUM = 1;
const SHARED = 2;

/**
 * A copy of a module whose imported memory is shared or not.
 *
 * @param {Uint8Array} wasm @param {boolean} shared
 */
export function withSharedMemory(wasm, shared) {
  const copy = Uint8Array.from(wasm);
  const at = placeOfLimits(wasm);
  const before = shared ? MAXIMUM : MAXIMUM | SHARED;
  if (copy[at] !== before) throw new Error(`limits of kind ${copy[at]}, not ${before}`);
  copy[at] = before ^ SHARED;
  return copy;
}

/** Where the limits of the imported memory begin. @param {Uint8Array} wasm */
function placeOfLimits(wasm) {
  const IMPORTS = 2;
  const reader = new Reader(wasm);
  /** Limits begin with their kind. */
  const skipLimits = () => {
    const kind = reader.byte();
    reader.number();
    if (kind & MAXIMUM) reader.number();
  };

  if (reader.enter(IMPORTS)) {
    for (let imports = reader.number(); imports > 0; imports--) {
      for (const _ of ["module", "name"]) {
        const length = reader.number();
        reader.at += length;
      }
      const kind = reader.byte();
      if (kind === 0) reader.number();
      else if (kind === 1) {
        reader.at++;
        skipLimits();
      } else if (kind === 2) return reader.at;
      else reader.at += 2;
    }
  }
  throw new Error("the module imports no memory");
}
