/** {@link ../entry/threads.ts} from its sources with the kernel under test: it is not packed. */
import { readFileSync } from "node:fs";
import { threadsKernelFile } from "../../scripts/kernel/under-test.mjs";
import { provideCrewed } from "../threads/index.js";

provideCrewed(() => new Uint8Array(readFileSync(threadsKernelFile)));

export * from "../index.js";
export { setThreads, shutdown, type Threads, threads } from "../threads/index.js";
