/** Vercel's edge runtime, as its npm package `edge-runtime`. */
import { cpSync, existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { cell, skipped } from "../results.mjs";
import { runForJson } from "./child.mjs";
import { exchange } from "./service.mjs";
import { exchanges } from "./vercel-example.mjs";

const here = (/** @type {string} */ path) => fileURLToPath(new URL(path, import.meta.url));
const manifest = here("../node_modules/edge-runtime/package.json");
const askEdge = here("ask-edge.mjs");
const example = here("../../../examples/vercel-edge");

const program = `import { refusesBytes } from "./refuse-bytes.mjs";
import { main } from "./main.mjs";
export default async () => Response.json({ ...(await main()), refuses: refusesBytes() });`;

const threadsProgram = `import { refusesBytes } from "./refuse-bytes.mjs";
import * as ordinary from "batchnorm-wasm"; import * as threaded from "batchnorm-wasm/threads";
import * as weights from "batchnorm-wasm/weights";
import golden from "./golden.mjs"; import { runThreads } from "./threads.mjs";
export default async () => {
  const found = await runThreads(ordinary, threaded, weights, golden, "no workers");
  return Response.json({ ...found, refuses: refusesBytes() });
};`;

/** Functions by check; each answers the program's results. */
const functions = { "import, bytes refused": program, "threads, bytes refused": threadsProgram };

/**
 * @param {string} consumer
 * @returns {AsyncGenerator<import("../results.mjs").Result>}
 */
export async function* testEdgeRuntime(consumer) {
  const [suite, name] = [/** @type {const} */ ("runtimes"), "edge-runtime"];
  const version = existsSync(manifest) ? JSON.parse(readFileSync(manifest, "utf8")).version : "";
  const head = { suite, name, version };
  const ours = "examples/vercel-edge";
  if (!version) {
    for (const check of [...Object.keys(functions), ours])
      yield skipped({ ...head, check }, manifest);
    return;
  }
  for (const [check, code] of Object.entries(functions)) {
    yield cell({ ...head, check }, async () => {
      writeFileSync(join(consumer, "edge.mjs"), code);
      const [{ body }] = await ask(consumer, "edge.mjs", [{}]);
      const found = JSON.parse(Buffer.from(body, "base64").toString());
      if (!found.refuses) throw new Error("bytes were compiled: nothing is shown");
      return found;
    });
  }
  yield cell({ ...head, check: ours }, () => {
    cpSync(example, join(consumer, "vercel-edge"), { recursive: true });
    return exchange(
      (requests) => ask(consumer, "vercel-edge/api/normalize.js", requests),
      exchanges,
    );
  });
}

/** @param {string} consumer @param {string} entry @param {import("./service.mjs").Request[]} requests */
async function ask(consumer, entry, requests) {
  const list = join(consumer, "requests.json");
  writeFileSync(list, JSON.stringify(requests));
  return runForJson([process.execPath, askEdge, entry, list], { cwd: consumer });
}
