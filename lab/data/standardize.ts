/** Features, and targets of regression, in standard deviations of the training rows. */
import { RunningMoments, scope } from "batchnorm-wasm";
import type { Dataset } from "../engine/dataset.js";

export function standardize(data: Dataset): Dataset {
  const { inputs } = data.input;
  const x = scalerOf(data.train.x, inputs);
  const y = data.classes ? (values: Float64Array) => values : scalerOf(data.train.y, 1);
  const both = (samples: Dataset["train"]) => ({ ...samples, x: x(samples.x), y: y(samples.y) });
  return { ...data, train: both(data.train), test: both(data.test) };
}

/** By the package's running moments. The first row is taken away before: what is far off loses digits in float32. */
function scalerOf(training: Float64Array, features: number) {
  const pivot = training.slice(0, features);
  const plain = (values: Float64Array) => ({
    data: Float32Array.from(values, (value, i) => value - (pivot[i % features] as number)),
    shape: [values.length / features, features],
  });
  const moments = new RunningMoments();
  scope(() => void moments.update(plain(training)));
  return (values: Float64Array) =>
    scope(() => Float64Array.from(moments.normalize(plain(values)).data));
}
