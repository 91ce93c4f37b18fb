/** `batchnorm-wasm/kernel.wasm`, where importing it compiles it: Workers and edge functions. */
declare const kernel: WebAssembly.Module;
export default kernel;
