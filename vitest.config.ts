import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

export default defineConfig({
  resolve: {
    alias: { "batchnorm-wasm": fileURLToPath(new URL("ts/entry/node.ts", import.meta.url)) },
  },
  test: {
    include: ["test/**/*.test.ts"],
    // Of memory that grows these say nothing that test/lab/trainer.test.ts doesn't, and take a minute.
    exclude: process.env.GROW_ON_ALLOCATE ? ["test/lab/experiments.test.ts"] : [],
    setupFiles: ["test/setup.ts"],
    // No test asserts a time; on a shared machine any may take long.
    testTimeout: 120_000,
  },
});
