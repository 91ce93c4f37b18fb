/**
 * Federated rounds over worker threads: three clients whose data differ train batch norm by
 * themselves, and a server averages their state. Averaging running variances alone loses what clients
 * differ by; `averageStateDicts` keeps it.
 *
 *     npx tsx examples/cookbook/federated-rounds.ts
 */
import assert from "node:assert/strict";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import { averageStateDicts, BatchNorm, Moments, type SavedStateDict, Tensor } from "batchnorm-wasm";

interface Task {
  readonly client: number;
  readonly dict: SavedStateDict;
}

const [CHANNELS, ROUNDS] = [4, 3];
const SAMPLES = [256, 128, 512]; // of each client

/** What a client measures: around a mean of its own. */
function dataOf(client: number): Tensor {
  const samples = SAMPLES[client] as number;
  const x = Tensor.zeros([samples, CHANNELS]);
  x.set(
    Float32Array.from({ length: x.size }, (_, i) => 3 * client + Math.sin(i * i) * (1 + client)),
  );
  return x;
}

if (isMainThread) {
  let dict = new BatchNorm(CHANNELS).stateDict();
  for (let round = 0; round < ROUNDS; round++) {
    const dicts = await Promise.all(SAMPLES.map((_, client) => train({ client, dict })));
    dict = averageStateDicts(dicts, { counts: SAMPLES }) as SavedStateDict;
  }
  const all = Moments.merge(SAMPLES.map((_, client) => Moments.of(dataOf(client))));
  const running = (dict.running_var as Float32Array)[0] as number;
  const whole = all.unbiasedVariance[0] as number;
  console.log(`running variance after ${ROUNDS} rounds: ${running.toFixed(3)}`);
  console.log(`variance of all data on one machine:  ${whole.toFixed(3)}`);
  assert.ok(Math.abs(running / whole - 1) < 0.01);
} else {
  const { client, dict } = workerData as Task;
  // The average of all batches, and here of one: as precise as the client's data.
  const bn = new BatchNorm(CHANNELS, { momentum: null });
  bn.loadStateDict(dict);
  bn.resetRunningStats();
  bn.train().forward(dataOf(client));
  parentPort?.postMessage(bn.stateDict());
}

/** A client's state after a round, which it trains in a thread of its own. */
function train(task: Task): Promise<SavedStateDict> {
  // This file again, which is TypeScript; of JavaScript `new Worker(url, { workerData })` is all.
  const url = JSON.stringify(import.meta.url);
  const code = `import("tsx/esm/api").then(({ register }) => (register(), import(${url})));`;
  const worker = new Worker(code, { eval: true, workerData: task });
  return new Promise((resolve, reject) => {
    worker.once("message", resolve);
    worker.once("error", reject);
  });
}
