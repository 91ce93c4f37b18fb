/**
 * TensorFlow.js on either backend, as its users write it: `tf.moments` and
 * `tf.batchNorm`, gradients by `tf.grads`, and batch norm's variants by what they are made of. Both
 * backends compute at once, nothing is lazy.
 */
import * as tf from "@tensorflow/tfjs";
import { ACTIVATED, RENORM, VARIANTS, virtualBatchSizeOf } from "../cells.mjs";
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
    variants: VARIANTS,
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
export async function use(backend) {
  if (!(await tf.setBackend(backend))) throw new Error(`tfjs has no backend ${backend} here`);
}

/**
 * @param {string} backend
 * @param {import("../contestant.d.ts").Cell} cell
 * @param {import("../contestant.d.ts").Data} data
 * @returns {import("../contestant.d.ts").Prepared}
 */
function prepare(backend, cell, data) {
  const { op, layout, shape, axis, norm, variant } = cell;
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
  const plain = (x, gamma, beta) => {
    const { mean, variance } = tf.moments(x, others, broadcast);
    return { y: affine(x, mean, variance, gamma, beta), mean, variance };
  };
  const residual = variant === "residual-relu" ? input(data.residual, [...shape]) : undefined;
  const activate = (y, residual) => tf.relu(residual ? tf.add(y, residual) : y);
  const isActivated = variant !== undefined && ACTIVATED.includes(variant);
  const varied = {
    ghost: () => ghostTraining(cell, plain),
    renorm: () => renormTraining(data, vector, others, broadcast, affine),
    mask: () => {
      const positions = shape.map((size, i) => (i === axis ? 1 : size));
      return maskedTraining(input(data.mask, positions), others, broadcast, affine);
    },
  };
  const training = isActivated
    ? (x, gamma, beta, residual) => ({ y: activate(plain(x, gamma, beta).y, residual) })
    : variant
      ? varied[variant]()
      : plain;

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
    const inference = () => affine(x, mean, variance, weight, bias);
    step = () => ({ y: isActivated ? activate(inference(), residual) : inference() });
  } else if (op === "training") {
    step = () => training(x, weight, bias, residual);
  } else {
    const dy = input(data.dy, [...shape]);
    const gradients = tf.valueAndGrads((...inputs) => training(...inputs).y);
    const differentiated = [x, weight, bias, ...(residual ? [residual] : [])];
    step = () => {
      const { value: y, grads } = gradients(differentiated, dy);
      const [dx, dweight, dbias, dresidual] = grads;
      return { y, dx, dweight, dbias, ...(dresidual ? { dresidual } : {}) };
    };
  }

  return preparedOf(backend, step, inputs);
}

/**
 * A step as it is timed: what it gave before is given back, as users' programs do.
 *
 * @param {string} backend
 * @param {() => { [name: string]: tf.Tensor }} step
 * @param {readonly { dispose(): void }[]} owned what goes with it
 * @param {(run: () => any) => any} [within] runs it
 * @returns {import("../contestant.d.ts").Prepared}
 */
export function preparedOf(backend, step, owned, within = (run) => run()) {
  /** @type {ReturnType<typeof step>} */
  let results = {};
  const run = timed(() => {
    tf.dispose(results);
    results = tf.tidy(step);
  });
  return {
    async run(calls) {
      await use(backend);
      return within(() => run(calls));
    },
    async outputs() {
      await use(backend);
      return Object.fromEntries(
        Object.entries(results).map(([name, tensor]) => [name, tensor.dataSync()]),
      );
    },
    async dispose() {
      await use(backend);
      for (const one of [...owned, ...Object.values(results)]) one.dispose();
    },
  };
}

/**
 * Slices of the batch, each by itself.
 *
 * @param {import("../contestant.d.ts").Cell} cell
 */
function ghostTraining({ shape }, plain) {
  const size = virtualBatchSizeOf({ shape });
  const sizes = [];
  for (let rest = shape[0]; rest > 0; rest -= size) sizes.push(Math.min(size, rest));
  return (x, gamma, beta) => {
    const parts = tf.split(x, sizes).map((part) => plain(part, gamma, beta).y);
    return { y: tf.concat(parts) };
  };
}

/** Constant to the gradient. tfjs has no operator of that name. */
const constant = tf.customGrad((x) => ({
  value: x.clone(),
  gradFunc: () => tf.zerosLike(x),
}));

/** @param {import("../contestant.d.ts").Data} data */
function renormTraining(data, vector, others, broadcast, affine) {
  const [runningMean, runningVar] = [vector(data.mean), vector(data.variance)];
  const { rMin, rMax, dMax } = RENORM;
  return (x, gamma, beta) => {
    const { mean, variance } = tf.moments(x, others, broadcast);
    const std = tf.sqrt(tf.add(runningVar, data.eps));
    const ofBatch = tf.sqrt(tf.add(variance, data.eps));
    const r = constant(tf.clipByValue(tf.div(ofBatch, std), rMin, rMax));
    const d = constant(tf.clipByValue(tf.div(tf.sub(mean, runningMean), std), -dMax, dMax));
    const [scale, shift] = [tf.mul(gamma, r), tf.add(beta, tf.mul(gamma, d))];
    return { y: affine(x, mean, variance, scale, shift) };
  };
}

/** By the weighted sums of `tf.moments`'s place. */
function maskedTraining(mask, others, broadcast, affine) {
  return (x, gamma, beta) => {
    const total = tf.sum(mask);
    const mean = tf.div(tf.sum(tf.mul(x, mask), others, broadcast), total);
    const squares = tf.mul(tf.square(tf.sub(x, mean)), mask);
    const variance = tf.div(tf.sum(squares, others, broadcast), total);
    return { y: affine(x, mean, variance, gamma, beta) };
  };
}
