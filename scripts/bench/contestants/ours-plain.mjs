/**
 * This package where data stays outside of kernel memory: a `Float32Array` goes in and
 * a new one comes out, at the cost of a copy each way, which is timed.
 */
import * as library from "../../../dist/entry/slim.js";
import { bytesOf } from "../cells.mjs";
import { createLayer, moduleOf } from "./layer.mjs";
import { timed } from "./timed.mjs";

/** @type {import("../contestant.d.ts").Contestant} */
export default {
  name: "batchnorm-wasm plain",
  kind: "ours",
  async start({ kernel, version }) {
    const module = await moduleOf(kernel);
    return {
      version,
      refuses,
      prepare: async (cell, data) => prepare(module, cell, data),
    };
  },
};

/** @type {import("../contestant.d.ts").Started["refuses"]} */
function refuses(cell) {
  if (cell.op === "inference-in-place") return "plain arrays come out as new ones";
  // 256 MB and more: with two copies of each tensor there is no room for others.
  return bytesOf(cell) >= 2 ** 28
    ? "not run from 256 MB on: each tensor is there twice"
    : undefined;
}

/**
 * @param {WebAssembly.Module} module
 * @param {import("../contestant.d.ts").Cell} cell
 * @param {import("../contestant.d.ts").Data} data
 * @returns {import("../contestant.d.ts").Prepared}
 */
function prepare(module, cell, data) {
  const { op, shape } = cell;
  const { layer, gradients, dispose } = createLayer(library, module, cell, data);
  const x = { data: data.x, shape };
  const dy = op.endsWith("backward") ? { data: data.dy, shape } : undefined;
  if (op === "backward") layer.forward(x);
  /** @type {Float32Array | undefined} */
  let y;
  /** @type {Float32Array | undefined} */
  let dx;
  return {
    run: timed(() => {
      if (op !== "backward") y = layer.forward(x).data;
      if (dy) dx = layer.backward(dy).data;
    }),
    outputs: async () => ({
      ...(y ? { y } : {}),
      ...(dx ? { dx, ...gradients() } : {}),
    }),
    dispose,
  };
}
