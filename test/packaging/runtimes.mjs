/** `npm run test:runtimes`: the packed package in real runtimes. */
import { rmSync } from "node:fs";
import { dirname } from "node:path";
import { testBrowsers } from "./browsers/index.mjs";
import { install, pack } from "./pack.mjs";
import { report } from "./results.mjs";
import { testCommands } from "./runtimes/commands.mjs";
import { testEdgeRuntime } from "./runtimes/edge-runtime.mjs";
import { testJsdom } from "./runtimes/jsdom.mjs";
import { testWorkerd } from "./runtimes/workerd.mjs";
import { testTfjs } from "./tfjs/index.mjs";

const tarball = pack();
const consumer = install(tarball);
try {
  await report("runtimes", all());
} finally {
  for (const folder of [dirname(tarball), consumer]) rmSync(folder, { recursive: true });
}

async function* all() {
  yield* testCommands(consumer);
  yield* testWorkerd(consumer);
  yield* testEdgeRuntime(consumer);
  yield* testJsdom(consumer);
  yield* testTfjs(consumer);
  yield* testBrowsers(consumer);
}
