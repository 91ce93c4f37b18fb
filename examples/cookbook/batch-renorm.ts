/**
 * Batch renormalization: with batches of four, what training normalizes by and what inference
 * normalizes by are far apart, and a network learns for statistics that it will not meet. Renorm
 * trains by the running ones, as far as it may correct the batch's (Ioffe 2017, arXiv:1702.03275).
 *
 *     npx tsx examples/cookbook/batch-renorm.ts
 */
import assert from "node:assert/strict";
import { BatchNorm, renormSchedule, scope, Tensor } from "batchnorm-wasm";

const [BATCHES, BATCH, CHANNELS] = [2000, 4, 8];
const x = Tensor.zeros([BATCH, CHANNELS]);
let seed = 1;

/** The mean of |y in training − y in inference| over the last batches. */
function gap(bn: BatchNorm, limitsAt?: (batch: number) => { rMax: number; dMax: number }): number {
  let sum = 0;
  for (let batch = 0; batch < BATCHES; batch++) {
    x.set(Float32Array.from({ length: x.size }, (_, i) => 3 * normal() + (i % CHANNELS)));
    if (limitsAt) bn.renorm = limitsAt(batch);
    scope(() => {
      // As inference has it, before this batch moves the running statistics.
      const inferred = bn.forward(x, { training: false });
      const trained = bn.forward(x, { training: true });
      if (batch < BATCHES / 2) return;
      for (let i = 0; i < x.size; i++) {
        sum += Math.abs((trained.data[i] as number) - (inferred.data[i] as number));
      }
    });
  }
  return sum / (x.size * (BATCHES / 2));
}

const plain = gap(new BatchNorm(CHANNELS, { momentum: 0.01 }));
// The paper's schedule, for a training of two thousand batches instead of forty thousand.
const steps = { warmUp: 100, rMaxStep: 800, dMaxStep: 500 };
const renorm = gap(new BatchNorm(CHANNELS, { momentum: 0.01 }), (batch) =>
  renormSchedule(batch, steps),
);
console.log(`training and inference differ by ${plain.toFixed(3)} with batch norm`);
console.log(`                             and ${renorm.toFixed(3)} with renorm`);
assert.ok(plain > 0.2 && renorm < plain / 5);

/** A number that is distributed normally, of a sequence that is always the same. */
function normal(): number {
  return Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform());
}

function uniform(): number {
  seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
  return (seed + 1) / 2 ** 32;
}
