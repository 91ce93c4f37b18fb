/** `batchnorm-wasm/threads` in Cloudflare Workers, where there are none: the ordinary kernel, and what says so. */
import { provideDefaultKernel } from "../core/default-kernel.js";
import { instantiate } from "../core/instance.js";
import { kernelOf } from "../core/kernel.js";
import kernel from "../generated/kernel.wasm";

provideDefaultKernel(() => kernelOf(instantiate(kernel)));

export * from "../index.js";
export { setThreads, shutdown, type Threads, threads } from "../threads/alone.js";
