/** `batchnorm-wasm/threads` in Vercel's edge runtime, where there are none: the ordinary kernel, and what says so. */

export { setThreads, shutdown, type Threads, threads } from "../threads/alone.js";
export * from "./edge-light.js";
