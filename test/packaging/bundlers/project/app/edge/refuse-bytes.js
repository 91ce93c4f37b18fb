/**
 * Vercel's platform compiles no bytes; its local stand-in does. Imported first, this
 * makes it refuse them too.
 */
function refuse() {
  throw new WebAssembly.CompileError("Wasm code generation disallowed by embedder");
}

const { instantiate, Module } = WebAssembly;
WebAssembly.Module = new Proxy(Module, { construct: refuse });
WebAssembly.compile = refuse;
WebAssembly.instantiate = (source, imports) =>
  source instanceof Module ? instantiate(source, imports) : refuse();
