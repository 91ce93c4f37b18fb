/** TensorFlow.js with both backends, and what tests of it share. */
import { createRequire } from "node:module";
import { dirname } from "node:path";
import * as tf from "@tensorflow/tfjs";
import { setThreadsCount, setWasmPaths } from "@tensorflow/tfjs-backend-wasm";
import { BatchNormError, type InstallOptions, install } from "batchnorm-wasm/tfjs/install";
import { afterEach, beforeEach, expect } from "vitest";

const wasm = createRequire(import.meta.url).resolve("@tensorflow/tfjs-backend-wasm");
setWasmPaths(`${dirname(wasm)}/`);
setThreadsCount(1);

export const BACKENDS = ["wasm", "cpu"] as const;

export { tf };

/** Each test of a group has a backend with our kernels, and leaves tfjs without them. */
export function installedOn(backend: (typeof BACKENDS)[number]) {
  let undo: () => void;
  const kernels = {
    install(options?: InstallOptions) {
      undo = install(tf, options);
    },
    uninstall: () => undo(),
  };
  beforeEach(async () => {
    await tf.setBackend(backend);
    kernels.install();
  });
  afterEach(kernels.uninstall);
  return kernels;
}

type Numbers = ArrayLike<number>;

/** Numbers that look random, the same in each run: even over `scale` around `offset`. */
export function numbers(length: number, seed: number, scale = 1, offset = 0): Float32Array {
  let state = (seed + 1) * 2654435761;
  return Float32Array.from({ length }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    return offset + (scale * state) / 2 ** 31;
  });
}

/** How many numbers a shape has. */
export const sizeOf = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);

/** The largest distance of two arrays of the same length; NaN is near nothing. */
export function distance(a: Numbers, b: Numbers): number {
  expect(a.length).toBe(b.length);
  let most = 0;
  for (let i = 0; i < a.length; i++) {
    const one = Math.abs((a[i] as number) - (b[i] as number));
    if (!(one <= most)) most = one;
  }
  return most;
}

/**
 * Fails unless all numbers are near the truth: by so many roundings to float32 of the largest one.
 *
 * @param largest of what was summed up to them, if that is more than they are
 */
export function expectNear(actual: Numbers, truth: Numbers, roundings: number, largest = 0): void {
  const size = Array.from(truth, Math.abs).reduce((a, b) => Math.max(a, b), largest);
  expect(distance(actual, truth)).toBeLessThanOrEqual(roundings * 2 ** -24 * size);
}

/** The code of the error that a call throws; `undefined` if it throws none. */
export function codeOf(call: () => unknown): string | undefined {
  try {
    call();
  } catch (error) {
    if (error instanceof BatchNormError) return error.code;
    throw error;
  }
  return undefined;
}

/** `tf.batchNorm`, whose types know statistics of one axis or of all. */
export function batchNorm(
  x: tf.Tensor,
  mean: tf.Tensor,
  variance: tf.Tensor,
  offset?: tf.Tensor,
  scale?: tf.Tensor,
  epsilon?: number,
): tf.Tensor {
  const [m, v, o, s] = [mean, variance, offset, scale] as tf.Tensor1D[];
  return tf.batchNorm(x, m as tf.Tensor1D, v as tf.Tensor1D, o, s, epsilon);
}
