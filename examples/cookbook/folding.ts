/**
 * Folding for deployment: a convolution with batch norm behind it becomes one convolution, of the same
 * outputs and half the passes over memory.
 *
 *     npx tsx examples/cookbook/folding.ts
 */
import assert from "node:assert/strict";
import { BatchNorm, foldBatchNorm, Tensor } from "batchnorm-wasm";

const [SAMPLES, IN, OUT, PIXELS] = [2, 3, 8, 16];
const wave = (length: number, step: number) =>
  Float32Array.from({ length }, (_, i) => Math.sin(step * i * i));

/** A convolution of 1×1 pixels, which is a matrix for each of them: x is [N, IN, P], y [N, OUT, P]. */
function conv(x: Float32Array, weight: Float32Array, bias: Float32Array): Float32Array {
  const y = new Float32Array(SAMPLES * OUT * PIXELS);
  for (let i = 0; i < y.length; i++) {
    const [n, out, pixel] = [
      Math.floor(i / (OUT * PIXELS)),
      Math.floor(i / PIXELS) % OUT,
      i % PIXELS,
    ];
    let sum = bias[out] as number;
    for (let k = 0; k < IN; k++) {
      sum += (weight[out * IN + k] as number) * (x[(n * IN + k) * PIXELS + pixel] as number);
    }
    y[i] = sum;
  }
  return y;
}

const x = wave(SAMPLES * IN * PIXELS, 0.7);
const [weight, bias] = [wave(OUT * IN, 0.3), wave(OUT, 1.1)];
const bn = new BatchNorm(OUT, { momentum: null });
bn.weight?.set(wave(OUT, 0.9).map((value) => 1 + 0.5 * value));
bn.train().forward(Tensor.from(conv(x, weight, bias), [SAMPLES, OUT, PIXELS])); // the training
bn.eval();

const two = bn.forward(Tensor.from(conv(x, weight, bias), [SAMPLES, OUT, PIXELS])).toFloat32Array();
const shape = [OUT, IN, 1]; // PyTorch's order of axes
const folded = foldBatchNorm(bn, { weight: { data: weight, shape }, bias });
const one = conv(x, folded.weight.data, folded.bias);

const off = Math.max(...one.map((value, i) => Math.abs(value - (two[i] as number))));
console.log(`one layer instead of two: outputs differ by ${off.toExponential(1)} at most`);
assert.ok(off < 1e-5);
