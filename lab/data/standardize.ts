/** Features, and targets of regression, in standard deviations of the training rows. */
import { RunningMoments, scope } from "batchnorm-wasm";
import { type Dataset, isWeighted, type Samples } from "../engine/dataset.js";

/**
 * Standardizes tables. Where values are missing (NaN), the moments are those of the values that are there; behind
 * them 0, the mean, stands in the gaps, an input more for each feature with gaps in training is 1 where it is
 * missing, and a row's weight is the part of its features that is there.
 */
export function standardize(data: Dataset): Dataset {
  const { train } = data;
  const { inputs } = data.input;
  const columns = Array.from({ length: inputs }, (_, c) => scalerOf(columnOf(train.x, inputs, c)));
  const y = data.classes ? (values: Float64Array) => values : scalerOf(train.y);
  const gappy = columns.flatMap((_, c) =>
    columnOf(train.x, inputs, c).some(Number.isNaN) ? [c] : [],
  );
  const weighted = isWeighted(data);
  const width = inputs + gappy.length;
  const both = (samples: Samples): Samples => {
    const { rows } = samples;
    const x = new Float64Array(rows * width);
    const weights = new Float64Array(rows).fill(1);
    columns.forEach((scale, c) => {
      const given = columnOf(samples.x, inputs, c);
      const scaled = scale(given);
      const indicator = gappy.indexOf(c);
      given.forEach((value, row) => {
        const missing = Number.isNaN(value);
        x[row * width + c] = missing ? 0 : (scaled[row] as number);
        if (!missing) return;
        weights[row] = (weights[row] as number) - 1 / inputs;
        if (indicator >= 0) x[row * width + inputs + indicator] = 1;
      });
    });
    // What rounding leaves of a row that is all gaps is no weight.
    const shares = weights.map((weight) => Math.round(weight * inputs) / inputs);
    return { rows, x, y: y(samples.y), ...(weighted && { weights: shares }) };
  };
  return { ...data, input: { inputs: width }, train: both(data.train), test: both(data.test) };
}

function columnOf(x: Float64Array, inputs: number, c: number): Float64Array {
  return Float64Array.from(
    { length: x.length / inputs },
    (_, row) => x[row * inputs + c] as number,
  );
}

/**
 * By the package's running moments, of the values that are there. The first of them is taken away before: what is
 * far off loses digits in float32. A feature of which training has no value has no scale, and is 0.
 */
function scalerOf(training: Float64Array): (values: Float64Array) => Float64Array {
  const mask = Array.from(training, (value) => !Number.isNaN(value));
  const first = mask.indexOf(true);
  if (first < 0) return (values) => new Float64Array(values.length);
  const pivot = training[first] as number;
  const plain = (values: Float64Array) => ({
    data: Float32Array.from(values, (value) => value - pivot),
    shape: [values.length, 1],
  });
  const moments = new RunningMoments();
  scope(() => void moments.update(plain(training), { mask }));
  return (values) => scope(() => Float64Array.from(moments.normalize(plain(values)).data));
}
