import { fail } from "./errors.js";
import { defaultKernel, type KernelOption, type Tracked } from "./kernel.js";

/**
 * What a value keeps alive beyond itself, for {@link scope}. A plain name and no
 * symbol: a method with a computed one keeps its class in every bundle.
 */
export interface Holding {
  readonly "batchnorm-wasm.holds": unknown;
}

/**
 * Runs `fn` and disposes every tensor that was made inside and not returned, also
 * when it throws. What is returned, alone or in arrays and plain objects, belongs
 * to the scope outside of this one, if there is any. A layer's own parameters and
 * saved values belong to the layer: no scope frees them.
 *
 * @throws BatchNormError `async-scope` where `fn` returns a promise: what is made
 *   after its first `await` would not be seen
 *
 * @example
 * const probabilities = scope(() => softmax(bn.forward(hidden)));
 */
export function scope<T>(fn: () => T, { kernel = defaultKernel() }: KernelOption = {}): T {
  const made = new Set<Tracked>();
  const kept = new Set<unknown>();
  kernel.scopes.push(made);
  try {
    const result = fn();
    if (typeof (result as PromiseLike<unknown> | undefined)?.then === "function") {
      // The caller never gets the promise: what it rejects with later is not unhandled.
      (result as PromiseLike<unknown>).then(undefined, () => {});
      fail("async-scope", "scope: the function must be synchronous, it returned a promise");
    }
    collect(result, kept);
    return result;
  } finally {
    kernel.scopes.pop();
    for (const one of made) {
      if (kept.has(one)) kernel.track(one);
      else one.dispose();
    }
  }
}

function collect(value: unknown, into: Set<unknown>): void {
  if (value === null || typeof value !== "object" || into.has(value)) return;
  into.add(value);
  if ("batchnorm-wasm.holds" in value) collect(value["batchnorm-wasm.holds"], into);
  else if (Array.isArray(value)) for (const one of value) collect(one, into);
  else if (isPlain(value)) for (const one of Object.values(value)) collect(one, into);
}

function isPlain(value: object): boolean {
  const prototype = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}
