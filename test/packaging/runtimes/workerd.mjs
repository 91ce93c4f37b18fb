/** Cloudflare's runtime: bundled by wrangler with its defaults, run by miniflare. */
import { cpSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { cell, skipped } from "../results.mjs";
import { run, runForJson } from "./child.mjs";
import { exchanges } from "./cloudflare-example.mjs";
import { newerNode } from "./commands.mjs";
import { exchange } from "./service.mjs";

const here = (/** @type {string} */ path) => fileURLToPath(new URL(path, import.meta.url));
const wrangler = here("../node_modules/wrangler/bin/wrangler.js");
const askWorker = here("ask-worker.mjs");
const workerd = here("../node_modules/workerd/package.json");
const example = here("../../../examples/cloudflare-worker");

const answer = `export default {
  fetch: async () =>
    Response.json({ ...(await runWhole(library, weights, golden)), refuses: refusesBytes() }),
};`;

const program = `import { refusesBytes } from "../refuse-bytes.mjs";
  import * as weights from "batchnorm-wasm/weights";
  import * as library from "batchnorm-wasm";
  import golden from "../golden.mjs"; import { runWhole } from "../program.mjs"; ${answer}`;

const slimProgram = `import { refusesBytes } from "../refuse-bytes.mjs";
  import * as weights from "batchnorm-wasm/weights";
  import module from "batchnorm-wasm/kernel.wasm";
  import * as library from "batchnorm-wasm/slim";
  import golden from "../golden.mjs"; import { runWhole } from "../program.mjs";
  library.initSync(module); ${answer}`;

const threadsProgram = `import { refusesBytes } from "../refuse-bytes.mjs";
  import * as ordinary from "batchnorm-wasm"; import * as threaded from "batchnorm-wasm/threads";
  import * as weights from "batchnorm-wasm/weights";
  import golden from "../golden.mjs"; import { runThreads } from "../threads.mjs";
  export default {
    async fetch() {
      const found = await runThreads(ordinary, threaded, weights, golden, "no workers");
      return Response.json({ ...found, refuses: refusesBytes() });
    },
  };`;

const TODAY = "2026-07-01";
/** Workers keep the globals of their date: these have no FinalizationRegistry. */
const OLD = "2022-01-01";

/** Workers by check; each answers the program's results. */
const workers = {
  "import, bytes refused": { code: program, date: TODAY },
  "threads, bytes refused": { code: threadsProgram, date: TODAY },
  "slim, initSync(module), bytes refused": { code: slimProgram, date: TODAY },
  [`import, bytes refused, compatibility date ${OLD}`]: { code: program, date: OLD },
};

/**
 * @param {string} consumer
 * @returns {AsyncGenerator<import("../results.mjs").Result>}
 */
export async function* testWorkerd(consumer) {
  const [suite, name] = [/** @type {const} */ ("runtimes"), "workerd"];
  const missing = [wrangler, workerd, newerNode].find((path) => !existsSync(path));
  const version = missing ? "" : JSON.parse(readFileSync(workerd, "utf8")).version;
  const checks = [...Object.keys(workers), "examples/cloudflare-worker"];
  if (missing) {
    for (const check of checks) yield skipped({ suite, name, version, check }, missing);
    return;
  }
  for (const [i, [check, { code, date }]] of Object.entries(workers).entries()) {
    yield cell({ suite, name, version, check }, async () => {
      const folder = join(consumer, `workerd-${i}`);
      mkdirSync(folder);
      writeFileSync(join(folder, "index.js"), code);
      const config = `name = "checks"\nmain = "index.js"\ncompatibility_date = "${date}"\n`;
      writeFileSync(join(folder, "wrangler.toml"), config);
      const [{ body }] = await ask(await bundle(folder), [{}], date);
      const text = Buffer.from(body, "base64").toString();
      if (!text.startsWith("{")) throw new Error(text.slice(0, 500));
      const found = JSON.parse(text);
      if (!found.refuses) throw new Error("bytes were compiled: nothing is shown");
      return found;
    });
  }
  yield cell({ suite, name, version, check: "examples/cloudflare-worker" }, async () => {
    const folder = join(consumer, "cloudflare-worker");
    cpSync(example, folder, { recursive: true });
    const bundled = await bundle(folder);
    return exchange((requests) => ask(bundled, requests, TODAY), exchanges);
  });
}

/** What `wrangler deploy` would upload. @param {string} folder */
async function bundle(folder) {
  const env = { CI: "1", WRANGLER_SEND_METRICS: "false", XDG_CONFIG_HOME: folder };
  await run([newerNode, wrangler, "deploy", "--dry-run", "--outdir", "out"], { cwd: folder, env });
  return join(folder, "out");
}

/** @param {string} bundled @param {import("./service.mjs").Request[]} requests @param {string} date */
async function ask(bundled, requests, date) {
  const list = join(bundled, "requests.json");
  writeFileSync(list, JSON.stringify(requests));
  return runForJson([newerNode, askWorker, bundled, list, date], { cwd: bundled });
}
