/**
 * Test-time adaptation: a camera whose pictures are darker and flatter than those that a network was
 * trained with. Blending the layer's statistics with the batch's brings its outputs back (Schneider et
 * al. 2020, arXiv:2006.16971).
 *
 *     npx tsx examples/cookbook/test-time-adaptation.ts
 */
import assert from "node:assert/strict";
import { adaptBatchNorm, BatchNorm, Tensor } from "batchnorm-wasm";

const [SAMPLES, CHANNELS] = [64, 4];
const data = Float32Array.from({ length: SAMPLES * CHANNELS }, (_, i) => 2 + Math.sin(i * i));
const clean = Tensor.from(data, [SAMPLES, CHANNELS]);
const dark = Tensor.from(
  data.map((value) => 0.3 * value - 1),
  [SAMPLES, CHANNELS],
);

const bn = new BatchNorm(CHANNELS, { momentum: null });
bn.train().forward(clean).dispose(); // the training
bn.eval();
const wanted = bn.forward(clean).toFloat32Array();

/** How far outputs are from those of clean pictures, on average. */
function off(y: Tensor): number {
  const values = y.toFloat32Array();
  return (
    values.reduce((sum, value, i) => sum + Math.abs(value - (wanted[i] as number)), 0) / y.size
  );
}

const errors: number[] = [off(bn.forward(dark))];
console.log(`as it was trained:             off by ${errors[0]?.toFixed(3)}`);
for (const sourceSamples of [256, 64, 16, 0]) {
  const adapted = adaptBatchNorm(bn, { sourceSamples });
  errors.push(off(adapted.forward(dark)));
  const name = `source counts as ${sourceSamples} samples:`;
  console.log(`${name.padEnd(30)} off by ${errors.at(-1)?.toFixed(3)}`);
}
assert.ok(errors.every((error, i) => i === 0 || error < (errors[i - 1] as number)));
