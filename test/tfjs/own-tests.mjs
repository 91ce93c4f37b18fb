/**
 * Runs tests of tfjs-core's own, which are in its npm package: bundled, because they are written for a
 * bundler, and in a process of their own, which tells how each ended.
 *
 *     node own-tests.mjs cpu plain
 *     node own-tests.mjs wasm ours
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { kernelFile } from "../../scripts/kernel/under-test.mjs";

const here = fileURLToPath(new URL(".", import.meta.url));
const root = join(here, "../..");
const require = createRequire(import.meta.url);
const wasm = dirname(require.resolve("@tensorflow/tfjs-backend-wasm"));
const TESTS = ["batchnorm_test", "moments_test"];

const PROGRAM = (/** @type {string} */ backend, /** @type {boolean} */ isOurs) => `
  const jasmineCore = require("jasmine-core/lib/jasmine-core/jasmine.js");
  require("jasmine-core/lib/jasmine-core/node_boot.js")(jasmineCore);
  const { setTestEnvs } = require("@tensorflow/tfjs-core/dist/jasmine_util");
  require("@tensorflow/tfjs-core/dist/register_all_gradients");
  require("@tensorflow/tfjs-core/dist/public/chained_ops/register_all_chained_ops");
  require("@tensorflow/tfjs-backend-cpu");
  const { setWasmPaths, setThreadsCount } = require("@tensorflow/tfjs-backend-wasm");
  setWasmPaths(${JSON.stringify(`${wasm}/`)});
  setThreadsCount(1);
  const ours = ${isOurs ? `require("batchnorm-wasm/tfjs")` : "null"};
  setTestEnvs([{ name: "test", backendName: ${JSON.stringify(backend)}, isDataSync: true }]);
  ${TESTS.map((name) => `require("@tensorflow/tfjs-core/dist/ops/${name}");`).join("\n")}
  const specs = {};
  jasmine.getEnv().addReporter({
    specDone({ fullName, status, failedExpectations }) {
      specs[fullName] = status === "passed" ? status : [status, ...failedExpectations.map(({ message }) => message)].join(": ");
    },
    jasmineDone() {
      // Whether our kernel was made at all.
      const computed = ours?.normalizationMemory() != null;
      console.log(JSON.stringify({ specs, computed }));
    },
  });
  jasmine.getEnv().configure({ random: false });
  jasmine.getEnv().execute();
`;

/**
 * @param {"cpu" | "wasm"} backend
 * @param {boolean} isOurs whether `batchnorm-wasm/tfjs` is imported
 * @returns {Promise<{ specs: { [name: string]: string }, computed: boolean }>} what became of each test;
 *   and whether anything was computed by our kernel
 */
export async function runOwnTests(backend, isOurs) {
  const folder = mkdtempSync(join(tmpdir(), "batchnorm-tfjs-"));
  try {
    const outfile = join(folder, "tests.cjs");
    await build({
      stdin: { contents: PROGRAM(backend, isOurs), resolveDir: here, loader: "js" },
      outfile,
      bundle: true,
      platform: "node",
      target: "node18",
      // As a bundler for the web, so that all have the same core.
      mainFields: ["module", "main"],
      // Or its `sideEffects` drops the tests.
      ignoreAnnotations: true,
      loader: { ".wasm": "binary" },
      logLevel: "error",
      plugins: [entries],
    });
    const { status, stdout, stderr } = spawnSync(process.execPath, [outfile], {
      encoding: "utf8",
      maxBuffer: 1e8,
    });
    if (status !== 0) throw new Error(`tfjs's tests broke off: ${stderr}`);
    return JSON.parse(stdout.trim().split("\n").at(-1) ?? "");
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/**
 * This package's sources, with the kernel under test.
 *
 * @type {import("esbuild").Plugin}
 */
const entries = {
  name: "entries",
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^batchnorm-wasm\/tfjs$/ }, () => ({
      path: join(root, "ts/entry/tfjs.ts"),
    }));
    onResolve({ filter: /^batchnorm-wasm$/ }, () => ({ path: "kernel", namespace: "ours" }));
    onLoad({ filter: /./, namespace: "ours" }, () => ({
      resolveDir: root,
      contents: `
        import { provideDefaultKernel } from "./ts/core/default-kernel.ts";
        import bytes from ${JSON.stringify(fileURLToPath(kernelFile))};
        provideDefaultKernel(() => { throw Error("not needed"); }, () => bytes);`,
    }));
    // The tests' own copy: the sources have none.
    onResolve({ filter: /^@tensorflow\/tfjs-core$/ }, ({ importer }) =>
      importer.startsWith(join(root, "ts"))
        ? { path: join(here, "node_modules/@tensorflow/tfjs-core/dist/index.js") }
        : undefined,
    );
  },
};

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [backend, whose] = process.argv.slice(2);
  const { specs, computed } = await runOwnTests(
    backend === "wasm" ? "wasm" : "cpu",
    whose === "ours",
  );
  for (const [name, status] of Object.entries(specs)) console.log(`${status}: ${name}`);
  console.log(computed);
}
