/**
 * A dense block (Huang et al. 2017, arXiv:1608.06993): every layer, BN → ReLU → convolution, sees
 * the channels of all layers before it. They lie in one tensor, to which each adds some: a layer
 * normalizes a range of its channels where they are, without a copy, and activates them in the same
 * pass. Pre-activation ResNets are normalized so as well. (The convolutions are 1×1.)
 *
 *     npx tsx examples/cookbook/dense-block.ts
 */
import assert from "node:assert/strict";
import { BatchNorm, Tensor } from "batchnorm-wasm";

const [BATCH, INPUT, GROWTH, LAYERS, PIXELS] = [4, 6, 4, 3, 5 * 5];
const ALL = INPUT + LAYERS * GROWTH;
let seed = 1;

const layers = Array.from({ length: LAYERS }, (_, k) => {
  const channels = INPUT + k * GROWTH;
  return {
    channels,
    norm: new BatchNorm(channels, { activation: "relu" }),
    weights: uniform(GROWTH * channels),
  };
});
// All that the block has beside its layers: the channels, and of each layer what goes into its
// convolution, which the backward pass needs.
const features = Tensor.zeros([BATCH, ALL, PIXELS]);
const gradients = Tensor.zeros(features.shape);
const activated = layers.map(({ channels }) => Tensor.zeros([BATCH, channels, PIXELS]));
const channelsOf = (tensor: Tensor, from: number, to: number) => tensor.slice(1, from, to);

function forward(): Tensor {
  layers.forEach(({ norm, channels, weights }, k) => {
    const x = channelsOf(features, 0, channels);
    const a = norm.forward(x, { out: activated[k] as Tensor });
    channelsOf(features, channels, channels + GROWTH).set(convolve(a, weights, GROWTH));
  });
  return features;
}

/** From the gradient of all channels to that of the input, which is the first of them. */
function backward(): Tensor {
  for (let k = LAYERS - 1; k >= 0; k--) {
    const { norm, channels, weights } = layers[k] as (typeof layers)[number];
    const dy = channelsOf(gradients, channels, channels + GROWTH);
    const back = convolve(dy, transpose(weights, channels), channels);
    const through = Tensor.from(back, [BATCH, channels, PIXELS]);
    norm.backward(through, { out: through });
    // What comes from this layer is added to what has come from those behind it.
    const before = channelsOf(gradients, 0, channels);
    const own = through.data;
    before.set(before.toFloat32Array().map((value, i) => value + (own[i] as number)));
    through.dispose();
  }
  return channelsOf(gradients, 0, INPUT);
}

const x = channelsOf(features, 0, INPUT);
const input = uniform(x.size);
const direction = uniform(features.size);
x.set(input);
forward();
gradients.set(direction);
const dx = backward().toFloat32Array();

// The slope of Σ direction·features along dx: by the gradient, and by a step to either side.
const expected = dx.reduce((sum, value) => sum + value ** 2, 0);
const [above, below] = [1e-3, -1e-3].map((step) => {
  x.set(input.map((value, i) => value + step * (dx[i] as number)));
  const all = forward().toFloat32Array();
  return all.reduce((sum, value, i) => sum + value * (direction[i] as number), 0);
}) as [number, number];
const found = (above - below) / 2e-3;
console.log(`slope ${expected.toFixed(2)} by the gradient, ${found.toFixed(2)} by differences`);
assert.ok(Math.abs(found / expected - 1) < 0.02);

// The same as of copies, whose channels lie end to end.
const { channels, norm } = layers[LAYERS - 1] as (typeof layers)[number];
const values = channelsOf(features, 0, channels).toFloat32Array();
const copy = Tensor.from(values, [BATCH, channels, PIXELS]);
const ofCopy = norm.forward(copy).toFloat32Array();
assert.deepEqual((activated[LAYERS - 1] as Tensor).toFloat32Array(), ofCopy);
console.log(`${LAYERS} layers over ${ALL} channels of one tensor, the bits of copies`);

/** A 1×1 convolution to so many channels; `weights` are `[outputs, inputs]`. */
function convolve(x: Tensor, weights: Float32Array, outputs: number): Float32Array {
  const values = x.toFloat32Array();
  const inputs = x.shape[1] as number;
  return Float32Array.from({ length: BATCH * outputs * PIXELS }, (_, at) => {
    const [pixel, plane] = [at % PIXELS, Math.floor(at / PIXELS)];
    const [sample, o] = [Math.floor(plane / outputs), plane % outputs];
    let sum = 0;
    for (let i = 0; i < inputs; i++) {
      const value = values[(sample * inputs + i) * PIXELS + pixel] as number;
      sum += value * (weights[o * inputs + i] as number);
    }
    return sum;
  });
}

function transpose(weights: Float32Array, inputs: number): Float32Array {
  const at = (k: number) => (k % GROWTH) * inputs + Math.floor(k / GROWTH);
  return weights.map((_, k) => weights[at(k)] as number);
}

/** Numbers from −1 to 1, of a sequence that is always the same. */
function uniform(length: number): Float32Array {
  return Float32Array.from({ length }, () => {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    return seed / 2 ** 31 - 1;
  });
}
