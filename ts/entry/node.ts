/** The package from its sources, for tests and tools: it is not packed. */
import { readFileSync } from "node:fs";
import { provideDefaultKernel } from "../core/default-kernel.js";
import { createKernel } from "../core/kernel.js";

provideDefaultKernel(() =>
  createKernel(readFileSync(new URL("../generated/kernel.wasm", import.meta.url))),
);

export * from "../index.js";
