import { batchNormInference } from "batchnorm-wasm";
import golden from "../golden.mjs";
import { report } from "../report.js";

report(() => {
  const { shape, weight, bias, steps, eval: evaluation } = golden.torch;
  const { running_mean: mean, running_var: variance } = steps.at(-1);
  const x = { data: Float32Array.from(evaluation.x), shape };
  const { data } = batchNormInference(x, { mean, variance, weight, bias });
  // The bound of `program.mjs`.
  const bound = 8 * 2 ** -23 * Math.max(...evaluation.y.map(Math.abs));
  const same = data.every((value, i) => Math.abs(value - evaluation.y[i]) <= bound);
  const reason = `${data} instead of ${evaluation.y}`;
  return {
    checks: [{ name: "y", ...(same ? { status: "passed" } : { status: "failed", reason }) }],
  };
});
