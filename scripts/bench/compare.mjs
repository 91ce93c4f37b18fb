/**
 * `npm run bench:compare -- PATH`: this build against that of another checkout, in rounds
 * that alternate, as ratios of times within a round: below 1 this one is faster.
 *
 *     git worktree add ../before main && (cd ../before && npm ci && npm run build:js)
 *     npm run bench:compare -- ../before [--full] [--filter REGEX]
 *
 * KERNEL_WASM=path is the kernel of this build alone; PATH is `.` where only kernels differ.
 */
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { kernelBytes } from "../kernel/under-test.mjs";
import { label } from "./cells.mjs";
import { prepare } from "./contestants/ours.mjs";
import { makeData } from "./data.mjs";
import { table } from "./format.mjs";
import { makePlan } from "./plan.mjs";
import { runRounds, warmUp } from "./rounds.mjs";
import { quartiles, ratios } from "./statistics.mjs";

const { values, positionals } = parseArgs({
  options: {
    default: { type: "boolean", default: false },
    full: { type: "boolean", default: false },
    filter: { type: "string", default: "" },
  },
  allowPositionals: true,
});
const [other] = positionals;
if (other === undefined || positionals.length > 1) {
  throw new Error("which other checkout? npm run bench:compare -- PATH");
}

const builds = [
  await load(other, readFileSync(join(other, "dist/generated/kernel.wasm"))),
  await load(".", kernelBytes),
];
const set = values.full ? "full" : values.default ? "default" : "quick";
const ours = /** @type {any} */ ({ kind: "ours", name: "batchnorm-wasm" });
const { cells } = makePlan({ set, filter: values.filter }, [ours]);
const effort = { slice: 3, warmup: 80, budget: 400, fewest: 8, most: 100, longest: 2000 };

const rows = [];
for (const [index, cell] of cells.entries()) {
  process.stderr.write(`\r${index + 1} of ${cells.length}  ${label(cell).padEnd(70)}`);
  const data = makeData(cell);
  const runners = builds.map(({ library, module }, build) => ({
    name: build === 0 ? "other" : "this",
    always: true,
    prepared: prepare(library, module, cell, data),
    slices: /** @type {import("./rounds.mjs").Slice[]} */ ([]),
    times: new Map(),
  }));
  for (const runner of runners) {
    runner.slices.push({ calls: 1, ms: await runner.prepared.run(1) });
    await warmUp(runner, effort);
  }
  await runRounds(runners, effort, 0, () => {});
  const [before, now] = runners.map(({ times }) => times);
  if (!before || !now) throw new Error("two builds are compared");
  const { p25, median, p75 } = quartiles(ratios(now, before));
  const us = (/** @type {Map<number, number>} */ times) =>
    (quartiles(times.values()).median * 1000).toPrecision(3);
  const figures = [median, p25, p75].map((ratio) => ratio.toFixed(3));
  rows.push([label(cell), us(before), us(now), ...figures]);
  for (const { prepared } of runners) prepared.dispose();
}
process.stderr.write("\r".padEnd(90));
console.log(`\r${table(["cell", "other, µs", "this, µs", "ratio", "p25", "p75"], rows)}`);

/** @param {string} checkout @param {Uint8Array<ArrayBuffer>} kernel */
async function load(checkout, kernel) {
  const entry = pathToFileURL(resolve(checkout, "dist/entry/slim.js"));
  return { library: await import(entry.href), module: await WebAssembly.compile(kernel) };
}
