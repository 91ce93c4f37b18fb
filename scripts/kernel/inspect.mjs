import { Reader } from "./sections.mjs";

/**
 * How many of a module's functions hold vectors: read from the declarations of their
 * local variables, the one place where SIMD shows without decoding instructions.
 *
 * @param {Uint8Array} wasm
 */
export function countVectorFunctions(wasm) {
  const CODE_SECTION = 10;
  const V128 = 0x7b;
  const reader = new Reader(wasm);
  if (!reader.enter(CODE_SECTION)) return 0;
  let vectorFunctions = 0;
  for (let functions = reader.number(); functions > 0; functions--) {
    const bodySize = reader.number();
    const end = reader.at + bodySize;
    let hasVector = false;
    for (let groups = reader.number(); groups > 0; groups--) {
      reader.number(); // how many variables of the type
      const type = reader.byte();
      hasVector ||= type === V128;
    }
    if (hasVector) vectorFunctions++;
    reader.at = end;
  }
  return vectorFunctions;
}
