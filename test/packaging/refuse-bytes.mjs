/**
 * Makes a local edge runtime as strict as the platform: only modules that were compiled
 * before are taken, no bytes. Imported for its effect, before the package.
 */
const wasm = /** @type {any} */ (WebAssembly);
const { instantiate, Module } = wasm;

function refuse() {
  throw new WebAssembly.CompileError("refuse-bytes: the edge compiles no bytes at run time");
}

// The prototype stays, so that compiled modules are still what they are.
wasm.Module = Object.assign(
  () => {
    refuse();
  },
  { prototype: Module.prototype },
);
for (const name of ["compile", "compileStreaming", "instantiateStreaming"]) {
  wasm[name] = async () => refuse();
}
wasm.instantiate = async (/** @type {unknown} */ module, /** @type {unknown} */ imports) =>
  module instanceof wasm.Module ? instantiate(module, imports) : refuse();

/** The smallest module there is: whether its bytes are refused here, or else nothing is shown. */
export function refusesBytes() {
  try {
    new WebAssembly.Module(Uint8Array.of(0, 97, 115, 109, 1, 0, 0, 0));
    return false;
  } catch {
    return true;
  }
}
