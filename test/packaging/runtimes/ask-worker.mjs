/**
 * Serves a folder that wrangler bundled, sends it requests, and prints the answers. In a
 * process of its own, for miniflare needs a newer Node than the package.
 *
 *     node ask-worker.mjs folder requests.json
 */
import { readFileSync } from "node:fs";
import { Miniflare } from "miniflare";

const [modulesRoot = "", requests = ""] = process.argv.slice(2);
const worker = new Miniflare({
  ...{ modules: true, modulesRoot, scriptPath: `${modulesRoot}/index.js` },
  ...{ modulesRules: [{ type: "CompiledWasm", include: ["**/*.wasm"] }] },
  compatibilityDate: "2026-07-01",
});
try {
  const answers = [];
  for (const { body, ...init } of JSON.parse(readFileSync(requests, "utf8"))) {
    const request = body === undefined ? init : { ...init, body: Buffer.from(body, "base64") };
    const response = await worker.dispatchFetch("http://localhost/", request);
    const bytes = Buffer.from(await response.arrayBuffer());
    answers.push({ status: response.status, body: bytes.toString("base64") });
  }
  console.log(JSON.stringify(answers));
} finally {
  await worker.dispose();
}
