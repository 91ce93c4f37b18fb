/** Calls of every norm on random tensors, by seeds: the same on any kernel. */
import {
  BatchNorm,
  batchNormInference,
  batchNormStatistics,
  GroupNorm,
  groupNorm,
  groupNormBackward,
  type Kernel,
  LayerNorm,
  layerNorm,
  layerNormBackward,
  type Parameter,
  RMSNorm,
  rmsNorm,
  rmsNormBackward,
  type SampleNorm,
  scope,
  Tensor,
} from "batchnorm-wasm";
import { Random } from "../../scripts/random.mjs";

/** What a program leaves: the bits of each result. */
export type Bits = Record<string, Uint32Array | BigUint64Array>;

const bitsOf = (values: { buffer: ArrayBufferLike }) =>
  new Uint32Array(values.buffer as ArrayBuffer);

/** A shape of so many elements at most, with many, few or one of anything. */
export function shapeOf(random: Random, most: number): number[] {
  const rank = 2 + random.below(3);
  const shape = Array.from({ length: rank }, () => 1 + random.below(random.pick([1, 4, 40, 600])));
  const size = () => shape.reduce((a, b) => a * b, 1);
  while (size() > most) {
    const largest = shape.indexOf(Math.max(...shape));
    shape[largest] = Math.ceil((shape[largest] as number) / 2);
  }
  // Some axis takes what is left, so that most shapes are large enough to be cut.
  const axis = random.below(rank);
  shape[axis] = (shape[axis] as number) * (1 + random.below(Math.floor(most / size())));
  return shape;
}

/** A tensor of some values; one in four lies within a larger one. */
function tensor(kernel: Kernel, shape: readonly number[], seed: number, padded: boolean): Tensor {
  const random = new Random(seed);
  let x: Tensor;
  if (padded) {
    const axis = random.below(shape.length);
    const size = shape[axis] as number;
    const whole = shape.map((size, i) => (i === axis ? size + 3 : size));
    x = Tensor.zeros(whole, { kernel }).slice(axis, 1, 1 + size);
  } else {
    x = Tensor.zeros(shape, { kernel });
  }
  const values = new Float32Array(x.size);
  // Sums of these round at each addition; far from 0 in one tensor of three.
  const far = random.pick([0, 0, 1000]);
  let state = seed | 1;
  for (let i = 0; i < values.length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    values[i] = far + state / 2 ** 30;
  }
  x.set(values);
  return x;
}

/** Runs the program of a seed; `most` elements a tensor. */
export function run(seed: number, kernel: Kernel, most: number): Bits {
  const random = new Random(seed);
  const shape = shapeOf(random, most);
  const axis = random.below(shape.length);
  const channels = shape[axis] as number;
  const bits: Bits = {};
  const keep = (name: string, one: Tensor | null | undefined) => {
    if (one) bits[name] = bitsOf(one.toFloat32Array());
  };
  const keepGradients = (layer: { parameters(): Parameter[] }) => {
    for (const [i, { grad }] of layer.parameters().entries()) keep(`gradient ${i}`, grad);
  };
  scope(() => {
    /** A layer's step, as each has one. */
    const goThrough = (layer: SampleNorm) => {
      layer.forward(x, { out: y });
      layer.backward(dy, { out: dx });
      keep("layer", dx);
      keepGradients(layer);
      layer.dispose();
    };
    const is = () => random.oneIn(4);
    const x = tensor(kernel, shape, seed, is());
    const dy = tensor(kernel, shape, seed + 1, is());
    const y = tensor(kernel, shape, 5, is());
    const dx = tensor(kernel, shape, 6, is());
    const vector = (length: number, seed: number) => tensor(kernel, [length], seed, false);
    const parameters = random.oneIn(2)
      ? { weight: vector(channels, 7), bias: vector(channels, 8) }
      : {};
    switch (random.below(6)) {
      case 0: {
        const [mean, variance] = [vector(channels, 9), vector(channels, 10)];
        variance.set(variance.toFloat32Array().map(Math.abs));
        batchNormInference(x, { axis, mean, variance, out: y, ...parameters });
        keep("y", y);
        const statistics = batchNormStatistics(x, { axis });
        bits.mean = new BigUint64Array(statistics.mean.slice().buffer as ArrayBuffer);
        bits.variance = new BigUint64Array(statistics.variance.slice().buffer as ArrayBuffer);
        break;
      }
      case 1: {
        if (shape.length < 2 || axis === 0) break;
        const divisors = [1, 2, 4, channels].filter((groups) => channels % groups === 0);
        const numGroups = random.pick(divisors);
        const { y: out, saved } = groupNorm(x, { axis, numGroups, out: y, saved: true });
        keep("y", out);
        const gradients = groupNormBackward(dy, { saved, out: dx });
        keep("dx", gradients.dx);
        goThrough(new GroupNorm(numGroups, channels, { axis, kernel }));
        break;
      }
      case 2: {
        const axes = shape.length - 1;
        const { y: out, saved } = layerNorm(x, { axes, out: y, saved: true });
        keep("y", out);
        keep("dx", layerNormBackward(dy, { saved, out: dx }).dx);
        goThrough(new LayerNorm(shape[axes] as number, { kernel }));
        break;
      }
      case 3: {
        // Rows along one axis, which may lie apart.
        const { y: out, saved } = rmsNorm(x, { axes: [axis], out: y, saved: true });
        keep("y", out);
        keep("dx", rmsNormBackward(dy, { saved, out: dx }).dx);
        goThrough(new RMSNorm(shape.at(-1) as number, { kernel }));
        break;
      }
      default: {
        const variant = random.below(5);
        const bn = new BatchNorm(channels, {
          axis,
          kernel,
          preset: "keras",
          ...(variant === 0 && { activation: random.pick(["relu", "leaky-relu"] as const) }),
          ...(variant === 1 && { renorm: { rMax: 3, dMax: 5 } }),
          ...(variant === 2 && axis > 0 && { virtualBatchSize: 1 + random.below(3) }),
        });
        const weights = variant === 3 ? masked(shape, axis, random) : null;
        const residual = variant === 4 ? { residual: dy } : {};
        const mask = weights && { mask: tensor0(kernel, weights, shape, axis) };
        for (let step = 0; step < 2; step++) {
          bn.train().forward(x, { out: y, ...mask, ...residual });
          keep(`y ${step}`, y);
          bn.backward(dy, { out: dx });
          keep(`dx ${step}`, dx);
        }
        keepGradients(bn);
        keep("mean", bn.runningMean);
        keep("variance", bn.runningVar);
        bn.eval().forward(x, { out: y });
        keep("inference", y);
        bn.dispose();
      }
    }
  });
  return bits;
}

/** A mask of the positions of a shape. */
function masked(shape: readonly number[], axis: number, random: Random): Float32Array {
  const positions = shape.reduce((a, b, i) => (i === axis ? a : a * b), 1);
  return Float32Array.from({ length: positions }, (_, i) => (i === 0 || !random.oneIn(3) ? 1 : 0));
}

function tensor0(
  kernel: Kernel,
  values: Float32Array,
  shape: readonly number[],
  axis: number,
): Tensor {
  const sizes = shape.filter((_, i) => i !== axis);
  return Tensor.from(values, sizes, { kernel });
}

/** Which of the results differ. */
export function differences(got: Bits, want: Bits): string[] {
  const names = new Set([...Object.keys(got), ...Object.keys(want)]);
  return [...names].filter((name) => {
    const [a, b] = [got[name], want[name]];
    return !(a && b && a.length === b.length && a.every((value, i) => value === b[i]));
  });
}
