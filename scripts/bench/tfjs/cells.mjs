/** What is measured, and what a throw-away prototype reached of it: how many times as fast as plain tfjs. */

/**
 * @typedef {"wasm" | "cpu"} Backend
 * @typedef {{ kind: "layer", backend: Backend, op: "forward-backward" | "inference" | "batchNorm", shape: readonly number[], reached: number }} LayerCell
 * @typedef {{ kind: "model", backend: Backend, op: "step" | "predict", model: "mlp" | "mobilenet" }} ModelCell
 */

/**
 * Of inference the prototype's figures don't tell whether they are of a layer or of `tf.batchNorm`,
 * which that comes to: both are measured.
 *
 * @type {readonly [Backend, LayerCell["op"], readonly [number, number, number, number]][]}
 */
const REACHED = [
  ["wasm", "forward-backward", [39, 43, 29, 18]],
  ["wasm", "inference", [10, 18, 8.4, 4.6]],
  ["wasm", "batchNorm", [10, 18, 8.4, 4.6]],
  ["cpu", "forward-backward", [278, 430, 260, 133]],
  ["cpu", "inference", [6.3, 9.9, 11, 6]],
  ["cpu", "batchNorm", [6.3, 9.9, 11, 6]],
];
const SHAPES = [
  [32, 56, 56, 64],
  [8, 28, 28, 128],
  [64, 1024],
  [4, 8, 8, 16],
];

/** @type {readonly LayerCell[]} */
export const LAYERS = REACHED.flatMap(([backend, op, reached]) =>
  SHAPES.map((shape, i) => ({
    ...{ kind: /** @type {const} */ ("layer"), backend, op, shape },
    reached: /** @type {number} */ (reached[i]),
  })),
);

/**
 * tfjs's wasm backend has no gradients of convolutions: only dense networks train there.
 *
 * @type {readonly ModelCell[]}
 */
export const MODELS = [
  { kind: "model", backend: "wasm", op: "step", model: "mlp" },
  { kind: "model", backend: "wasm", op: "predict", model: "mlp" },
  { kind: "model", backend: "wasm", op: "predict", model: "mobilenet" },
  { kind: "model", backend: "cpu", op: "step", model: "mlp" },
  { kind: "model", backend: "cpu", op: "predict", model: "mlp" },
  { kind: "model", backend: "cpu", op: "predict", model: "mobilenet" },
  { kind: "model", backend: "cpu", op: "step", model: "mobilenet" },
];

/** Of what the prototype reached, this much is to be. */
export const SHARE = 0.8;

/** A whole model is not to be slower, but by what two runs of the same differ. */
export const LEAST = 0.97;

/** @param {LayerCell | ModelCell} cell */
export function nameOf(cell) {
  const what = cell.kind === "layer" ? `layer ${cell.shape.join("×")}` : cell.model;
  return `${cell.backend} ${cell.op} ${what}`;
}
