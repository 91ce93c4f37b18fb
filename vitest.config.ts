import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));
const entry = (name: string) => here(`ts/entry/${name}.ts`);
const tfjs = here("test/tfjs/node_modules/@tensorflow/");

// THREADS=1 runs the suite over the entry with threads.
const main = process.env.THREADS ? "threads-node" : "node";

export default defineConfig({
  resolve: {
    // The longer name first: the shorter one stands before all that begins with it.
    alias: {
      "batchnorm-wasm/weights": entry("weights"),
      "batchnorm-wasm/tfjs/install": entry("tfjs-install"),
      "batchnorm-wasm/tfjs": entry("tfjs"),
      "batchnorm-wasm": entry(main),
      // Packages of the tests' own, whose main files are CommonJS.
      "@tensorflow/tfjs-core": `${tfjs}tfjs-core/dist/tf-core.node.js`,
    },
  },
  test: {
    include: ["test/**/*.test.ts"],
    exclude: [
      "**/node_modules/**",
      // `npm test` says so; `npm ci --prefix test/tfjs` installs it. It has a kernel of its own.
      ...(existsSync(tfjs) && !process.env.THREADS ? [] : ["test/tfjs/**"]),
      // Of memory and threads these say nothing that test/lab/trainer.test.ts doesn't, and take minutes.
      ...(process.env.GROW_ON_ALLOCATE || process.env.THREADS
        ? ["test/lab/experiments.test.ts"]
        : []),
    ],
    setupFiles: ["test/setup.ts"],
    // No test asserts a time; on a shared machine any may take long.
    testTimeout: 120_000,
  },
});
