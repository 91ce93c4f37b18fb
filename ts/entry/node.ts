/** The package from its sources with the kernel under test, for tests and tools: it is not packed. */
import { kernelBytes } from "../../scripts/kernel/under-test.mjs";
import { provideDefaultKernel } from "../core/default-kernel.js";
import { createKernel } from "../core/kernel.js";

provideDefaultKernel(
  () => createKernel(kernelBytes),
  () => kernelBytes,
);

export * from "../index.js";
