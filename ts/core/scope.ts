import { type KernelOption, readKernel } from "./default-kernel.js";
import { fail } from "./errors.js";
import type { Tracked } from "./kernel.js";
import { show } from "./show.js";
import { viewOf } from "./tensor.js";

/**
 * What a value keeps alive beyond itself, for {@link scope}. A plain name and no
 * symbol: a method with a computed one keeps its class in every bundle.
 */
export interface Holding {
  readonly "batchnorm-wasm.holds": unknown;
}

/**
 * Runs `fn` and disposes every tensor that was made inside and not returned, also
 * when it throws. What is returned, alone or in arrays, objects, Maps and Sets however
 * deep, belongs to the scope outside of this one, if there is any. (What an object keeps
 * in private fields or closures can't be seen: return the tensors themselves.) A layer's own
 * parameters and saved values belong to the layer: no scope frees them.
 *
 * @throws BatchNormError `async-scope` where `fn` returns a promise or is a generator: what
 *   is made later would not be seen; `invalid-option` where it is no function
 *
 * @example
 * const y = scope(() => {
 *   const hidden = bn.forward(x);      // freed at the end
 *   return bn.eval().forward(hidden);
 * });
 * y.disposed;   // → false
 */
export function scope<T>(fn: () => T, options?: KernelOption | null): T {
  const port = readKernel(options, "scope");
  if (typeof fn !== "function") {
    fail("invalid-option", `scope: expected a function, got ${show(fn)}`);
  }
  const made = new Set<Tracked>();
  let kept = new Set<unknown>();
  const outer = port.scope;
  port.scope = made;
  try {
    const result = fn();
    checkSynchronous(result);
    kept = reachable(result);
    return result;
  } finally {
    port.scope = outer;
    for (const one of made) {
      if (kept.has(one)) port.track(one);
      // A gradient that was set is its parameter's.
      else if (!viewOf(one)?.isGrad) one.dispose();
    }
  }
}

function checkSynchronous(result: unknown): void {
  const then = (result as PromiseLike<unknown> | null | undefined)?.then;
  if (typeof then === "function") {
    // The caller never gets the promise: what it rejects with later is not unhandled.
    then.call(
      result as PromiseLike<unknown>,
      () => {},
      () => {},
    );
    fail("async-scope", "scope: the function must be synchronous, it returned a promise");
  }
  if (/^(Async)?Generator$/.test(show(result))) {
    fail("async-scope", "scope: a generator runs after the scope has ended; pass a plain function");
  }
}

/** All objects that a value leads to, itself included. */
function reachable(value: unknown): Set<unknown> {
  const seen = new Set<unknown>();
  const open = [value];
  const add = (one: unknown) => {
    if (isObject(one) && !ArrayBuffer.isView(one)) open.push(one);
  };
  const addBoth = (value: unknown, key: unknown) => {
    add(value);
    add(key);
  };
  while (open.length > 0) {
    const one = open.pop();
    if (!isObject(one) || seen.has(one)) continue;
    seen.add(one);
    const kind = show(one);
    if ("batchnorm-wasm.holds" in one) add(one["batchnorm-wasm.holds"]);
    // Of any realm, whatever it has put over the method.
    else if (kind === "Map" || kind === "Set") {
      const { forEach } = (kind === "Map" ? Map : Set).prototype as Map<unknown, unknown>;
      try {
        forEach.call(one as Map<unknown, unknown>, addBoth);
      } catch {
        fail("invalid-option", `scope: can't see into a Proxy of a ${kind}: return what it holds`);
      }
    }
    // Values as they stand there: a getter could make new ones.
    for (const key of Reflect.ownKeys(one)) add(Object.getOwnPropertyDescriptor(one, key)?.value);
  }
  return seen;
}

function isObject(value: unknown): value is object {
  return value !== null && (typeof value === "object" || typeof value === "function");
}
