/**
 * Bundles a function as Vercel does (its edge runtime loads no modules, so wasm modules
 * come in as globals), serves it in `edge-runtime`, and prints the answers to requests.
 *
 *     node ask-edge.mjs function.mjs requests.json
 */
import { readFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { EdgeRuntime } from "edge-runtime";
import { build } from "esbuild";
import { answerAll } from "./answer-all.mjs";

const [entry = "", requests = ""] = process.argv.slice(2);

/** @type {Record<string, WebAssembly.Module>} */
const modules = {};
/** @type {import("esbuild").Plugin} */
const wasmModules = {
  name: "wasm-modules",
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /\.wasm\?module$/ }, ({ path, resolveDir }) => ({
      path: join(resolveDir, path.replace("?module", "")),
      namespace: "wasm-module",
    }));
    onLoad({ filter: /./, namespace: "wasm-module" }, ({ path }) => {
      const name = `wasm_${Object.keys(modules).length}`;
      modules[name] = new WebAssembly.Module(readFileSync(path));
      return { contents: `export default globalThis.${name};` };
    });
  },
};

const serve = `import handle from ${JSON.stringify(resolve(entry))};
addEventListener("fetch", (event) => event.respondWith(handle(event.request)));`;
const { outputFiles } = await build({
  stdin: { contents: serve, resolveDir: dirname(resolve(entry)) },
  ...{ bundle: true, write: false, format: "esm", target: "es2022", logLevel: "warning" },
  conditions: ["edge-light", "browser"],
  plugins: [wasmModules],
});
const runtime = new EdgeRuntime({
  initialCode: outputFiles[0]?.text ?? "",
  extend: (context) => Object.assign(context, modules),
});

await answerAll(requests, (address, request) => runtime.dispatchFetch(address, request));
