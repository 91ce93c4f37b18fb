/** What the page needs, from a server of its own: the bundle, the kernel, the rivals' wasm files. */
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { basename, extname } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const modules = new URL("../node_modules/", import.meta.url);

/** @type {{ [packageName: string]: string }} */
const ASSETS = { "@tensorflow/tfjs-backend-wasm": "wasm-out", "onnxruntime-web": "dist" };

/** @type {{ [extension: string]: string }} */
const TYPES = { ".mjs": "text/javascript", ".js": "text/javascript", ".wasm": "application/wasm" };

const HTML = `<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,">
<script type="module" src="/bundle/page.js"></script>`;

/** @param {Uint8Array} kernel @returns {Promise<{ url: string, close(): void }>} */
export async function serve(kernel) {
  const bundle = await makeBundle();
  const server = createServer((request, response) => {
    const { pathname } = new URL(request.url ?? "/", "http://localhost");
    const content = contentOf(pathname);
    response.writeHead(content === undefined ? 404 : 200, {
      "content-type": TYPES[extname(pathname)] ?? "text/html",
      // Isolated pages have a clock of 5 µs instead of 100.
      "cross-origin-opener-policy": "same-origin",
      "cross-origin-embedder-policy": "require-corp",
    });
    response.end(content);
  });

  /** @param {string} path */
  function contentOf(path) {
    if (path === "/") return HTML;
    if (path === "/kernel.wasm") return kernel;
    if (path.startsWith("/bundle/")) return bundle.get(basename(path));
    for (const [name, folder] of Object.entries(ASSETS)) {
      if (path.startsWith(`/assets/${name}/`)) {
        return readFileSync(new URL(`${name}/${folder}/${basename(path)}`, modules));
      }
    }
    return undefined;
  }

  await new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve(undefined)));
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("the server has no port");
  return { url: `http://127.0.0.1:${address.port}/`, close: () => server.close() };
}

async function makeBundle() {
  const { outputFiles } = await build({
    entryPoints: [fileURLToPath(new URL("page.mjs", import.meta.url))],
    outdir: "bundle",
    bundle: true,
    splitting: true,
    write: false,
    format: "esm",
    platform: "browser",
    target: "es2022",
    minifySyntax: true,
    logLevel: "error",
  });
  return new Map(outputFiles.map(({ path, contents }) => [basename(path), contents]));
}
