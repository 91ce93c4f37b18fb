/**
 * TensorFlow.js with this package in it, as its users write it: `tf.batchNorm` for inference, layers in
 * training, gradients by `tf.variableGrads` and `tf.grads`. It is installed for the length of a run, since
 * plain tfjs is the same library. Of its kernel the committed one is measured.
 */
import * as tf from "@tensorflow/tfjs";
import { install, normalizations } from "../../../dist/entry/tfjs-install.js";
import { preparedOf, use } from "./tfjs.mjs";

/**
 * @param {string} name @param {"cpu" | "wasm"} backend
 * @param {(host: import("../contestant.d.ts").Host) => Promise<unknown>} load registers the backend
 * @returns {import("../contestant.d.ts").Contestant}
 */
export function tfjsWithOurs(name, backend, load) {
  return {
    name,
    kind: "ours",
    norms: ["batch", "group", "layer", "rms"],
    async start(host) {
      tf.enableProdMode();
      await load(host);
      await use(backend);
      return {
        version: `${host.version}, tfjs ${tf.version_core}`,
        refuses: ({ op }) =>
          op === "inference-in-place"
            ? "its tensors are immutable"
            : op === "backward"
              ? "tf.grads runs the forward pass, too: see forward-backward"
              : undefined,
        async prepare(cell, data) {
          await use(backend);
          return withOurs(() => prepare(backend, cell, data));
        },
      };
    },
  };
}

/**
 * @param {string} backend
 * @param {import("../contestant.d.ts").Cell} cell
 * @param {import("../contestant.d.ts").Data} data
 * @returns {import("../contestant.d.ts").Prepared}
 */
function prepare(backend, cell, data) {
  const { op, shape, axis, norm = "batch" } = cell;
  const x = tf.tensor(data.x, [...shape]);
  const layer = layerOf(cell, data);
  const inputs = [x];
  /** @type {() => { [name: string]: tf.Tensor }} */
  let step;
  if (op === "inference" && norm === "batch") {
    const one = shape.map((size, i) => (i === axis ? size : 1));
    const all = [data.mean, data.variance, data.bias, data.weight].map((values) =>
      tf.tensor(values, axis === shape.length - 1 ? [values.length] : one),
    );
    inputs.push(...all);
    const [mean, variance, bias, weight] = /** @type {tf.Tensor1D[]} */ (all);
    step = () => ({ y: tf.batchNorm(x, mean, variance, bias, weight, data.eps) });
  } else if (op !== "forward-backward") {
    step = () => ({ y: layer.apply(x, { training: true }) });
  } else {
    const dy = tf.tensor(data.dy, [...shape]);
    inputs.push(dy);
    const variables = layer.trainableWeights.map((weight) => weight.read());
    const gradients = tf.valueAndGrads((x, ..._) => layer.apply(x, { training: true }));
    step = () => {
      const { value: y, grads } = gradients([x, ...variables], dy);
      const [dx, dweight, dbias] = grads;
      return { y, dx, dweight, ...(dbias ? { dbias } : {}) };
    };
  }
  return preparedOf(backend, step, [...inputs, ...layer.weights], withOurs);
}

/** @template T @param {() => T} run @returns {T} what it gives, with this package installed */
function withOurs(run) {
  const uninstall = install(tf);
  try {
    return run();
  } finally {
    uninstall();
  }
}

/**
 * @param {import("../contestant.d.ts").Cell} cell
 * @param {import("../contestant.d.ts").Data} data
 * @returns {any} tfjs's layer of a cell
 */
function layerOf({ shape, axis, norm = "batch", groups = 0 }, data) {
  const { groupNormalization, rmsNormalization } = normalizations(tf);
  const epsilon = data.eps;
  const make = {
    batch: () => tf.layers.batchNormalization({ axis, epsilon }),
    group: () => groupNormalization({ axis, epsilon, groups }),
    layer: () => tf.layers.layerNormalization({ axis, epsilon }),
    rms: () => rmsNormalization({ axis, epsilon }),
  };
  const layer = make[norm]();
  layer.build([...shape]);
  [data.weight, data.bias].slice(0, layer.trainableWeights.length).forEach((values, i) => {
    const tensor = tf.tensor(values);
    layer.trainableWeights[i].write(tensor);
    tensor.dispose();
  });
  return layer;
}
