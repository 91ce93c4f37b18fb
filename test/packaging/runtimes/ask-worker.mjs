/**
 * Serves a folder that wrangler bundled, sends it requests, and prints the answers. In a
 * process of its own, for miniflare needs a newer Node than the package.
 *
 *     node ask-worker.mjs folder requests.json compatibility-date
 */
import { Miniflare } from "miniflare";
import { answerAll } from "./answer-all.mjs";

const [modulesRoot = "", requests = "", compatibilityDate = ""] = process.argv.slice(2);
const worker = new Miniflare({
  ...{ modules: true, modulesRoot, scriptPath: `${modulesRoot}/index.js` },
  ...{ modulesRules: [{ type: "CompiledWasm", include: ["**/*.wasm"] }] },
  compatibilityDate,
});
try {
  await answerAll(requests, (address, request) => worker.dispatchFetch(address, request));
} finally {
  await worker.dispose();
}
