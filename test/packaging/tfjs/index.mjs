/**
 * The packed package under TensorFlow.js: in Node, in whatever order it is imported, and in Chromium as a
 * minified bundle and beside tfjs's published scripts, with cross-origin isolation and without.
 */
import {
  appendFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { findCommand } from "../../../scripts/find-command.mjs";
import { reusable } from "../browsers/launch.mjs";
import { collect, serve } from "../browsers/servers.mjs";
import { temporaryFolder } from "../pack.mjs";
import { cell, skipped } from "../results.mjs";
import { run } from "../runtimes/child.mjs";

const modules = fileURLToPath(new URL("../../tfjs/node_modules", import.meta.url));
const wasm = join(modules, "@tensorflow/tfjs-backend-wasm/dist");
const example = fileURLToPath(new URL("../../../examples/tfjs", import.meta.url));
const here = (/** @type {string} */ path) => fileURLToPath(new URL(path, import.meta.url));

const isolation = {
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Embedder-Policy": "require-corp",
};

const BACKEND = `
  import { setThreadsCount, setWasmPaths } from "@tensorflow/tfjs-backend-wasm";`;
const START = `setWasmPaths(${JSON.stringify(`${wasm}/`)}); setThreadsCount(1);`;
const PRINT = `console.log(JSON.stringify(await run(tf, ours)));`;

const PAGES = ["minified bundle", "scripts", "examples/tfjs"];

/** Programs for Node, by what they show. */
const PROGRAMS = {
  "imported last": `import * as tf from "@tensorflow/tfjs"; ${BACKEND}
    import * as ours from "batchnorm-wasm/tfjs"; import { run } from "./tfjs-program.mjs"; ${START} ${PRINT}`,
  "imported first": `import * as ours from "batchnorm-wasm/tfjs"; ${BACKEND}
    import * as tf from "@tensorflow/tfjs"; import { run } from "./tfjs-program.mjs"; ${START} ${PRINT}`,
  "layers and backends after a start": `import * as ours from "batchnorm-wasm/tfjs";
    import { run } from "./tfjs-program.mjs";
    await import("@tensorflow/tfjs-backend-cpu");
    const core = await import("@tensorflow/tfjs-core");
    core.zeros([1]).dataSync();
    const tf = await import("@tensorflow/tfjs");
    const { setThreadsCount, setWasmPaths } = await import("@tensorflow/tfjs-backend-wasm"); ${START}
    ${PRINT}`,
  "require()": `const ours = require("batchnorm-wasm/tfjs"); const tf = require("@tensorflow/tfjs");
    const { setThreadsCount, setWasmPaths } = require("@tensorflow/tfjs-backend-wasm"); ${START}
    import("./tfjs-program.mjs").then(async ({ run }) => { ${PRINT} });`,
};

/**
 * @param {string} consumer folder with the packed package, as `install` makes it
 * @returns {AsyncGenerator<import("../results.mjs").Result>}
 */
export async function* testTfjs(consumer) {
  const suite = /** @type {const} */ ("runtimes");
  const name = "tfjs";
  const checks = [
    ...[...Object.keys(PROGRAMS), "examples/tfjs"].map((check) => `Node: ${check}`),
    ...PAGES.flatMap((check) => [`Chromium: ${check}`, `Chromium: ${check}, isolated`]),
  ];
  if (!existsSync(modules)) {
    for (const check of checks)
      yield skipped({ suite, name, version: "", check }, "test/tfjs/node_modules");
    return;
  }
  const { default: manifest } = await import(join(modules, "@tensorflow/tfjs/package.json"), {
    with: { type: "json" },
  });
  const { version } = manifest;
  const folder = consumerOf(consumer);
  try {
    for (const [check, code] of Object.entries(PROGRAMS)) {
      const file = `${check.replaceAll(/\W+/g, "-")}.${check === "require()" ? "cjs" : "mjs"}`;
      writeFileSync(join(folder, file), code);
      yield cell({ suite, name, version, check: `Node: ${check}` }, async () => {
        // tfjs greets on standard error.
        const { stdout } = await run([process.execPath, file], { cwd: folder });
        return JSON.parse(stdout.trim().split("\n").at(-1) ?? "");
      });
    }
    cpSync(example, join(folder, "example"), { recursive: true });
    yield cell({ suite, name, version, check: "Node: examples/tfjs" }, async () => {
      const { stdout } = await run([process.execPath, "index.js"], {
        cwd: join(folder, "example"),
      });
      return { checks: [checkExample(stdout)] };
    });
    yield* testPages(folder, { suite, name, version });
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Its three lines, the last better than the one before. @param {string} shown */
function checkExample(shown) {
  const [first = 0, before = 0, after = 0] = [...shown.matchAll(/(\d+) %/g)].map(([, digits]) =>
    Number(digits),
  );
  const holds = first > 90 && before < 80 && after > 95;
  const name = "accuracies";
  return holds
    ? { name, status: /** @type {const} */ ("passed") }
    : { name, status: /** @type {const} */ ("failed"), reason: `it shows ${shown}` };
}

/** A folder with the package, tfjs and the program. @param {string} consumer */
function consumerOf(consumer) {
  const folder = temporaryFolder();
  cpSync(
    join(consumer, "node_modules/batchnorm-wasm"),
    join(folder, "node_modules/batchnorm-wasm"),
    {
      recursive: true,
    },
  );
  symlinkSync(join(modules, "@tensorflow"), join(folder, "node_modules/@tensorflow"), "junction");
  cpSync(here("program.mjs"), join(folder, "tfjs-program.mjs"));
  return folder;
}

/**
 * @param {string} folder
 * @param {Pick<import("../results.mjs").Result, "suite" | "name" | "version">} about
 * @returns {AsyncGenerator<import("../results.mjs").Result>}
 */
async function* testPages(folder, about) {
  const site = await makeSite(folder);
  const servers = { "": await serve(site), ", isolated": await serve(site, isolation) };
  const collector = await collect();
  const browser = reusable("Chromium");
  try {
    for (const page of PAGES) {
      for (const [how, { origin }] of Object.entries(servers)) {
        const check = `Chromium: ${page}${how}`;
        if (!findCommand("chromium")) {
          yield skipped({ ...about, check }, "chromium");
          continue;
        }
        yield await cell({ ...about, check }, () =>
          browser.use(async (browser) => {
            const address = `${origin}/${page.replaceAll(" ", "-")}${page.includes("/") ? "/" : ".html"}`;
            const found = await collector.ask(browser, address);
            if (found.isolated !== (how !== "")) {
              throw new Error(`crossOriginIsolated is ${found.isolated}`);
            }
            return found.shown === undefined ? found : { checks: [checkExample(found.shown)] };
          }),
        );
      }
    }
  } finally {
    await browser.close();
    for (const server of [...Object.values(servers), collector]) server.close();
    rmSync(site, { recursive: true });
  }
}

/** Pages, the bundle, and tfjs's scripts. @param {string} folder */
async function makeSite(folder) {
  const site = temporaryFolder();
  const report = `
    import { report } from "./report.js";
    import { run } from "./tfjs-program.mjs";`;
  const start = `setWasmPaths("/wasm/"); setThreadsCount(1);`;
  const send = `await report(async () => ({ ...(await run(tf, ours)), isolated: crossOriginIsolated }));`;
  cpSync(here("../browsers/site/report.js"), join(site, "report.js"));
  cpSync(join(site, "report.js"), join(folder, "report.js"));
  cpSync(join(folder, "tfjs-program.mjs"), join(site, "tfjs-program.mjs"));
  cpSync(join(folder, "node_modules/batchnorm-wasm"), join(site, "batchnorm-wasm"), {
    recursive: true,
  });
  mkdirSync(join(site, "wasm"));
  for (const kind of ["", "-simd", "-threaded-simd"]) {
    const file = `tfjs-backend-wasm${kind}.wasm`;
    cpSync(join(wasm, file), join(site, "wasm", file));
  }
  cpSync(join(modules, "@tensorflow/tfjs/dist/tf.min.js"), join(site, "tf.min.js"));
  cpSync(join(wasm, "tf-backend-wasm.min.js"), join(site, "tf-backend-wasm.min.js"));
  await build({
    stdin: {
      contents: `import * as tf from "@tensorflow/tfjs"; ${BACKEND}
        import * as ours from "batchnorm-wasm/tfjs"; ${report} ${start} ${send}`,
      resolveDir: folder,
      loader: "js",
    },
    outfile: join(site, "bundle.js"),
    ...{ bundle: true, minify: true, format: "esm", logLevel: "error" },
    // What is linked has its packages beside it, and these are the program's.
    preserveSymlinks: false,
  });
  const page = (/** @type {string} */ body) => `<!doctype html><title>tfjs</title>${body}\n`;
  writeFileSync(
    join(site, "minified-bundle.html"),
    page(`<script type="module" src="./bundle.js"></script>`),
  );
  // tfjs is a global; and there is no bundler, so that nothing else finds it.
  const install = "./batchnorm-wasm/dist/entry/tfjs-install.js";
  writeFileSync(
    join(site, "scripts.html"),
    page(`<script src="./tf.min.js"></script><script src="./tf-backend-wasm.min.js"></script>
<script type="module">
  import * as ours from "${install}";${report}
  ours.install(tf);
  const { setThreadsCount, setWasmPaths } = tf.wasm; ${start} ${send}
</script>`),
  );
  // The example, with the files that it names, and what reports what it shows.
  const shown = join(site, "examples/tfjs");
  cpSync(example, shown, { recursive: true });
  const packages = join(shown, "node_modules");
  cpSync(join(folder, "node_modules/batchnorm-wasm"), join(packages, "batchnorm-wasm"), {
    recursive: true,
  });
  for (const name of ["tfjs/dist/tf.min.js", "tfjs-backend-wasm/dist/tf-backend-wasm.min.js"]) {
    cpSync(join(modules, "@tensorflow", name), join(packages, "@tensorflow", name));
  }
  cpSync(join(site, "wasm"), join(packages, "@tensorflow/tfjs-backend-wasm/dist"), {
    recursive: true,
  });
  appendFileSync(
    join(shown, "index.html"),
    `<script type="module">
  import { report } from "../../report.js";
  await report(async () => {
    const { textContent: begun } = document.querySelector("output");
    while (document.querySelector("output").textContent === begun) {
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    return { shown: document.querySelector("pre").textContent, isolated: crossOriginIsolated };
  });
</script>`,
  );
  return site;
}
