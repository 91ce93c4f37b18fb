import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

// THREADS=1 runs the suite over the entry with threads.
const entry = process.env.THREADS ? "threads-node" : "node";

export default defineConfig({
  resolve: {
    alias: {
      "batchnorm-wasm": fileURLToPath(new URL(`ts/entry/${entry}.ts`, import.meta.url)),
    },
  },
  test: {
    include: ["test/**/*.test.ts"],
    setupFiles: ["test/setup.ts"],
    // No test asserts a time; on a shared machine any may take long.
    testTimeout: 120_000,
  },
});
