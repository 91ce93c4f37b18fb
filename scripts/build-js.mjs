/**
 * Bundles ts/ to dist/: one file an entry, and one that all of them share, for every
 * file more costs a loader time. The kernel stands in an entry as text, or beside it.
 */
import { cpSync, readFileSync, rmSync } from "node:fs";
import { join, relative } from "node:path";
import { build } from "esbuild";
import { kernelText } from "./kernel-text.mjs";

// The floor of engines: esbuild keeps to their syntax, the type check to their methods
// (tsconfig.build.json), README and `no-simd` name them.
const ENGINES = ["node18", "chrome91", "firefox90", "safari16.4"];
const ENTRIES = [
  ...["inline", "workerd", "edge-light", "slim", "slim-node", "weights"],
  ...["tfjs", "tfjs-install"],
];
/** Copies of the package with a default kernel of their own: they share nothing with the others. */
const THREADS = ["threads", "threads-workerd", "threads-edge-light"];

/** @type {import("esbuild").Plugin} */
const kernel = {
  name: "kernel",
  setup({ onResolve, onLoad }) {
    // Modules, what is the program's own, and entries that others are laid around: slim, tfjs.
    const outside = /\.wasm(\?module)?$|^\.\/(slim|tfjs-install)\.js$|^node:|^@tensorflow\//;
    onResolve({ filter: outside }, ({ path }) => ({ path, external: true }));
    // By its name, so that tests have their own.
    onResolve({ filter: /^batchnorm-wasm$/ }, () => ({
      path: "./inline.js",
      external: true,
      sideEffects: true,
    }));
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

/**
 * Docstrings stay out of the JavaScript, where esbuild leaves those inside of classes: they are
 * in the declarations. What maps point to keeps its line.
 *
 * @type {import("esbuild").Plugin}
 */
const docstrings = {
  name: "docstrings",
  setup({ onLoad }) {
    onLoad({ filter: /\.ts$/ }, ({ path }) => ({
      contents: readFileSync(path, "utf8").replace(/^ *\/\*\*[\s\S]*?\*\/$/gm, (text) =>
        text.replace(/.+/g, ""),
      ),
      loader: "ts",
    }));
  },
};

rmSync("dist", { recursive: true, force: true });
/** @type {import("esbuild").BuildOptions & { metafile: true }} */
const how = {
  outbase: "ts",
  outdir: "dist",
  bundle: true,
  format: "esm",
  target: ENGINES,
  minifySyntax: true,
  charset: "utf8",
  sourcemap: true,
  sourcesContent: false,
  metafile: true,
  plugins: [kernel, docstrings],
};
const entries = (/** @type {string[]} */ names) => names.map((name) => `ts/entry/${name}.ts`);
const made = await Promise.all([
  build({ ...how, entryPoints: entries(ENTRIES), splitting: true, chunkNames: "shared" }),
  build({ ...how, entryPoints: entries(THREADS) }),
]);
// A declaration, too: tsc takes it for input only.
for (const path of ["generated/kernel.wasm", "entry/module.d.ts"]) {
  cpSync(`ts/${path}`, `dist/${path}`);
}
const outputs = made
  .flatMap(({ metafile }) => Object.keys(metafile.outputs))
  .filter((path) => path.endsWith(".js"));
console.log(`dist: ${outputs.join(", ")} and the kernel`);
