/**
 * `npm run bench:threads`: quickly, without rivals (`npm run bench -- --threads N` has those): the ordinary entry beside the one with threads, in rounds that alternate.
 * Of each cell the median of the rounds' ratios, time alone by time shared: above 1 threads win.
 *
 *   -- --threads N      how many; default 2
 *   -- --filter REGEX   only what matches in "operation [shape] axis"
 *   -- --rounds N       default 15
 *   -- --sleepy         the threads sleep before each call, as in a program that does other things
 *   -- --json FILE      every figure
 */
import { writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { geometricMean, quantileSorted } from "simple-statistics";
import * as ordinary from "../../dist/entry/inline.js";
import * as threaded from "../../dist/entry/threads.js";
import { readyThreads } from "./contestants/ready-threads.mjs";

const { values } = parseArgs({
  options: {
    threads: { type: "string", default: "2" },
    filter: { type: "string", default: "" },
    rounds: { type: "string", default: "15" },
    sleepy: { type: "boolean", default: false },
    json: { type: "string" },
  },
});
const [number, rounds] = [Number(values.threads), Number(values.rounds)];

/** From 4 KB to 100 MB; with the channel axis. @type {[number[], number][]} */
const SHAPES = [
  [[16, 64], 1],
  [[128, 128], 1],
  [[4, 32, 28, 28], 1],
  [[256, 256], 1],
  [[8, 64, 28, 28], 1],
  [[8, 28, 28, 64], 3],
  [[256, 1024], 1],
  [[1, 64, 112, 112], 1],
  [[16, 64, 28, 28], 1],
  [[16, 28, 28, 64], 3],
  [[4096, 256], 1],
  [[32, 3, 128, 128], 1],
  [[32, 64, 56, 56], 1],
  [[32, 56, 56, 64], 3],
  [[32, 64, 112, 112], 1],
];

/** Milliseconds of measuring a round and cell, at least. */
const LEAST = 2;

/** @typedef {{ operation: string, shape: number[], axis: number, alone: number, shared: number, gain: number }} Cell */

await readyThreads(threaded, number);
console.log(JSON.stringify(threaded.threads()));
/** @type {Cell[]} */
const cells = [];
for (const [shape, axis] of SHAPES) {
  const entries = /** @type {const} */ ([ordinary, threaded]).map((library) => {
    const { BatchNorm, GroupNorm, LayerNorm, Tensor } = library;
    const size = shape.reduce((a, b) => a * b, 1);
    const [x, dy, y, dx] = Array.from({ length: 4 }, () => Tensor.zeros(shape));
    if (!x || !dy || !y || !dx) throw new Error("four tensors");
    x.set(Float32Array.from({ length: size }, () => Math.random()));
    dy.set(Float32Array.from({ length: size }, () => Math.random()));
    const channels = /** @type {number} */ (shape[axis]);
    const batch = new BatchNorm(channels, { axis, preset: "torch" });
    const layer = new LayerNorm(/** @type {number} */ (shape.at(-1)));
    const group = channels % 8 === 0 ? new GroupNorm(8, channels, { axis }) : null;
    batch.train().forward(x, { out: y });
    /** @type {Record<string, (() => unknown) | undefined>} */
    const calls = {
      inference: () => batch.eval().forward(x, { out: y }),
      training: () => batch.train().forward(x, { out: y }),
      backward: () => batch.backward(dy, { out: dx }),
      group: group && shape.length > 2 ? () => group.forward(x, { out: y }) : undefined,
      "group backward":
        group && shape.length > 2 ? () => group.backward(dy, { out: dx }) : undefined,
      layer: () => layer.forward(x, { out: y }),
      "layer backward": () => layer.backward(dy, { out: dx }),
    };
    return { calls, dispose: () => [x, dy, y, dx].forEach((tensor) => void tensor.dispose()) };
  });
  for (const operation of Object.keys(entries[0]?.calls ?? {})) {
    const name = `${operation} [${shape}] ${axis}`;
    const pair = entries.map(({ calls }) => calls[operation]);
    if (!pair[0] || !pair[1] || !new RegExp(values.filter).test(name)) continue;
    const [alone = [], shared = []] = await measure([pair[0], pair[1]]);
    const gains = alone.map((ms, i) => ms / /** @type {number} */ (shared[i]));
    const cell = { operation, shape, axis, alone: median(alone), shared: median(shared) };
    cells.push({ ...cell, gain: median(gains) });
    const us = (/** @type {number} */ ms) => (ms * 1000).toFixed(1).padStart(9);
    // Where others use the processors, too, the fastest rounds tell most.
    const best = Math.min(...alone) / Math.min(...shared);
    console.log(
      `${name.padEnd(34)}${us(cell.alone)} µs${us(cell.shared)} µs   ${median(gains).toFixed(2)}  ` +
        `(${quantile(gains, 0.1).toFixed(2)} to ${quantile(gains, 0.9).toFixed(2)}), ` +
        `fastest rounds ${best.toFixed(2)}`,
    );
  }
  for (const { dispose } of entries) dispose();
}
const large = cells.filter(({ shape }) => shape.reduce((a, b) => a * b, 4) >= 2 ** 20);
if (large.length > 0) {
  const mean = geometricMean(large.map(({ gain }) => gain));
  console.log(`geometric mean from 1 MB: ${mean.toFixed(2)}`);
}
if (values.json) writeFileSync(values.json, `${JSON.stringify(cells, null, 1)}\n`);
threaded.shutdown();

/** ms a call of each, round by round. @param {[() => unknown, () => unknown]} calls */
async function measure(calls) {
  /** @type {number[][]} */
  const times = [[], []];
  const counts = calls.map((call) => {
    for (let i = 0; i < 3; i++) call();
    const start = performance.now();
    call();
    return Math.max(1, Math.ceil(LEAST / (performance.now() - start)));
  });
  for (let round = 0; round < rounds; round++) {
    for (const [i, call] of calls.entries()) {
      const count = values.sleepy ? 1 : /** @type {number} */ (counts[i]);
      if (values.sleepy) await new Promise((resolve) => setTimeout(resolve, 2));
      // What was asleep is awake then, as within a program's step.
      else call();
      const start = performance.now();
      for (let n = 0; n < count; n++) call();
      times[i]?.push((performance.now() - start) / count);
    }
  }
  return times;
}

/** @param {number[]} all @param {number} share */
function quantile(all, share) {
  return quantileSorted(
    all.toSorted((a, b) => a - b),
    share,
  );
}

/** @param {number[]} all */
function median(all) {
  return quantile(all, 0.5);
}
