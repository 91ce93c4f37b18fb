/** `tf.batchNorm` and its gradients of random shapes that broadcast, against float64. */
import { normalizationMemory } from "batchnorm-wasm/tfjs/install";
import { describe, expect, test } from "vitest";
import { BACKENDS, batchNorm, expectNear, installedOn, numbers, sizeOf, tf } from "./tfjs.js";

const CASES = 300;
const NAMES = ["mean", "variance", "offset", "scale"] as const;
type Name = (typeof NAMES)[number];

/** A case that is the same in each run. */
function caseOf(seed: number) {
  const numbersOf = numbers(64, seed, 0.5, 0.5);
  let next = 0;
  const below = (end: number) => Math.min(end - 1, Math.floor((numbersOf[next++] as number) * end));
  const rank = 1 + below(5);
  // Often the same sizes, which say nothing of the axis, and 1; seldom nothing at all.
  const sizes = [
    [1, 2, 3, 4, 5],
    [3, 3, 1],
    [0, 2, 3, 3, 4],
  ][below(3)] as number[];
  const shape = Array.from({ length: rank }, () => sizes[below(sizes.length)] as number);
  const some = () => shape.map((size) => (below(2) === 0 ? size : 1));
  const axis = below(rank);
  const ofAxis = shape.map((size, i) => (i === axis ? size : 1));
  const one = [ofAxis, ofAxis.slice(axis), some()][below(3)] as number[];
  const isMixed = below(3) === 0 && one.length === rank;
  const shapes = Object.fromEntries(NAMES.map((name) => [name, isMixed ? some() : one]));
  const epsilon = [1e-3, 0, -0.25][below(3)] as number;
  return { shape, shapes: shapes as { [name in Name]: number[] }, epsilon };
}

/** Which element of what broadcasts there is for each of a shape. */
function elementsOf(shape: number[], one: number[]): number[] {
  return Array.from({ length: sizeOf(shape) }, (_, i) => {
    let rest = i;
    let step = 1;
    let element = 0;
    for (let axis = shape.length, k = one.length; axis-- > 0 && k-- > 0; ) {
      const size = shape[axis] as number;
      if (one[k] !== 1) element += (rest % size) * step;
      rest = Math.floor(rest / size);
      step *= one[k] as number;
    }
    return element;
  });
}

describe.each(BACKENDS)("on %s", (backend) => {
  installedOn(backend);

  const check = (seed: number) => {
    const { shape, shapes, epsilon } = caseOf(seed);
    const length = sizeOf(shape);
    const [x, dy] = [numbers(length, seed + 1, 3, 1), numbers(length, seed + 2)];
    const arrays = {} as { [name in Name]: Float32Array };
    const at = {} as { [name in Name]: number[] };
    const sums = {} as { [name in Name]: Float64Array };
    NAMES.forEach((name, k) => {
      const count = sizeOf(shapes[name]);
      arrays[name] = numbers(count, seed + 3 + k, 1, name === "variance" ? 2 : 0.5);
      at[name] = elementsOf(shape, shapes[name]);
      sums[name] = new Float64Array(count);
    });
    const [y, dx] = [new Float64Array(length), new Float64Array(length)];
    for (let i = 0; i < length; i++) {
      const [mean, variance, offset, scale] = NAMES.map(
        (name) => arrays[name][at[name][i] as number] as number,
      ) as [number, number, number, number];
      const r = 1 / Math.sqrt(variance + epsilon);
      const normalized = ((x[i] as number) - mean) * r;
      const gradient = dy[i] as number;
      y[i] = normalized * scale + offset;
      dx[i] = gradient * r * scale;
      const parts = [-gradient * r * scale, -0.5 * gradient * scale * normalized * r * r];
      [...parts, gradient, gradient * normalized].forEach((part, k) => {
        const name = NAMES[k] as Name;
        const element = at[name][i] as number;
        sums[name][element] = (sums[name][element] as number) + part;
      });
    }
    const tensors = [tf.tensor(x, shape)];
    for (const name of NAMES) tensors.push(tf.tensor(arrays[name], shapes[name]));
    const f = (...all: tf.Tensor[]) => {
      const [x, mean, variance, offset, scale] = all as [tf.Tensor, tf.Tensor, ...tf.Tensor[]];
      return batchNorm(x, mean, variance as tf.Tensor, offset, scale, epsilon);
    };
    const { value, grads } = tf.valueAndGrads(f)(tensors, tf.tensor(dy, shape));
    // Numbers up to 10 come to it, and fall out again.
    expectNear(value.dataSync(), y, 4, 10);
    expectNear((grads[0] as tf.Tensor).dataSync(), dx, 8, 1);
    NAMES.forEach((name, k) => {
      const gradient = grads[k + 1] as tf.Tensor;
      expect(gradient.shape).toEqual(shapes[name]);
      expectNear(gradient.dataSync(), sums[name], 8, 10 * length);
    });
  };

  test(`${CASES} cases are right, and leave nothing behind`, () => {
    const before = tf.memory().numTensors;
    for (let seed = 0; seed < CASES; seed++) {
      try {
        tf.tidy(() => check(7 * seed));
      } catch (error) {
        throw new Error(`case ${seed}: ${JSON.stringify(caseOf(7 * seed))}`, { cause: error });
      }
    }
    expect(tf.memory().numTensors).toBe(before);
    expect(normalizationMemory()).toMatchObject({ liveBytes: 2 ** 20, liveStorages: 1 });
  });
});
