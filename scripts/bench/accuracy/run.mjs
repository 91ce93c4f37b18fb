/** One sample by every contestant, in every layout. */
import * as reference from "../../../test/reference/batch.mjs";
import * as group from "../../../test/reference/group.mjs";
import * as rows from "../../../test/reference/layer.mjs";
import { Random } from "../../random.mjs";
import { gather, layoutsOf, makeValues, scatter } from "./cases.mjs";
import { errorsOf, median } from "./ulp.mjs";

/**
 * @typedef {import("./judge.mjs").Record} Record
 * @typedef {import("../contestant.d.ts").Started} Started
 * @typedef {import("../contestant.d.ts").Data} Data
 * @typedef {{ name: string, started: Started, norms?: readonly import("../contestant.d.ts").Norm[] }} Running
 * @typedef {{ contestant: string, op: string, reason: string }} Gap
 */

/** Operations, and what is looked at of each; the variance is biased or unbiased, as it is given. */
const ARRAYS = {
  inference: ["y"],
  training: ["y", "mean", "variance", "unbiasedVariance"],
  "forward-backward": ["dx", "dweight", "dbias"],
};

/** Arrays with one value a channel. */
const VECTORS = ["mean", "variance", "unbiasedVariance", "dweight", "dbias"];

/**
 * @param {import("./cases.mjs").Sample} sample
 * @param {readonly Running[]} contestants
 */
export async function* runSample(sample, contestants) {
  const values = makeValues(sample);
  const truth = makeTruth(values);
  for (const one of layoutsOf(sample)) {
    const { layout, shape, axis } = one;
    const { weight, bias, eps } = values;
    /** @type {Data} */
    const data = {
      x: scatter(one, values.x),
      dy: scatter(one, values.dy),
      ...{ weight, bias, eps },
      mean: truth.running.mean,
      variance: truth.running.variance,
    };
    /** @type {Record[]} */
    const records = [];
    /** @type {Gap[]} */
    const gaps = [];
    for (const { name: contestant, started } of contestants) {
      for (const [name, arrays] of Object.entries(ARRAYS)) {
        const op = /** @type {Cell["op"]} */ (name);
        const cell = { op, layout, shape, axis, name: sample.distribution.name };
        const got = started.refuses(cell) ?? (await outputsOf(started, cell, data));
        if (typeof got === "string") {
          gaps.push({ contestant, op, reason: got });
          continue;
        }
        const truths = op === "inference" ? truth.inference : truth.training;
        for (const array of arrays) {
          const [output, expected] = [got[array], truths[array]];
          if (!output || !expected) continue;
          records.push({
            distribution: sample.distribution.name,
            layout,
            shape,
            op,
            array: array === "unbiasedVariance" ? "variance" : array,
            mean_over_std: truth.meanOverStd,
            contestant,
            errors: errorsOf(VECTORS.includes(array) ? output : gather(one, output), expected),
          });
        }
      }
    }
    yield { ...one, records, gaps };
  }
}

/** Of the norms within a sample. */
const ARRAYS_OF_SETS = { training: ["y"], backward: ["dx", "dweight", "dbias"] };

/**
 * A sample by a norm within samples: its values lie set by set.
 *
 * @param {import("./cases.mjs").Sample} sample @param {import("./cases.mjs").Divided} divided
 * @param {readonly Running[]} contestants
 */
