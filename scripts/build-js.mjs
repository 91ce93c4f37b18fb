/**
 * Bundles ts/ to dist/: one file an entry, and one that all of them share, for every
 * file more costs a loader time. The kernel stands in an entry as text, or beside it.
 */
import { cpSync, rmSync } from "node:fs";
import { join, relative } from "node:path";
import { build } from "esbuild";
import { kernelText } from "./kernel-text.mjs";

const ENTRIES = ["inline", "workerd", "edge-light", "slim"];

/** @type {import("esbuild").Plugin} */
const kernel = {
  name: "kernel",
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /\.wasm(\?module)?$/ }, ({ path }) => ({ path, external: true }));
    onResolve({ filter: /\.wasm\?text$/ }, ({ path, resolveDir }) => ({
      path: relative(".", join(resolveDir, path.replace("?text", ""))),
      namespace: "text",
    }));
    onLoad({ filter: /./, namespace: "text" }, ({ path }) => ({
      contents: kernelText(path),
      loader: "text",
    }));
  },
};

rmSync("dist", { recursive: true, force: true });
const { metafile } = await build({
  entryPoints: ENTRIES.map((name) => `ts/entry/${name}.ts`),
  outbase: "ts",
  outdir: "dist",
  chunkNames: "shared",
  bundle: true,
  splitting: true,
  format: "esm",
  target: "es2022",
  charset: "utf8",
  sourcemap: true,
  sourcesContent: false,
  metafile: true,
  plugins: [kernel],
});
// Declarations, too: tsc takes them for input only.
for (const path of ["generated/kernel.wasm", "generated/kernel.d.ts", "entry/module.d.ts"]) {
  cpSync(`ts/${path}`, `dist/${path}`);
}
const outputs = Object.keys(metafile.outputs).filter((path) => path.endsWith(".js"));
console.log(`dist: ${outputs.join(", ")} and the kernel`);
