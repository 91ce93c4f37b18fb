import { fileURLToPath, pathToFileURL } from "node:url";
import { defineConfig, type Plugin } from "vitest/config";

/**
 * The suite on another kernel than the committed one: KERNEL_WASM=path npm run test:unit.
 * The package has no hook for it, so the address is replaced in the entry's source.
 */
function kernelUnderTest(path: string): Plugin {
  const committed = "../generated/kernel.wasm";
  return {
    name: "kernel-under-test",
    enforce: "pre",
    transform(code, id) {
      if (!id.endsWith("/ts/entry/node.ts")) return null;
      if (!code.includes(committed)) throw new Error(`${id} no longer reads ${committed}`);
      return code.replaceAll(committed, pathToFileURL(path).href);
    },
  };
}

const { KERNEL_WASM } = process.env;

export default defineConfig({
  plugins: KERNEL_WASM ? [kernelUnderTest(KERNEL_WASM)] : [],
  resolve: {
    alias: { "batchnorm-wasm": fileURLToPath(new URL("ts/entry/node.ts", import.meta.url)) },
  },
  test: {
    include: ["test/**/*.test.ts"],
    setupFiles: ["test/setup.ts"],
    // No test asserts a time; on a shared machine any may take long.
    testTimeout: 120_000,
  },
});
