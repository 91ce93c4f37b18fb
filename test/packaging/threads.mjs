/**
 * The program over the entry with threads, and calls that are long enough to be shared: as many
 * threads as there can be here, and the bits of the ordinary entry's.
 */
import { runWhole } from "./program.mjs";

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
  // Files of weights are the ordinary copy's matter, and so are their errors.
  const errors = [ordinary, threaded].map(({ BatchNormError }) => BatchNormError);
  const BatchNormError = /** @type {any} */ ({
    [Symbol.hasInstance]: (/** @type {unknown} */ error) =>
      errors.some((Errors) => error instanceof Errors),
  });
  const found = await runWhole({ ...threaded, BatchNormError }, weights, golden);

  /** @param {string} name @param {() => unknown} body */
  async function check(name, body) {
    try {
      await body();
      found.checks.push({ name, status: "passed" });
    } catch (error) {
      found.checks.push({ name, status: "failed", reason: `${error}` });
    }
  }
  /** @param {unknown} holds @param {string} otherwise */
  function expect(holds, otherwise) {
    if (!holds) throw new Error(otherwise);
  }

  await check("threads", async () => {
    setThreads(2);
    // Some begin only once the program yields.
    for (let waited = 0; waited < 20_000 && threads().ready < 2; waited += 10) {
      if (reason !== null && threads().reason !== null) break;
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    const got = threads();
    const told = JSON.stringify(got);
    if (reason === null) expect(got.threads === 2 && got.ready === 2 && got.reason === null, told);
    else expect(got.ready === 1 && new RegExp(reason).test(got.reason ?? ""), told);
  });

  await check("long calls give the ordinary entry's bits", () => {
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

  await check("tensors of two kernels don't meet", () => {
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

  await check("shutdown", async () => {
    shutdown();
    for (let waited = 0; waited < 20_000 && threads().ready > 1; waited += 10) {
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    expect(threads().ready === 1, JSON.stringify(threads()));
  });
  return found;
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
        let hash = 0;
        for (const bits of new Uint32Array(one?.toFloat32Array().buffer ?? new ArrayBuffer(0))) {
          hash = (Math.imul(hash, 31) + bits) | 0;
        }
        hashes.push(hash);
      }
    }
    layer.dispose();
  });
  return hashes;
}
