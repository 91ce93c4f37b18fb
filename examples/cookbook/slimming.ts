/**
 * Network slimming: a penalty on |γ| while training drives the channels that matter little towards
 * zero, and then they go (Liu et al. 2017, arXiv:1708.06519). Here a layer of eight channels learns a
 * function of three of them.
 *
 *     npx tsx examples/cookbook/slimming.ts
 */
import assert from "node:assert/strict";
import { addScaleL1, BatchNorm, pruneByScale, scope, Tensor } from "batchnorm-wasm";

const [SAMPLES, CHANNELS, STEPS, RATE, PENALTY] = [128, 8, 400, 0.1, 0.02];
const MATTERS = [1, 4, 6];
const data = Float32Array.from({ length: SAMPLES * CHANNELS }, (_, i) => Math.sin(i * i * 1.3));
const x = Tensor.from(data, [SAMPLES, CHANNELS]);

const bn = new BatchNorm(CHANNELS);
for (let step = 0; step < STEPS; step++) {
  scope(() => {
    bn.zeroGrad();
    const y = bn.train().forward(x);
    // The loss is the mean of (Σ over channels − Σ over those that matter)²/2, of normalized inputs.
    const dy = y.toFloat32Array();
    for (let n = 0; n < SAMPLES; n++) {
      const row = dy.subarray(n * CHANNELS, (n + 1) * CHANNELS);
      const gamma = bn.weight?.toFloat32Array() as Float32Array;
      const sum = row.reduce((all, value) => all + value, 0);
      const target = MATTERS.reduce((all, c) => all + (row[c] as number) / (gamma[c] || 1), 0);
      row.fill((sum - target) / SAMPLES);
    }
    bn.backward(Tensor.from(dy, x.shape));
    addScaleL1([bn], PENALTY);
    const [weight, grad] = [bn.weight as Tensor, bn.weight?.grad as Tensor];
    const step = grad.toFloat32Array();
    weight.set(weight.toFloat32Array().map((value, c) => value - RATE * (step[c] as number)));
  });
}
const [pruned] = pruneByScale([bn], 5 / 8);
assert.ok(pruned);
const scales = Array.from(bn.weight?.toFloat32Array() ?? [], (value) => value.toFixed(2));
console.log(`γ after training: ${scales.join(" ")}`);
console.log(`channels that stay: ${pruned.kept.join(", ")}`);
assert.deepEqual(pruned.kept, MATTERS);

const small = new BatchNorm(pruned.kept.length).eval();
small.loadStateDict(pruned.stateDict);
assert.equal(small.numFeatures, 3);
