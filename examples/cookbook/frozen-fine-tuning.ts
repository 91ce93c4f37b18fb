/**
 * Fine-tuning with frozen batch norm, as detectors have it: batches of one or two pictures have no
 * statistics worth having, so that the layer normalizes by the running ones that came with the
 * weights, in training too. γ and β are trained, or stay as well.
 *
 *     npx tsx examples/cookbook/frozen-fine-tuning.ts
 */
import assert from "node:assert/strict";
import { BatchNorm, Tensor } from "batchnorm-wasm";

const [BATCH, CHANNELS, PIXELS] = [2, 3, 16];
const bn = new BatchNorm(CHANNELS);
bn.loadStateDict({
  weight: [1, 2, 0.5],
  bias: [0, 1, -1],
  running_mean: [0.5, -0.2, 3],
  running_var: [1, 4, 0.25],
  num_batches_tracked: 1000,
});

bn.statistics = "running"; // normalizes by these, and `updateRunningStats: "auto"` leaves them
const wave = Float32Array.from({ length: BATCH * CHANNELS * PIXELS }, (_, i) => Math.sin(i * i));
const x = Tensor.from(wave, [BATCH, CHANNELS, PIXELS]);
const trained = bn.train().forward(x).toFloat32Array();
const dx = bn.backward(x);

assert.deepEqual(trained, bn.eval().forward(x).toFloat32Array());
assert.deepEqual([...(bn.runningMean?.toFloat32Array() ?? [])], [0.5, -0.2, 3].map(Math.fround));
assert.ok(bn.weight?.grad);
console.log(`training is what evaluation is; dγ is ${bn.weight.grad.toFloat32Array()}`);

// Statistics are constants to the gradient: dx is dy·γ/σ, nothing of the other samples.
const slope = 2 / Math.sqrt(4 + 1e-5);
assert.ok(Math.abs((dx.data[PIXELS] as number) - slope * (x.data[PIXELS] as number)) < 1e-6);

// All of the layer frozen: gradients pass through it, and it gets none.
bn.requiresGrad = false;
bn.weight.grad = null;
bn.train().forward(x);
bn.backward(x);
assert.equal(bn.weight.grad, null);
console.log("with requiresGrad = false the layer's own parameters get none");
