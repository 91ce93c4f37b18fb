import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

const entry = (name: string) => fileURLToPath(new URL(`ts/entry/${name}.ts`, import.meta.url));

// THREADS=1 runs the suite over the entry with threads.
const main = process.env.THREADS ? "threads-node" : "node";

export default defineConfig({
  resolve: {
    // The longer name first: the shorter one stands before all that begins with it.
    alias: {
      "batchnorm-wasm/weights": entry("weights"),
      "batchnorm-wasm": entry(main),
    },
  },
  test: {
    include: ["test/**/*.test.ts"],
    setupFiles: ["test/setup.ts"],
    // No test asserts a time; on a shared machine any may take long.
    testTimeout: 120_000,
  },
});
