/** What the tests of calls share: tensors, and typed errors. The package's public API alone. */
import {
  BatchNormError,
  type BatchNormErrorCode,
  defaultKernel,
  type Kernel,
  Parameter,
  Tensor,
} from "batchnorm-wasm";
import { expect } from "vitest";

export { kernelBytes } from "../scripts/kernel/under-test.mjs";

/** What TypeScript would not let pass. */
export const wrong = (value: unknown) => value as never;

/** The layer, after it has loaded. */
export function loaded<Layer extends { loadStateDict(...all: never[]): unknown }>(
  layer: Layer,
  ...all: Parameters<Layer["loadStateDict"]>
): Layer {
  layer.loadStateDict(...all);
  return layer;
}

export const values = (tensor: Tensor) => [...tensor.toFloat32Array()];

/** What is to stay as it was: a tensor, or what tells by accessors what it holds. */
export interface Watched {
  readonly kernel: Kernel;
  readonly [Symbol.toStringTag]: string;
  dispose(): void;
}

/** What of these a call that fails must leave as it was, and the live memory of their kernels. */
export function snapshot(watched: readonly Watched[]) {
  const kernels = new Set([defaultKernel(), ...watched.map(({ kernel }) => kernel)]);
  const memory = [...kernels].map((kernel) => {
    const { liveBytes, liveStorages } = kernel.memoryUsage();
    return { liveBytes, liveStorages };
  });
  return { state: watched.map(stateOf), memory };
}

function stateOf(one: Watched): object {
  if (!(one instanceof Tensor)) {
    const state = told(one).map(([name, value]) => [
      name,
      value instanceof Tensor ? stateOf(value) : value,
    ]);
    return Object.fromEntries(state);
  }
  return {
    version: one.storage.version,
    values: one.disposed ? null : one.toFloat32Array(),
    grad: one instanceof Parameter && one.grad && stateOf(one.grad),
  };
}

/** The tensors among what is watched: it, its gradient, or what it holds. */
export function tensorsOf(one: Watched): readonly Tensor[] {
  if (!(one instanceof Tensor)) {
    return told(one).flatMap(([, value]) => (value instanceof Tensor ? tensorsOf(value) : []));
  }
  return one instanceof Parameter && one.grad ? [one, one.grad] : [one];
}

/** What the accessors of a layer, or of saved values, tell: of any norm's. */
function told(one: Watched): (readonly [name: string, value: unknown])[] {
  const all: (readonly [string, unknown])[] = [];
  for (let on: object = one; on !== Object.prototype; on = Object.getPrototypeOf(on)) {
    for (const [name, { get }] of Object.entries(Object.getOwnPropertyDescriptors(on))) {
      // What a layer saved is the asker's from then on.
      if (!get || name === "saved") continue;
      try {
        all.push([name, get.call(one)]);
      } catch (error) {
        all.push([name, (error as BatchNormError).code]);
      }
    }
  }
  expect(all.length, `accessors of ${one[Symbol.toStringTag]}`).toBeGreaterThan(0);
  return all;
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
