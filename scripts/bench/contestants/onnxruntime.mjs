/** What ONNX Runtime's two packages share: one model a cell. */
import { ACTIVATED } from "../cells.mjs";
import { inputsOf, modelOf } from "./onnx-model.mjs";
import { timedAsync } from "./timed.mjs";

/** @type {import("../contestant.d.ts").Started["refuses"]} */
export function refuses({ op, layout, variant }) {
  if (variant && !ACTIVATED.includes(variant)) return "the package has no such operator";
  if (op.endsWith("backward")) return "the package has no gradients";
  if (op === "inference-in-place") return "a run's output is not its input";
  if (layout === "channels-last") return "the operator knows channels-first alone";
  return undefined;
}

/**
 * @param {typeof import("onnxruntime-common")} ort
 * @param {import("onnxruntime-common").InferenceSession.SessionOptions} options
 * @param {object} abilities
 * @param {boolean} abilities.reuseOutput whether a run can write to a tensor that it is given
 */
export function prepareWith(ort, options, { reuseOutput }) {
  /** @type {import("../contestant.d.ts").Started["prepare"]} */
  return async (cell, data) => {
    const session = await ort.InferenceSession.create(modelOf(cell, data), options);
    const feeds = Object.fromEntries(
      inputsOf(cell).map((name) => [name, new ort.Tensor("float32", data[name], cell.shape)]),
    );
    const y = reuseOutput
      ? { y: new ort.Tensor("float32", new Float32Array(data.x.length), cell.shape) }
      : {};
    const fetches = Object.fromEntries(session.outputNames.map((name) => [name, y[name] ?? null]));
    /** @type {import("onnxruntime-common").InferenceSession.ReturnType} */
    let results;
    return {
      run: timedAsync(async () => {
        results = await session.run(feeds, fetches);
      }),
      outputs: async () => ({
        y: results.y.data,
        ...(results.running_mean
          ? { mean: results.running_mean.data, variance: results.running_var.data }
          : {}),
      }),
      dispose: () => session.release(),
    };
  };
}
