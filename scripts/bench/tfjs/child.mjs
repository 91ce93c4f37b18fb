/**
 * Measures one cell in a process of its own and prints it as JSON: a layer with and without us in turns; a
 * model in one of both ways, because a memory that grows anywhere slows tfjs's cpu backend from then on.
 *
 *     node --expose-gc child.mjs '{"kind":"model","backend":"cpu","op":"step","model":"mlp"}' ours
 */
import { createRequire } from "node:module";
import * as tf from "@tensorflow/tfjs";
import { setThreadsCount, setWasmPaths } from "@tensorflow/tfjs-backend-wasm";
import { install } from "../../../dist/entry/tfjs-install.js";
import { Random } from "../../random.mjs";
import { copying } from "./copying.mjs";
import { MODELS_BY_NAME } from "./models.mjs";

const [given = "", way] = process.argv.slice(2);
/** @type {import("./cells.mjs").LayerCell | import("./cells.mjs").ModelCell} */
const cell = JSON.parse(given);
const require = createRequire(import.meta.url);
const main = require.resolve("@tensorflow/tfjs-backend-wasm/dist/tf-backend-wasm.node.js");
setWasmPaths(main.replace(/dist.*$/, "wasm-out/"));
setThreadsCount(1);
tf.enableProdMode();
await tf.setBackend(cell.backend);
console.log(JSON.stringify(cell.kind === "layer" ? layer(cell) : await model(cell)));

/** @param {readonly number[]} shape */
function normals(shape, seed = 1) {
  const size = shape.reduce((a, b) => a * b, 1);
  return tf.tensor(new Random(seed).normals(size), [...shape]);
}

/** @param {number[]} values */
function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  return /** @type {number} */ (sorted[sorted.length >> 1]);
}

/**
 * Rounds of as many calls as take about 20 ms, plain and ours in turns.
 *
 * @param {import("./cells.mjs").LayerCell} cell
 */
function layer({ op, shape }) {
  const x = normals(shape);
  const layer = tf.layers.batchNormalization({});
  layer.build([...shape]);
  const dy = normals(shape, 2);
  const variables = layer.trainableWeights.map((weight) => weight.read());
  const channels = /** @type {number} */ (shape.at(-1));
  const [mean, offset, scale] = [3, 4, 5].map((seed) => normals([channels], seed));
  const variance = tf.ones([channels]);
  const gradients = tf.grads((x, ..._) => layer.apply(x, { training: true }));
  const call = () =>
    tf.tidy(() => {
      if (op === "inference") layer.apply(x);
      else if (op === "batchNorm") tf.batchNorm(x, mean, variance, offset, scale);
      else gradients([x, ...variables], dy);
    });
  const time = (/** @type {number} */ calls) => {
    // What the other way has pushed out of the caches, and what installing has made anew, is warm again.
    for (let i = 0; i < calls; i++) call();
    const start = performance.now();
    for (let i = 0; i < calls; i++) call();
    return (performance.now() - start) / calls;
  };
  /** With kernels that are put in before, and taken out again. */
  const within = (/** @type {() => () => void} */ put) => (/** @type {number} */ calls) => {
    const takeOut = put();
    try {
      return time(calls);
    } finally {
      takeOut();
    }
  };
  const ways = {
    plain: time,
    ours: within(() => install(tf)),
    copying: within(() => {
      const uninstall = install(tf);
      const restore = copying(tf);
      return () => {
        restore();
        uninstall();
      };
    }),
  };
  const calls = { plain: 1, ours: 1, copying: 1 };
  for (const [name, run] of Object.entries(ways)) {
    // Warm: until a call takes what it takes.
    for (let i = 0; i < 3; i++) run(1);
    calls[/** @type {"plain"} */ (name)] = Math.max(1, Math.round(20 / run(1)));
  }
  /** @type {{ plain: number[], ours: number[], copying: number[] }} */
  const times = { plain: [], ours: [], copying: [] };
  const end = performance.now() + 6000;
  while (times.plain.length < 3 || (performance.now() < end && times.plain.length < 40)) {
    for (const name of /** @type {const} */ (["plain", "ours", "copying"])) {
      times[name].push(ways[name](calls[name]));
    }
  }
  const timesAsFast = (/** @type {number[]} */ as) =>
    median(times.plain.map((plain, i) => plain / /** @type {number} */ (as[i])));
  return {
    plain: median(times.plain),
    ours: median(times.ours),
    ratio: timesAsFast(times.ours),
    copying: timesAsFast(times.copying),
    rounds: times.plain.length,
  };
}

/** @param {import("./cells.mjs").ModelCell} cell */
async function model({ op, model: name }) {
  if (way === "ours") install(tf);
  const { make, input, units } = MODELS_BY_NAME[name];
  const net = make(tf);
  net.compile({ optimizer: tf.train.sgd(0.01), loss: "meanSquaredError" });
  const x = normals(input);
  const y = normals([/** @type {number} */ (input[0]), units], 2);
  const step = async () => {
    if (op === "step") await net.trainOnBatch(x, y);
    else tf.dispose(net.predict(x));
  };
  await step();
  /** @type {number[]} */
  const times = [];
  const end = performance.now() + 4000;
  while (times.length < 2 || (performance.now() < end && times.length < 100)) {
    const start = performance.now();
    await step();
    times.push(performance.now() - start);
  }
  // The least: what else runs only adds to it.
  return { ms: Math.min(...times), rounds: times.length };
}
