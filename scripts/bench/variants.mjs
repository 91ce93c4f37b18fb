/**
 * `npm run bench:variants`: batch norm's variants beside plain training, in rounds that alternate, as
 * ratios of times within a round. *Two passes* are the norm, and then what is fused in the other, as a
 * map of the kernel over y in place.
 *
 *     npm run bench:variants [-- --filter REGEX]
 */
import { parseArgs } from "node:util";
import * as library from "../../dist/entry/slim.js";
import { kernelBytes } from "../kernel/under-test.mjs";
import { timed } from "./contestants/timed.mjs";
import { makeData } from "./data.mjs";
import { table } from "./format.mjs";
import { runRounds, warmUp } from "./rounds.mjs";
import { quartiles, ratios } from "./statistics.mjs";

/** @typedef {import("../../dist/index.js").Tensor} Tensor */
/** @typedef {{ [name: string]: () => unknown }} Ways */

/** @type {[shape: number[], axis: number][]} */
const SHAPES = [
  [[1024, 16], 1],
  [[1024, 64], 1],
  [[4096, 256], 1],
  [[16, 64, 8, 8], 1],
  [[8, 64, 28, 28], 1],
  [[8, 28, 28, 64], 3],
  [[16, 256, 14, 14], 1],
  [[32, 64, 56, 56], 1],
  [[32, 56, 56, 64], 3],
];

const { values } = parseArgs({ options: { filter: { type: "string", default: "" } } });
const filter = new RegExp(values.filter);
const kernel = library.createKernel(await WebAssembly.compile(kernelBytes));
const effort = { slice: 3, warmup: 80, budget: 400, fewest: 8, most: 60, longest: 2000 };

for (const back of [false, true]) {
  const rows = [];
  let head = /** @type {string[]} */ ([]);
  for (const [shape, axis] of SHAPES) {
    const name = `[${shape.join(", ")}] along ${axis}`;
    if (!filter.test(name)) continue;
    process.stderr.write(`\r${name.padEnd(60)}`);
    const { ways, dispose } = prepare(shape, axis, back);
    const runners = Object.entries(ways).map(([name, way]) => ({
      name,
      always: true,
      prepared: { run: timed(way), outputs: async () => ({}), dispose: () => {} },
      slices: /** @type {import("./rounds.mjs").Slice[]} */ ([]),
      times: new Map(),
    }));
    for (const runner of runners) {
      runner.slices.push({ calls: 1, ms: await runner.prepared.run(1) });
      await warmUp(runner, effort);
    }
    await runRounds(runners, effort, 0, () => {});
    const [plain, ...others] = runners;
    if (!plain) throw new Error("there is nothing to compare with");
    head = ["", "plain, µs", ...others.map(({ name }) => name)];
    const us = (quartiles(plain.times.values()).median * 1000).toPrecision(3);
    const median = (/** @type {typeof plain} */ { times }) =>
      quartiles(ratios(times, plain.times)).median.toFixed(2);
    rows.push([name, us, ...others.map(median)]);
    dispose();
  }
  process.stderr.write("\r".padEnd(62));
  if (rows.length > 0) console.log(`\r${back ? "backward" : "forward"}\n${table(head, rows)}\n`);
}

/**
 * The ways to do a pass, the plain one first.
 *
 * @param {number[]} shape @param {number} axis @param {boolean} back
 * @returns {{ ways: Ways, dispose: () => void }}
 */
function prepare(shape, axis, back) {
  const { batchNormTraining, batchNormInference, batchNormBackward, Tensor } = library;
  const channels = /** @type {number} */ (shape[axis]);
  const made = /** @type {{ dispose(): void }[]} */ ([]);
  const tensor = (/** @type {ArrayLike<number>} */ values, shape = [values.length]) => {
    const one = Tensor.zeros(shape, { kernel });
    one.set(Float32Array.from(values));
    made.push(one);
    return one;
  };
  const layout = axis === 1 ? (shape.length === 2 ? "NC" : "channels-first") : "channels-last";
  const data = makeData({ op: "training", layout, shape, axis, name: "" });
  const [x, dy] = [tensor(data.x, shape), tensor(data.dy, shape)];
  const [residual, dx, residualGrad] = [
    tensor(data.dy, shape),
    tensor(data.x, shape),
    tensor(data.x, shape),
  ];
  const ones = () => new Float32Array(channels).fill(1);
  const common = () => ({
    ...{ axis, weight: tensor(data.weight), bias: tensor(data.bias) },
    ...{ runningMean: tensor(data.mean), runningVar: tensor(data.variance) },
  });
  const positions = shape.filter((_, i) => i !== axis);
  const number = positions.reduce((a, b) => a * b, 1);
  // Three of four, without an order that anybody could foresee.
  const mask = tensor(
    Float32Array.from({ length: number }, (_, i) => +((i * 2654435761) % 7 > 1)),
    positions,
  );
  const map = { axis, mean: tensor(ones().fill(0)), variance: tensor(ones()), eps: 0 };
  const relu = /** @type {const} */ ({ activation: "relu" });
  const variants = {
    plain: {},
    ghost: { virtualBatchSize: Math.ceil(/** @type {number} */ (shape[0]) / 4) },
    renorm: { renorm: { rMax: 3, dMax: 5 } },
    mask: { mask },
    "ReLU fused": relu,
    "residual + ReLU fused": { ...relu, residual },
  };
  const weightGrad = tensor(ones());
  const biasGrad = tensor(ones());
  /** @type {Ways} */
  const ways = {};
  for (const [name, options] of Object.entries(variants)) {
    const given = { ...common(), ...options, out: tensor(data.x, shape) };
    const { y, saved } = batchNormTraining(x, given);
    made.push(saved);
    if (back) {
      const to = "residual" in options ? { residualGrad } : {};
      ways[name] = () => batchNormBackward(dy, { saved, out: dx, weightGrad, biasGrad, ...to });
      continue;
    }
    ways[name] = () => batchNormTraining(x, { ...given, saved });
    const two = (/** @type {object} */ more) => () => {
      batchNormTraining(x, { ...plain, saved });
      batchNormInference(y, { ...map, ...relu, ...more, out: y });
    };
    const { activation: _, residual: __, ...plain } = /** @type {any} */ (given);
    if (name === "ReLU fused") ways["two passes"] = two({});
    if (name === "residual + ReLU fused") ways["two passes "] = two({ residual });
  }
  const dispose = () => {
    for (const one of made) one.dispose();
  };
  return { ways, dispose };
}
