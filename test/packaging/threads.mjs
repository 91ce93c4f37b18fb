/**
 * The program over the entry with threads, and calls that are long enough to be shared: as many
 * threads as there can be here, and the bits of the ordinary entry's.
 */
import { run, runWhole } from "./program.mjs";

/** @import * as Ordinary from "batchnorm-wasm" */
/** @import * as Threaded from "batchnorm-wasm/threads" */
/** @import * as Weights from "batchnorm-wasm/weights" */

/**
 * @param {typeof Ordinary} ordinary
 * @param {typeof Threaded} threaded
 * @param {typeof Weights} weights
 * @param {any} golden
 * @param {string | null} reason what tells why there is one thread alone, a pattern; `null` where
 *   there are two
 */
export async function runThreads(ordinary, threaded, weights, golden, reason) {
  const { setThreads, shutdown, threads } = threaded;
  const found = await runWhole(withErrorsOf(ordinary, threaded), weights, golden);
  setThreads(2);
  // Some begin only once the program yields.
  await until(() => threads().ready === 2 || (reason !== null && threads().reason !== null));
  checkCalls(found.checks, ordinary, threaded, reason);
  shutdown();
  await until(() => threads().ready === 1);
  checkAlone(found.checks, threaded);
  return found;
}

/**
 * As much of it as takes no turn, where there are no threads.
 *
 * @param {typeof Ordinary} ordinary
 * @param {typeof Threaded} threaded
 * @param {typeof Weights} weights
 * @param {any} golden
 * @param {string} reason what tells why, a pattern
 */
export function runAlone(ordinary, threaded, weights, golden, reason) {
  const found = run(withErrorsOf(ordinary, threaded), weights, golden);
  threaded.setThreads(2);
  checkCalls(found.checks, ordinary, threaded, reason);
  threaded.shutdown();
  checkAlone(found.checks, threaded);
  return found;
}

/**
 * The entry with threads. Files of weights are the ordinary copy's matter, and so are their errors.
 *
 * @param {typeof Ordinary} ordinary @param {typeof Threaded} threaded
 */
function withErrorsOf(ordinary, threaded) {
  const errors = [ordinary, threaded].map(({ BatchNormError }) => BatchNormError);
  const BatchNormError = /** @type {any} */ ({
    [Symbol.hasInstance]: (/** @type {unknown} */ error) =>
      errors.some((Errors) => error instanceof Errors),
  });
  return { ...threaded, BatchNormError };
}

/** Yields until something holds, or for so long that it never will. @param {() => boolean} holds */
async function until(holds) {
  for (let waited = 0; waited < 20_000 && !holds(); waited += 10) {
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** @param {import("./program.mjs").Check[]} checks @param {string} name @param {() => void} body */
function check(checks, name, body) {
  try {
    body();
    checks.push({ name, status: "passed" });
  } catch (error) {
    checks.push({ name, status: "failed", reason: `${error}` });
  }
}

/** @param {unknown} holds @param {string} otherwise */
function expect(holds, otherwise) {
  if (!holds) throw new Error(otherwise);
}

/**
 * How many threads there are, and what calls give with them.
 *
 * @param {import("./program.mjs").Check[]} checks
 * @param {typeof Ordinary} ordinary @param {typeof Threaded} threaded
 * @param {string | null} reason as {@link runThreads} takes it
 */
function checkCalls(checks, ordinary, threaded, reason) {
  check(checks, "threads", () => {
    const got = threaded.threads();
    const wanted = reason === null ? 2 : 1;
    const isTold = reason === null ? got.reason === null : new RegExp(reason).test(`${got.reason}`);
    expect(got.threads === wanted && got.ready === wanted && isTold, JSON.stringify(got));
  });

  check(checks, "long calls give the ordinary entry's bits", () => {
    for (const [shape, axis] of /** @type {[number[], number][]} */ ([
      [[8, 16, 40, 40], 1],
      [[8, 40, 40, 16], 3],
      [[2048, 64], 1],
    ])) {
      const [a, b] = [ordinary, threaded].map((library) => train(library, shape, axis));
      a?.forEach((bits, i) => {
        expect(bits === b?.[i], `result ${i} of [${shape}]: ${b?.[i]}, not ${bits}`);
      });
    }
  });

  check(checks, "tensors of two kernels don't meet", () => {
    const layer = new threaded.BatchNorm(3);
    try {
      layer.forward(/** @type {any} */ (ordinary.Tensor.zeros([2, 3])));
    } catch (error) {
      expect(error instanceof threaded.BatchNormError, `${error}`);
      return;
    } finally {
      layer.dispose();
    }
    throw new Error("another kernel's tensor was taken");
  });
}

/** @param {import("./program.mjs").Check[]} checks @param {typeof Threaded} threaded */
function checkAlone(checks, { threads }) {
  check(checks, "shutdown", () => expect(threads().ready === 1, JSON.stringify(threads())));
}

/**
 * Hashes of the bits of training steps.
 *
 * @param {typeof Ordinary | typeof Threaded} library @param {number[]} shape @param {number} axis
 */
function train({ BatchNorm, scope, Tensor }, shape, axis) {
  /** @type {number[]} */
  const hashes = [];
  scope(() => {
    const [x, dy] = [1, 2].map((seed) => {
      const tensor = Tensor.zeros(shape);
      let state = seed;
      tensor.set(
        Float32Array.from({ length: tensor.size }, () => {
          state = (Math.imul(state, 1664525) + 1013904223) | 0;
          return state / 2 ** 30;
        }),
      );
      return tensor;
    });
    if (!x || !dy) return;
    const layer = new BatchNorm(/** @type {number} */ (shape[axis]), { axis, preset: "torch" });
    for (let step = 0; step < 20; step++) {
      const y = layer.train().forward(x);
      const dx = layer.backward(dy);
      for (const one of [y, dx, layer.weight?.grad, layer.runningVar]) {
        const bits = new Uint32Array(one?.toFloat32Array().buffer ?? new ArrayBuffer(0));
        let hash = 0;
        // Names of the outside are slow where this runs in a context of Node's `vm`.
        for (let i = 0, { imul } = Math; i < bits.length; i++) {
          hash = (imul(hash, 31) + /** @type {number} */ (bits[i])) | 0;
        }
        hashes.push(hash);
      }
    }
    layer.dispose();
  });
  return hashes;
}
