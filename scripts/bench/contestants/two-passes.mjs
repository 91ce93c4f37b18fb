/**
 * What follows the norm as a pass of its own: this package's norm, and then a layer that normalizes
 * nothing and only adds the residual and activates. Forward it works in place. Of a backward pass
 * both have to keep what they got, and so y lies apart.
 */
import * as library from "../../../dist/entry/slim.js";
import { ACTIVATED } from "../cells.mjs";
import { createLayer, moduleOf } from "./layer.mjs";
import { timed } from "./timed.mjs";

/** @type {import("../contestant.d.ts").Contestant} */
export default {
  name: "batchnorm-wasm in two passes",
  kind: "ours",
  norms: [],
  variants: ACTIVATED,
  async start({ kernel, version }) {
    const module = await moduleOf(kernel);
    return {
      version,
      refuses: () => undefined,
      prepare: async (cell, data) => prepare(module, cell, data),
    };
  },
};

/**
 * @param {WebAssembly.Module} module
 * @param {import("../contestant.d.ts").Cell} cell
 * @param {import("../contestant.d.ts").Data} data
 * @returns {import("../contestant.d.ts").Prepared}
 */
function prepare(module, cell, data) {
  const { op, shape, axis, variant } = cell;
  const { variant: _, ...plain } = cell;
  const { layer, kernel, zeros, gradients, dispose } = createLayer(library, module, plain, data);
  // Means of 0 and variances of 1, as a layer is made.
  const step = new library.BatchNorm(data.weight.length, {
    ...{ axis, kernel, affine: false, eps: 0, activation: "relu" },
  }).eval();
  const isBackward = op.endsWith("backward");
  const filled = (/** @type {Float32Array} */ values) => {
    const tensor = zeros(shape);
    tensor.data.set(values);
    return tensor;
  };
  const x = filled(data.x);
  const norm = zeros(shape);
  const y = isBackward ? zeros(shape) : norm;
  const residual =
    variant === "residual-relu" ? { residual: filled(/** @type {any} */ (data.residual)) } : {};
  const forward = () => {
    layer.forward(x, { out: norm });
    step.forward(norm, { out: y, ...residual });
  };
  const [dy, dv, dx] = isBackward ? [filled(data.dy), zeros(shape), zeros(shape)] : [x, x, x];
  const backward = () => {
    step.backward(dy, { out: dv });
    layer.backward(dv, { out: dx });
  };
  if (op === "backward") forward();
  const both = () => {
    forward();
    backward();
  };
  return {
    run: timed(isBackward ? (op === "backward" ? backward : both) : forward),
    outputs: async () => ({
      ...(op === "backward" ? {} : { y: y.toFloat32Array() }),
      ...(isBackward ? { dx: dx.toFloat32Array(), ...gradients() } : {}),
      ...(isBackward && variant === "residual-relu" ? { dresidual: dv.toFloat32Array() } : {}),
    }),
    dispose() {
      step.dispose();
      dispose();
    },
  };
}
