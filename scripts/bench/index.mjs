/** Batch norm against everyone else, in Node: `npm run bench -- --help`. */
import { CONTESTANTS } from "./contestants/index.mjs";
import { NATIVE_CONTESTANTS, NODE_CONTESTANTS } from "./contestants/node.mjs";
import { ensureInstalled } from "./install.mjs";
import { gzipOf, nodeHost } from "./machine.mjs";
import { readOptions } from "./options.mjs";
import { makePlan } from "./plan.mjs";
import { measure, startAll } from "./runner.mjs";
import { makeSession } from "./session.mjs";

const options = readOptions();
ensureInstalled();

const host = nodeHost(options);
const files = [...CONTESTANTS, ...NODE_CONTESTANTS, ...(options.native ? NATIVE_CONTESTANTS : [])];
const contestants = await Promise.all(files.map(async (load) => (await load()).default));
const plan = makePlan(options, contestants);
const { cells, effort, wanted } = plan;
const entrants = await startAll(contestants, host);
const session = makeSession(plan, {
  command: ["npm run bench --", ...process.argv.slice(2)].join(" "),
  versions: {
    node: process.versions.node,
    v8: process.versions.v8,
    "batchnorm-wasm": host.version,
  },
  avx2: options.avx2,
  kernelGzip: gzipOf(host.kernel),
  json: options.json,
});
let index = 0;
for await (const records of measure(cells, entrants, {
  host,
  effort,
  wanted,
  onProgress: session.running,
})) {
  session.finished(index++, records);
}
for (const { started } of entrants) await started?.close?.();
session.end();
if (!options.native) console.log("not asked for: PyTorch, torch.compile, JAX (--native)");
