/**
 * Batch norm over worker threads that each have a part of the batch, 5, 3 and 0 samples: as if one
 * machine had all of it. Each tells the others moments, and in the backward pass two sums a channel.
 *
 *     npx tsx examples/cookbook/sync-batch-norm.ts
 */
import assert from "node:assert/strict";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import {
  addSums,
  type BackwardSums,
  batchNormBackward,
  batchNormTraining,
  Moments,
  type MomentsJSON,
  syncBatchNorm,
  Tensor,
} from "batchnorm-wasm";

const [SHARDS, CHANNELS] = [[5, 3, 0], 4];
const SAMPLES = SHARDS.reduce((all, n) => all + n, 0);
const wave = (step: number) =>
  Float32Array.from({ length: SAMPLES * CHANNELS }, (_, i) => 3 + Math.sin(step * i * i));
const [x, dy] = [wave(1.3), wave(0.7)];

/** What a worker has in the end. */
interface Result {
  readonly y: Float32Array;
  readonly dx: Float32Array;
  readonly sums: BackwardSums;
}

if (isMainThread) {
  const workers = SHARDS.map((_, rank) => start(rank));
  // All-reduce of moments, and then of sums: here through this thread.
  const parts = await Promise.all(workers.map((worker) => next<MomentsJSON>(worker)));
  const moments = Moments.merge(parts.map((part) => Moments.fromJSON(part)));
  for (const worker of workers) worker.postMessage(moments.toJSON());
  const sums = await Promise.all(workers.map((worker) => next<BackwardSums>(worker)));
  for (const worker of workers) worker.postMessage(addSums(sums));
  const results = await Promise.all(workers.map((worker) => next<Result>(worker)));

  const [all, gradient] = [x, dy].map((data) => Tensor.from(data, [SAMPLES, CHANNELS]));
  const one = batchNormTraining(all as Tensor);
  const back = batchNormBackward(gradient as Tensor, { saved: one.saved, weightGrad: null });
  const together = (of: (result: Result) => Float32Array) => results.flatMap((one) => [...of(one)]);
  const apart = (got: ArrayLike<number>, want: Tensor) =>
    Math.max(...want.toFloat32Array().map((value, i) => Math.abs(value - (got[i] as number))));
  const off = [
    apart(
      together(({ y }) => y),
      one.y,
    ),
    apart(
      together(({ dx }) => dx),
      back.dx,
    ),
  ];
  console.log(`from one machine's, y is off by ${off[0]?.toExponential(1)} at most,`);
  console.log(`                and dx by ${off[1]?.toExponential(1)}`);
  assert.ok(off.every((value) => value < 1e-6));
} else {
  const { rank } = workerData as { rank: number };
  const port = parentPort as NonNullable<typeof parentPort>;
  const from = SHARDS.slice(0, rank).reduce((all, n) => all + n, 0);
  const part = (data: Float32Array) =>
    Tensor.from(data, [SAMPLES, CHANNELS]).slice(0, from, from + (SHARDS[rank] as number));
  const [own, gradient] = [part(x), part(dy)];
  port.postMessage(Moments.of(own).toJSON());
  const moments = Moments.fromJSON(await received<MomentsJSON>(port));
  const pass = syncBatchNorm(own, { moments });
  const sums = pass.sums(gradient);
  port.postMessage(sums);
  const dx = pass.backward(gradient, await received<BackwardSums>(port));
  port.postMessage({ y: pass.y.toFloat32Array(), dx: dx.toFloat32Array(), sums });
  port.close();
}

function start(rank: number): Worker {
  // This file again, which is TypeScript; of JavaScript `new Worker(url, { workerData })` is all.
  const url = JSON.stringify(import.meta.url);
  const code = `import("tsx/esm/api").then(({ register }) => (register(), import(${url})));`;
  return new Worker(code, { eval: true, workerData: { rank } });
}

/** The next message of a worker. */
function next<T>(worker: Worker): Promise<T> {
  return new Promise((resolve, reject) => {
    worker.once("message", resolve);
    worker.once("error", reject);
  });
}

/** The next message of the main thread. */
function received<T>(port: NonNullable<typeof parentPort>): Promise<T> {
  return new Promise((resolve) => port.once("message", resolve));
}
