/** What the tests of calls share: tensors, and typed errors. The package's public API alone. */
import {
  BatchNorm,
  BatchNormError,
  type BatchNormErrorCode,
  type BatchNormSaved,
  defaultKernel,
  type Kernel,
  Tensor,
} from "batchnorm-wasm";
import { expect } from "vitest";

export { kernelBytes } from "../scripts/kernel/under-test.mjs";

/** What TypeScript would not let pass. */
export const wrong = (value: unknown) => value as never;

export const values = (tensor: Tensor) => [...tensor.toFloat32Array()];

/** What is to stay as it was. */
export type Watched = Tensor | BatchNorm | BatchNormSaved;

/** What of these a call that fails must leave as it was, and the live memory of their kernels. */
export function snapshot(watched: readonly Watched[]) {
  const kernels = new Set<Kernel>([defaultKernel()]);
  const ofTensor = (tensor: Tensor | null) => {
    if (tensor) kernels.add(tensor.kernel);
    return (
      tensor && {
        version: tensor.storage.version,
        values: tensor.disposed ? null : tensor.toFloat32Array(),
      }
    );
  };
  const state = watched.map((one) => {
    if (one instanceof Tensor) return ofTensor(one);
    if (!(one instanceof BatchNorm)) {
      return one.disposed || { x: one.x, weight: one.weight, mean: one.mean, var: one.variance };
    }
    const { training, numFeatures, numBatchesTracked, statistics, updateRunningStats } = one;
    const parameters = [one.weight, one.bias].map((p) => [ofTensor(p), ofTensor(p?.grad ?? null)]);
    const running = [ofTensor(one.runningMean), ofTensor(one.runningVar)];
    const switches = { training, statistics, updateRunningStats, requiresGrad: one.requiresGrad };
    return { numFeatures, numBatchesTracked, ...switches, parameters, running };
  });
  const memory = [...kernels].map((kernel) => {
    const { liveBytes, liveStorages } = kernel.memoryUsage();
    return { liveBytes, liveStorages };
  });
  return { state, memory };
}

/** Codes that {@link expectError} has met. */
export const seen = new Set<BatchNormErrorCode>();

/**
 * Expects a call to throw the typed error, with all the words in its message, and to leave
 * all that is watched and the live memory as it was.
 */
export function expectError(
  code: BatchNormErrorCode | RegExp,
  words: readonly string[],
  call: () => unknown,
  watched: readonly Watched[] = [],
): BatchNormError {
  const before = snapshot(watched);
  let error: unknown;
  try {
    call();
  } catch (thrown) {
    error = thrown;
  }
  expect(error).toBeInstanceOf(BatchNormError);
  const typed = error as BatchNormError;
  const expected = typeof code === "string" ? code : expect.stringMatching(code);
  expect([typed.name, typed.code], typed.message).toEqual(["BatchNormError", expected]);
  for (const word of words) expect(typed.message).toContain(word);
  expect(snapshot(watched), "nothing is written before an error is thrown").toEqual(before);
  seen.add(typed.code);
  return typed;
}

/** first, first + 1, … in a shape. */
export function counting(shape: number[], first = 1, kernel = defaultKernel()): Tensor {
  const size = shape.reduce((product, size) => product * size, 1);
  const data = Array.from({ length: size }, (_, i) => first + i);
  return Tensor.from(data, shape, { kernel });
}

/**
 * Disposes a tensor, and gives another that has its memory now, so that a write to what
 * was disposed shows. Sizes that are no multiple of 16 may leave a gap that is too small.
 */
export function replaced(tensor: Tensor, first = 100): Tensor {
  const { address, shape, kernel } = tensor;
  tensor.dispose();
  const successor = counting([...shape], first, kernel);
  expect(successor.address, "has the memory that was given back").toBe(address);
  return successor;
}
