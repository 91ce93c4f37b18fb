/** `batchnorm-wasm/threads` in Cloudflare Workers, where there are none: the ordinary kernel, and what says so. */

export { setThreads, shutdown, type Threads, threads } from "../threads/alone.js";
export * from "./workerd.js";
