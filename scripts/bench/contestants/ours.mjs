/** This package as it is to be used: tensors in kernel memory, outputs that are reused. */
import * as library from "../../../dist/entry/slim.js";
import { ACTIVATED, bytesOf, VARIANTS } from "../cells.mjs";
import { createLayer, moduleOf } from "./layer.mjs";
import { readyThreads } from "./ready-threads.mjs";
import { timed } from "./timed.mjs";

/** x, y, dy and dx of this size don't fit into the 4 GiB of a memory: dx goes where dy was. */
const GIGABYTE = 2 ** 30;

/** @type {import("../contestant.d.ts").Contestant} */
export default {
  name: "batchnorm-wasm",
  kind: "ours",
  norms: ["batch", "group", "layer", "rms"],
  variants: VARIANTS,
  threads: "several",
  async start({ kernel, version, threads, threadsVersion }) {
    if (threads > 1) return startThreads(threads, threadsVersion);
    const module = await moduleOf(kernel);
    return {
      version,
      refuses: () => undefined,
      prepare: async (cell, data) => prepare(library, module, cell, data),
    };
  },
};

/**
 * The entry with threads, and its default kernel for all cells: no other has threads.
 *
 * @param {number} number @param {string} version
 * @returns {Promise<import("../contestant.d.ts").Started>}
 */
async function startThreads(number, version) {
  const threaded = await import("../../../dist/entry/threads.js");
  await readyThreads(threaded, number);
  return {
    version,
    settles: 1,
    refuses: () => undefined,
    async prepare(cell, data) {
      // One that died costs a call nothing, and so would be seen in the times alone.
      await readyThreads(threaded, number);
      return prepare(threaded, undefined, cell, data);
    },
    close: async () => threaded.shutdown(),
  };
}

/**
 * A cell for any build of this package.
 *
 * @param {import("../contestant.d.ts").Library} library
 * @param {WebAssembly.Module | undefined} module see `createLayer`
 * @param {import("../contestant.d.ts").Cell} cell
 * @param {import("../contestant.d.ts").Data} data
 */
export function prepare(library, module, cell, data) {
  const prepareOp = cell.op.endsWith("backward") ? prepareBackward : prepareForward;
  return prepareOp(library, module, cell, data);
}

/**
 * @param {import("../contestant.d.ts").Library} library
 * @param {WebAssembly.Module | undefined} module see `createLayer`
 * @param {import("../contestant.d.ts").Cell} cell
 * @param {import("../contestant.d.ts").Data} data
 * @returns {import("../contestant.d.ts").Prepared}
 */
function prepareForward(library, module, cell, data) {
  const { layer, zeros, beside, dispose } = createLayer(library, module, cell, data);
  const x = zeros(cell.shape);
  const y = cell.op === "inference-in-place" ? x : zeros(cell.shape);
  const options = { out: y, ...beside() };
  x.data.set(data.x);
  return {
    run: timed(() => layer.forward(x, options)),
    outputs: async () => ({ y: y.toFloat32Array() }),
    dispose,
  };
}

/**
 * @param {import("../contestant.d.ts").Library} library
 * @param {WebAssembly.Module | undefined} module see `createLayer`
 * @param {import("../contestant.d.ts").Cell} cell
 * @param {import("../contestant.d.ts").Data} data
 * @returns {import("../contestant.d.ts").Prepared}
 */
function prepareBackward(library, module, cell, data) {
  const { layer, zeros, beside, gradients, dispose } = createLayer(library, module, cell, data);
  const { op, variant, shape } = cell;
  const alone = op === "backward";
  const x = zeros(shape);
  const y = zeros(shape);
  const forth = { out: y, ...beside() };
  x.data.set(data.x);
  if (alone) layer.forward(x, forth);
  // Backward alone has no use for y, the forward pass's output, unless its sign is that of an
  // activation: its memory becomes dy's.
  const isActivated = variant !== undefined && ACTIVATED.includes(variant);
  const dy = alone && !isActivated ? y : zeros(shape);
  const dx = bytesOf(cell) < GIGABYTE ? zeros(shape) : dy;
  const residualGrad = variant === "residual-relu" ? zeros(shape) : undefined;
  const back = { out: dx, ...(residualGrad ? { residualGrad } : {}) };
  dy.data.set(data.dy);
  return {
    run: timed(
      alone
        ? () => layer.backward(dy, back)
        : () => {
            layer.forward(x, forth);
            layer.backward(dy, back);
          },
    ),
    outputs: async () => ({
      ...(alone ? {} : { y: y.toFloat32Array() }),
      dx: dx.toFloat32Array(),
      ...(residualGrad ? { dresidual: residualGrad.toFloat32Array() } : {}),
      ...gradients(),
    }),
    dispose,
  };
}
