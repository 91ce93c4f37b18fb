/**
 * How many of a module's functions hold vectors: read from the declarations of their
 * local variables, the one place where SIMD shows without decoding instructions.
 *
 * @param {Uint8Array} wasm
 */
export function countVectorFunctions(wasm) {
  const CODE_SECTION = 10;
  const V128 = 0x7b;
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

  while (at < wasm.length) {
    const section = wasm[at++];
    const size = number();
    if (section !== CODE_SECTION) {
      at += size;
      continue;
    }
    let vectorFunctions = 0;
    for (let functions = number(); functions > 0; functions--) {
      const bodySize = number();
      const end = at + bodySize;
      let hasVector = false;
      for (let groups = number(); groups > 0; groups--) {
        number(); // how many variables of the type
        hasVector ||= wasm[at] === V128;
        at++;
      }
      if (hasVector) vectorFunctions++;
      at = end;
    }
    return vectorFunctions;
  }
  return 0;
}
