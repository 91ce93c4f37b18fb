/**
 * `batchnorm-wasm/kernel.wasm`, where importing it compiles it: Workers and edge functions.
 * A `WebAssembly.Module`, which only the DOM library has a type for.
 */
declare const kernel: object;
export default kernel;
