/** The run inside the page. What it reports with is what `index.mjs` exposes. */
import { CONTESTANTS } from "../contestants/index.mjs";
import { makePlan } from "../plan.mjs";
import { measure, startAll } from "../runner.mjs";

/** @param {Parameters<typeof makePlan>[0] & { threads: number, version: string, threadsVersion: string }} options */
globalThis.runBenchmark = async ({ version, threadsVersion, ...options }) => {
  const { benchStarts, benchRuns, benchFinished, gc } = globalThis;
  const response = await fetch("/kernel.wasm");
  /** @type {import("../contestant.d.ts").Host} */
  const host = {
    runtime: "browser",
    kernel: new Uint8Array(await response.arrayBuffer()),
    version,
    threadsVersion,
    threads: options.threads,
    assets: (name) => `/assets/${name}/`,
    collectGarbage: gc,
  };
  const contestants = await Promise.all(CONTESTANTS.map(async (load) => (await load()).default));
  const { cells, effort, wanted, names, times, threads } = makePlan(options, contestants);
  await benchStarts({ cells, names, times, threads });
  const entrants = await startAll(contestants, host);
  // Not awaited: the answer would come in the middle of what is timed.
  let shown = -1;
  const onProgress = (_, index) => {
    if (index > shown) benchRuns(index);
    shown = index;
  };
  let index = 0;
  for await (const records of measure(cells, entrants, { host, effort, wanted, onProgress })) {
    await benchFinished(index++, records);
  }
};
