/** What the tests of calls share: tensors, and typed errors. The package's public API alone. */
import {
  BatchNorm,
  BatchNormError,
  type BatchNormErrorCode,
  batchNormTraining,
  defaultKernel,
  memoryUsage,
  Tensor,
} from "batchnorm-wasm";
import { expect } from "vitest";

export { kernelBytes } from "../scripts/kernel/under-test.mjs";

/** What TypeScript would not let pass. */
export const wrong = (value: unknown) => value as never;

export const values = (tensor: Tensor) => [...tensor.toFloat32Array()];

/** Expects the typed error, and what `state` tells as it was. */
export function expectThrown(
  code: BatchNormErrorCode | RegExp,
  call: () => unknown,
  state: () => unknown,
): BatchNormError {
  const before = state();
  let error: unknown;
  try {
    call();
  } catch (thrown) {
    error = thrown;
  }
  expect(error).toBeInstanceOf(BatchNormError);
  const typed = error as BatchNormError;
  expect([typed.code], typed.message).toEqual([
    typeof code === "string" ? code : expect.stringMatching(code),
  ]);
  expect(state(), "nothing is written before an error is thrown").toEqual(before);
  return typed;
}

/** Expects the typed error, and all tensors and the number of live ones as they were. */
export function expectError(
  code: BatchNormErrorCode | RegExp,
  call: () => unknown,
  watched: readonly Tensor[] = [],
): BatchNormError {
  return expectThrown(code, call, () => [watched.map(values), memoryUsage().liveStorages]);
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

/** Tensors for calls over [4, channels], and a layer that ran forward. */
export function example(channels = 3, kernel = defaultKernel()) {
  const of = (shape: number[]) => (first: number) => counting(shape, first, kernel);
  const [x, dy, out] = [1, 5, 1].map(of([4, channels])) as [Tensor, Tensor, Tensor];
  const [weight, bias, mean, variance] = [3, 5, 7, 9].map(of([channels])) as [
    Tensor,
    Tensor,
    Tensor,
    Tensor,
  ];
  const { saved } = batchNormTraining(x, { weight, bias });
  const bn = new BatchNorm(channels, { kernel });
  bn.forward(x);
  return { x, dy, out, weight, bias, mean, variance, saved, bn };
}

/** {@link expectError} whose message has all the words. */
export function expectWords(
  code: BatchNormErrorCode,
  words: readonly string[],
  call: () => unknown,
): void {
  const { message } = expectError(code, call);
  for (const word of words) expect(message).toContain(word);
}
