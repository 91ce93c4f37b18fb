/**
 * Health: why does a layer not learn? Of what the caller has of it, channel by channel, and in words.
 *
 *     npx tsx examples/cookbook/health.ts
 */
import assert from "node:assert/strict";
import { BatchNorm, health, Tensor } from "batchnorm-wasm";

const [SAMPLES, CHANNELS] = [64, 6];
const x = Tensor.zeros([SAMPLES, CHANNELS]);
x.set(Float32Array.from({ length: x.size }, (_, i) => (i % CHANNELS === 2 ? 7 : Math.sin(i * i))));

const bn = new BatchNorm(CHANNELS, { momentum: 0.001 });
bn.bias?.set([0, 0, 0, -9, 0, 0]); // behind a ReLU this one is never active
bn.runningMean?.set([0, 0, 0, 0, 50, 0]); // and this one comes from other data
const y = bn.train().forward(x);
const dy = Tensor.zeros(x.shape);
dy.set(Float32Array.from({ length: x.size }, (_, i) => Math.cos(i)));
const dx = bn.backward(dy);

const { channels, gradientRatio, findings } = health({ x, y, dy, dx, layer: bn });
for (const finding of findings) console.log(finding);
for (const { channel, std, distance, active } of channels) {
  const numbers = [std, distance, active].map((value) => value?.toFixed(2).padStart(6));
  console.log(
    `channel ${channel}: σ ${numbers[0]}, running mean off ${numbers[1]} σ, active ${numbers[2]}`,
  );
}
assert.equal(channels[2]?.dead, "constant input");
assert.equal(channels[3]?.dead, "never active");
assert.ok(findings.some((finding) => finding.includes("momentum is too slow")));
assert.ok(gradientRatio !== null && gradientRatio > 0.1);
