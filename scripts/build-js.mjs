/** Transpiles ts/ to dist/, file by file, and puts the kernel beside it. */
import { cpSync, readdirSync, rmSync } from "node:fs";
import { build } from "esbuild";

const sources = readdirSync("ts", { recursive: true, encoding: "utf8" })
  .filter((path) => path.endsWith(".ts") && !path.endsWith(".d.ts"))
  .map((path) => `ts/${path}`);

rmSync("dist", { recursive: true, force: true });
await build({
  entryPoints: sources,
  outbase: "ts",
  outdir: "dist",
  format: "esm",
  target: "es2022",
  sourcemap: true,
});
// The types, too: tsc takes declaration files for input only.
for (const name of ["kernel.wasm", "kernel.d.ts"]) {
  cpSync(`ts/generated/${name}`, `dist/generated/${name}`);
}
console.log(`dist: ${sources.length} modules and the kernel`);
