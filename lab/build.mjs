/**
 * Builds the lab to `target/lab`: a folder of files that any server can give. What it weighs has a budget.
 *
 *     node lab/build.mjs
 */
import { execFileSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { gunzipSync, gzipSync } from "node:zlib";
import { build } from "esbuild";

const at = (/** @type {string} */ path) => fileURLToPath(new URL(path, import.meta.url));

/** Of page, worker and styles, gzipped, in bytes; the digits are data, and apart. */
const BUDGET = 150_000;

export const out = at("../target/lab");

/** @returns {Promise<{ files: Record<string, number>, total: number }>} gzipped sizes in bytes */
export async function buildLab() {
  // uPlot alone; installed when it is first needed, as the benchmarks' rivals are.
  if (!existsSync(at("node_modules/uplot"))) {
    execFileSync("npm", ["ci", "--no-audit", "--no-fund", "--loglevel=error"], {
      cwd: at("."),
      stdio: ["ignore", "ignore", "inherit"],
      shell: process.platform === "win32",
    });
  }
  rmSync(out, { recursive: true, force: true });
  mkdirSync(out, { recursive: true });
  await build({
    entryPoints: { lab: at("page/main.ts"), worker: at("worker.ts") },
    outdir: out,
    bundle: true,
    minify: true,
    format: "esm",
    target: ["chrome110", "firefox115", "safari16.4"],
    charset: "utf8",
    // The package as users get it, and not its sources, to which this project's paths lead.
    alias: { "batchnorm-wasm": at("../dist/entry/inline.js") },
    tsconfigRaw: "{}",
    logLevel: "warning",
  });
  cpSync(at("page/index.html"), `${out}/index.html`);
  const styles = ["node_modules/uplot/dist/uPlot.min.css", "page/style.css"];
  const css = styles.map((path) => readFileSync(at(path), "utf8")).join("\n");
  writeFileSync(`${out}/lab.css`, css);
  const names = ["index.html", "lab.css", "lab.js", "worker.js"];
  const files = Object.fromEntries(
    names.map((name) => [name, gzipSync(readFileSync(`${out}/${name}`), { level: 9 }).length]),
  );
  const digits = gunzipSync(readFileSync(at("../examples/data/digits.csv.gz")));
  writeFileSync(`${out}/digits.csv`, digits);
  const total = Object.values(files).reduce((sum, size) => sum + size, 0);
  if (total > BUDGET) {
    throw new Error(`the lab is ${total} bytes gzipped, over its budget of ${BUDGET}`);
  }
  return { files, total };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { files, total } = await buildLab();
  const parts = Object.entries(files).map(([name, size]) => `${name} ${size}`);
  console.log(`target/lab: ${parts.join(", ")}; ${total} of ${BUDGET} bytes gzipped`);
}
