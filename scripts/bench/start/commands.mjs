/** Runtimes that run a file: from the start of their process to its end. */
import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";

const bin = fileURLToPath(new URL("../../../test/packaging/node_modules/.bin", import.meta.url));
const programs = ["bare", "empty", "import", "result", "tfjs", "onnxruntime"];

/** @param {string} folder */
export function commands(folder) {
  const runner = (/** @type {string} */ file, /** @type {string[]} */ ...args) => ({
    programs,
    async run(/** @type {string} */ program) {
      const start = performance.now();
      execFileSync(file, [...args, `programs/${program}.mjs`], { cwd: folder, stdio: "pipe" });
      return performance.now() - start;
    },
  });
  return {
    Node: runner(process.execPath),
    Deno: runner(`${bin}/deno`, "run", "--allow-all", "--node-modules-dir=manual"),
    Bun: runner(`${bin}/bun`),
  };
}
