/**
 * Ghost batches: a batch of 256 on one machine, normalized as eight devices with 32 samples each
 * would do it. Large batches lose the noise of small ones, which is part of what makes batch norm
 * generalize (Hoffer et al. 2017, arXiv:1705.08741).
 *
 *     npx tsx examples/cookbook/ghost-batches.ts
 */
import assert from "node:assert/strict";
import { BatchNorm, scope, Tensor } from "batchnorm-wasm";

const [BATCH, DEVICE, CHANNELS] = [256, 32, 16];
const x = Tensor.zeros([BATCH, CHANNELS]);
x.set(Float32Array.from({ length: x.size }, (_, i) => Math.sin(i * i) + (i % CHANNELS)));

const bn = new BatchNorm(CHANNELS, { virtualBatchSize: DEVICE });
const y = bn.train().forward(x);
const means = bn.saved?.mean as Float64Array; // of each slice's channels
const first = Float64Array.from(
  { length: BATCH / DEVICE },
  (_, k) => means[k * CHANNELS] as number,
);
console.log(`means of channel 0 in ${first.length} slices:`, Array.from(first, round).join(" "));
console.log(`${bn.numBatchesTracked} slices moved the running statistics`);

// The same as device after device, to the bit.
const device = new BatchNorm(CHANNELS);
scope(() => {
  for (let from = 0; from < BATCH; from += DEVICE) {
    const own = device.forward(x.slice(0, from, from + DEVICE));
    assert.deepEqual(y.slice(0, from, from + DEVICE).toFloat32Array(), own.toFloat32Array());
  }
});
assert.deepEqual(bn.stateDict(), device.stateDict());

// In evaluation there are no slices: the running statistics normalize.
assert.equal(bn.eval().forward(x).shape[0], BATCH);

function round(value: number): number {
  return Math.round(value * 1000) / 1000;
}
