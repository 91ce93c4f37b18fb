/**
 * The package with threads: the same calls over a default kernel of its own, whose long walks all
 * processors share.
 */
import kernel from "../generated/kernel-threads.wasm?text";
import { provideCrewed } from "../threads/index.js";
import { decode } from "./text.js";

declare module "../core/values.js" {
  interface Backing {
    /** Views of kernel memory may be backed by a `SharedArrayBuffer`. */
    shared: true;
  }
}

provideCrewed(() => decode(kernel));

export * from "../index.js";
export { setThreads, shutdown, type Threads, threads } from "../threads/index.js";
