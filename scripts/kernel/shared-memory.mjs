/**
 * Whether the memory that a module imports is shared, as one bit of its limits says it. It is flipped
 * around wasm-bindgen, which would look for thread-local storage that the kernel doesn't have.
 */

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
  let at = 8; // after magic and version

  /** An unsigned LEB128. */
  const number = () => {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = wasm[at++] ?? 0;
      value |= (byte & 0x7f) << shift;
      if (byte < 0x80) return value >>> 0;
    }
  };
  /** Limits begin with their kind. */
  const skipLimits = () => {
    const kind = wasm[at++] ?? 0;
    number();
    if (kind & MAXIMUM) number();
  };

  while (at < wasm.length) {
    const section = wasm[at++];
    const end = number() + at;
    if (section === IMPORTS) {
      for (let imports = number(); imports > 0; imports--) {
        for (const _ of ["module", "name"]) at = number() + at;
        const kind = wasm[at++];
        if (kind === 0) number();
        else if (kind === 1) {
          at++;
          skipLimits();
        } else if (kind === 2) return at;
        else at += 2;
      }
    }
    at = end;
  }
  throw new Error("the module imports no memory");
}
