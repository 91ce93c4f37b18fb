/**
 * TensorFlow.js on either backend, as its users write it: `tf.moments` and
 * `tf.batchNorm`, gradients by `tf.grads`. Both backends compute at once, nothing is lazy.
 */
import * as tf from "@tensorflow/tfjs";
import { timed } from "./timed.mjs";

/**
 * @param {string} name @param {string} backend
 * @param {(host: import("../contestant.d.ts").Host) => Promise<string>} load
 *   registers the backend and returns its version
 * @returns {import("../contestant.d.ts").Contestant}
 */
export function tfjsContestant(name, backend, load) {
  return {
    name,
    kind: "javascript",
    // It has no group norm, and no RMS norm.
    norms: ["batch", "layer"],
    async start(host) {
      tf.enableProdMode();
      const version = await load(host);
      await use(backend);
      return {
        version,
        refuses,
        async prepare(cell, data) {
          await use(backend);
          return prepare(backend, cell, data);
        },
      };
    },
  };
}

/** @type {import("../contestant.d.ts").Started["refuses"]} */
function refuses({ op, norm = "batch" }) {
  if (norm !== "batch" && op === "backward") return "tf.grads runs the forward pass, too";
  if (op === "inference-in-place") return "its tensors are immutable";
  if (op === "backward") return "tf.grads runs the forward pass, too: see forward-backward";
  return undefined;
}

/**
 * The backend is the library's state, and two contestants share the library.
 *
 * @param {string} backend
 */
async function use(backend) {
  if (!(await tf.setBackend(backend))) throw new Error(`tfjs has no backend ${backend} here`);
}

/**
 * @param {string} backend
 * @param {import("../contestant.d.ts").Cell} cell
 * @param {import("../contestant.d.ts").Data} data
 * @returns {import("../contestant.d.ts").Prepared}
 */
function prepare(backend, { op, layout, shape, axis, norm }, data) {
  // Channels-first by broadcasting, which tf.batchNorm claims to do and gets wrong.
  const broadcast = layout === "channels-first";
  /** @type {tf.Tensor[]} */
  const inputs = [];
  const input = (/** @type {Float32Array} */ values, /** @type {number[]} */ sizes) => {
    const tensor = tf.tensor(values, sizes);
    inputs.push(tensor);
    return tensor;
  };
  const vector = (/** @type {Float32Array} */ values) =>
    input(values, broadcast ? shape.map((size, i) => (i === axis ? size : 1)) : [values.length]);
  const x = input(data.x, [...shape]);
  const [weight, bias] = [vector(data.weight), vector(data.bias)];
  const others = shape.map((_, i) => i).filter((i) => i !== axis);
  const affine = (x, mean, variance, gamma, beta) => {
    if (!broadcast) return tf.batchNorm(x, mean, variance, beta, gamma, data.eps);
    const scale = tf.mul(tf.rsqrt(tf.add(variance, data.eps)), gamma);
    return tf.add(tf.mul(x, scale), tf.sub(beta, tf.mul(mean, scale)));
  };
  const training = (x, gamma, beta) => {
    const { mean, variance } = tf.moments(x, others, broadcast);
    return { y: affine(x, mean, variance, gamma, beta), mean, variance };
  };

  /** @type {() => { [name: string]: tf.Tensor }} */
  let step;
  if (norm === "layer") {
    // As its LayerNormalization does.
    step = () => {
      const { mean, variance } = tf.moments(x, axis, true);
      const scale = tf.mul(tf.rsqrt(tf.add(variance, data.eps)), weight);
      return { y: tf.add(tf.mul(x, scale), tf.sub(bias, tf.mul(mean, scale))) };
    };
  } else if (op === "inference") {
    const [mean, variance] = [vector(data.mean), vector(data.variance)];
    step = () => ({ y: affine(x, mean, variance, weight, bias) });
  } else if (op === "training") {
    step = () => training(x, weight, bias);
  } else {
    const dy = input(data.dy, [...shape]);
    const gradients = tf.valueAndGrads((x, gamma, beta) => training(x, gamma, beta).y);
    step = () => {
      const { value: y, grads } = gradients([x, weight, bias], dy);
      return { y, dx: grads[0], dweight: grads[1], dbias: grads[2] };
    };
  }

  /** @type {ReturnType<typeof step>} */
  let results = {};
  const run = timed(() => {
    tf.dispose(results);
    results = tf.tidy(step);
  });
  return {
    async run(calls) {
      await use(backend);
      return run(calls);
    },
    async outputs() {
      await use(backend);
      return Object.fromEntries(
        Object.entries(results).map(([name, tensor]) => [name, tensor.dataSync()]),
      );
    },
    async dispose() {
      await use(backend);
      tf.dispose([...inputs, ...Object.values(results)]);
    },
  };
}
