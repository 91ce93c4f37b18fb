/**
 * Chromium: how long a page waits for `import()` of a bundle that has run a program, in
 * a new context each time, so that nothing is cached.
 */
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { join } from "node:path";
import { build } from "esbuild";
import { findChromium } from "../../find-command.mjs";

const packaging = createRequire(new URL("../../../test/packaging/", import.meta.url));
const puppeteer = packaging("puppeteer-core").default;
const sirv = packaging("sirv");
const programs = ["bare", "empty", "import", "result", "tfjs", "onnxruntime"];

/** @param {string} folder */
export async function openChromium(folder) {
  await build({
    entryPoints: programs.map((program) => join(folder, `programs/${program}.mjs`)),
    ...{ bundle: true, minify: true, format: "esm", target: "es2022", logLevel: "error" },
    ...{ outdir: join(folder, "site"), conditions: ["onnxruntime-web-use-extern-wasm"] },
  });
  const server = serve(folder);
  const origin = await new Promise((resolve) => {
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      resolve(`http://127.0.0.1:${typeof address === "object" && address?.port}`);
    });
  });
  const browser = await puppeteer.launch({
    executablePath: findChromium(),
    args: process.getuid?.() === 0 ? ["--no-sandbox"] : [],
  });
  return {
    programs,
    async run(/** @type {string} */ program) {
      const context = await browser.createBrowserContext();
      const page = await context.newPage();
      await page.goto(origin);
      const time = await page.evaluate(async (/** @type {string} */ path) => {
        const start = performance.now();
        await import(path);
        return performance.now() - start;
      }, `/site/${program}.js`);
      await context.close();
      return time;
    },
    async close() {
      await browser.close();
      server.close();
    },
  };
}

/** The bundles and the rivals' files; isolated, for then clocks are exact to 5 µs. @param {string} folder */
function serve(folder) {
  const options = { dev: true, etag: false };
  const rivals = ["@tensorflow/tfjs-backend-wasm", "onnxruntime-web"];
  const files = sirv(folder, options);
  return createServer((request, response) => {
    response.setHeader("Cross-Origin-Opener-Policy", "same-origin");
    response.setHeader("Cross-Origin-Embedder-Policy", "require-corp");
    const rival = rivals.find((name) => request.url?.startsWith(`/${name}/`));
    if (rival) request.url = request.url?.replace(rival, `node_modules/${rival}/dist`);
    if (request.url === "/") response.setHeader("content-type", "text/html").end("<!doctype html>");
    else files(request, response);
  });
}
