/** This package as it is to be used: tensors in kernel memory, outputs that are reused. */
import * as library from "../../../dist/entry/slim.js";
import { bytesOf } from "../cells.mjs";
import { createLayer } from "./layer.mjs";
import { timed } from "./timed.mjs";

/** x, y, dy and dx of this size don't fit into the 4 GiB of a memory: dx goes where dy was. */
const GIGABYTE = 2 ** 30;

/** @type {import("../contestant.d.ts").Contestant} */
export default {
  name: "batchnorm-wasm",
  kind: "ours",
  norms: ["batch", "group", "layer", "rms"],
  async start({ kernel, version }) {
    const module = await WebAssembly.compile(kernel);
    return {
      version,
      refuses: () => undefined,
      prepare: async (cell, data) => prepare(library, module, cell, data),
    };
  },
};

/**
 * A cell for any build of this package.
 *
 * @param {import("../contestant.d.ts").Library} library
 * @param {WebAssembly.Module} module
 * @param {import("../contestant.d.ts").Cell} cell
 * @param {import("../contestant.d.ts").Data} data
 */
export function prepare(library, module, cell, data) {
  const prepareOp = cell.op.endsWith("backward") ? prepareBackward : prepareForward;
  return prepareOp(library, module, cell, data);
}

/**
 * @param {import("../contestant.d.ts").Library} library
 * @param {WebAssembly.Module} module
 * @param {import("../contestant.d.ts").Cell} cell
 * @param {import("../contestant.d.ts").Data} data
 * @returns {import("../contestant.d.ts").Prepared}
 */
function prepareForward(library, module, cell, data) {
  const { layer, zeros, dispose } = createLayer(library, module, cell, data);
  const x = zeros(cell.shape);
  const y = cell.op === "inference-in-place" ? x : zeros(cell.shape);
  x.data.set(data.x);
  return {
    run: timed(() => layer.forward(x, { out: y })),
    outputs: async () => ({ y: y.toFloat32Array() }),
    dispose,
  };
}

/**
 * @param {import("../contestant.d.ts").Library} library
 * @param {WebAssembly.Module} module
 * @param {import("../contestant.d.ts").Cell} cell
 * @param {import("../contestant.d.ts").Data} data
 * @returns {import("../contestant.d.ts").Prepared}
 */
function prepareBackward(library, module, cell, data) {
  const { layer, zeros, gradients, dispose } = createLayer(library, module, cell, data);
  const alone = cell.op === "backward";
  const x = zeros(cell.shape);
  const y = zeros(cell.shape);
  x.data.set(data.x);
  // Backward alone has no use for y, the forward pass's output: its memory becomes dy's.
  if (alone) layer.forward(x, { out: y });
  const dy = alone ? y : zeros(cell.shape);
  const dx = bytesOf(cell) < GIGABYTE ? zeros(cell.shape) : dy;
  dy.data.set(data.dy);
  return {
    run: timed(
      alone
        ? () => layer.backward(dy, { out: dx })
        : () => {
            layer.forward(x, { out: y });
            layer.backward(dy, { out: dx });
          },
    ),
    outputs: async () => ({
      ...(alone ? {} : { y: y.toFloat32Array() }),
      dx: dx.toFloat32Array(),
      ...gradients(),
    }),
    dispose,
  };
}
