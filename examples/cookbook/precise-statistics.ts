/**
 * Precise batch norm: after a training whose weights have moved, running statistics are an average of
 * what they were on the way. `preciseBatchNorm` takes them anew over the data set, as the exact moments of
 * all of it (Wu & Johnson 2021, arXiv:2105.07576).
 *
 *     npx tsx examples/cookbook/precise-statistics.ts
 */
import assert from "node:assert/strict";
import { BatchNorm, Moments, preciseBatchNorm, Tensor } from "batchnorm-wasm";

const [BATCHES, BATCH, CHANNELS] = [20, 32, 8];

/** The data set, batch by batch: they drift. */
function* batches(): Generator<Tensor> {
  for (let batch = 0; batch < BATCHES; batch++) {
    const x = Tensor.zeros([BATCH, CHANNELS]);
    x.set(Float32Array.from({ length: x.size }, (_, i) => batch / 4 + Math.sin(i * i + batch)));
    yield x;
    x.dispose();
  }
}

const bn = new BatchNorm(CHANNELS);
for (const x of batches()) bn.train().forward(x).dispose();
const averaged = bn.runningVar?.toFloat32Array()[0] as number;

await preciseBatchNorm([bn], batches(), (x) => bn.forward(x).dispose(), {
  onProgress: ({ batches }) => {
    if (batches % 10 === 0) console.log(`${batches} of ${BATCHES} batches`);
  },
});
const precise = bn.runningVar?.toFloat32Array()[0] as number;

const all = Moments.merge(Array.from(batches(), (x) => Moments.of(x)));
console.log(`running variance: averaged ${averaged.toFixed(3)}, precise ${precise.toFixed(3)}`);
assert.ok(Math.abs(precise / (all.unbiasedVariance[0] as number) - 1) < 1e-6);
assert.ok(Math.abs(averaged / precise - 1) > 0.5);