export async function runDivided(sample, divided, contestants) {
  const { norm, shape, axis, groups, layout } = divided;
  const { x, dy, eps } = makeValues(sample);
  const random = new Random(sample.seed);
  const vector = () =>
    Float32Array.from({ length: shape[axis] ?? 0 }, () => 0.5 + random.uniform());
  const [weight, bias] = [vector(), vector()];
  const isGroup = norm === "group";
  const sets = /** @type {any} */ (
    isGroup ? group.groupsOf(shape, axis, groups) : rows.rowsOf(shape, [axis])
  );
  const of = isGroup ? group : norm === "rms" ? rows.rms : rows.layer;
  const parameters = { weight, bias: norm === "rms" ? null : bias, eps };
  const { mean, variance } = reference.statistics(x, sets.sets);
  const ratios = mean.map((mean, set) =>
    mean === 0 ? 0 : Math.abs(mean) / Math.sqrt(Number(variance[set])),
  );
  /** @type {{ [array: string]: Float64Array }} */
  const truth = { y: of.forward(x, sets, parameters), ...of.backward(x, dy, sets, parameters) };
  if (norm === "rms") delete truth.dbias;
  /** @type {Record[]} */
  const records = [];
  /** @type {Gap[]} */
  const gaps = [];
  // Not read.
  const none = { mean: bias, variance: bias };
  for (const { name: contestant, started, norms = ["batch"] } of contestants) {
    if (!norms.includes(norm)) continue;
    for (const [name, arrays] of Object.entries(ARRAYS_OF_SETS)) {
      const op = /** @type {Cell["op"]} */ (name);
      const cell = { op, layout, shape, axis, norm, groups, name: sample.distribution.name };
      const data = { x, dy, weight, bias, eps, ...none };
      const got = started.refuses(cell) ?? (await outputsOf(started, cell, data));
      if (typeof got === "string") {
        gaps.push({ contestant, op: `${norm} norm ${op}`, reason: got });
        continue;
      }
      for (const array of arrays) {
        const [output, expected] = [got[array], truth[array]];
        if (!output || !expected) continue;
        records.push({
          distribution: sample.distribution.name,
          layout,
          shape,
          op: `${norm} norm`,
          array,
          // RMS norm takes nothing off.
          mean_over_std: norm === "rms" ? 0 : Number(median(ratios).toPrecision(2)),
          contestant,
          errors: errorsOf(output, expected),
        });
      }
    }
  }
  return { records, gaps };
}

/**
 * @typedef {import("../contestant.d.ts").Cell} Cell
 * @param {Started} started @param {Cell} cell @param {Data} data
 * @returns {Promise<{ [array: string]: ArrayLike<number> | undefined } | string>} or why there are none
 */
async function outputsOf(started, cell, data) {
  try {
    const prepared = await started.prepare(cell, data);
    try {
      await prepared.run(1);
      return { ...(await prepared.outputs()) };
    } finally {
      await prepared.dispose();
    }
  } catch (error) {
    // Shown with the contestant: what one can't do is a result.
    return `failed: ${error instanceof Error ? error.message : error}`;
  }
}

/** Truths channel by channel, as the values. @param {ReturnType<typeof makeValues>} values */
function makeTruth({ channels: number, count, x, dy, ...parameters }) {
  const channels = reference.channelsOf([number, count], 0);
  const batch = reference.statistics(x, channels);
  const { mean, variance } = batch;
  // For inference the batch's own, in float32: what is given is exact then.
  const running = { mean: Float32Array.from(mean), variance: Float32Array.from(variance) };
  const given = {
    mean: Float64Array.from(running.mean),
    variance: Float64Array.from(running.variance),
  };
  /** @type {{ [array: string]: Float64Array }} */
  const inference = { y: reference.forward(x, channels, given, parameters) };
  /** @type {{ [array: string]: Float64Array }} */
  const training = {
    ...{ mean, variance, unbiasedVariance: variance.map((value) => (value * count) / (count - 1)) },
    y: reference.forward(x, channels, batch, parameters),
    ...reference.backward(x, dy, channels, parameters, batch),
  };
  const ratios = mean.map((mean, c) => {
    return mean === 0 ? 0 : Math.abs(mean) / Math.sqrt(Number(variance[c]));
  });
  // Two digits: a sample of std 1 isn't to the last of it.
  return { training, inference, running, meanOverStd: Number(median(ratios).toPrecision(2)) };
}
