/** What is learned from: rows of numbers, each with a class or a number to be told. */
import type { InputShape } from "./network.js";

export interface Samples {
  readonly rows: number;
  /** `[rows, inputs]`. */
  readonly x: Float64Array;
  /** Of each row its class, from 0 on, or its number. */
  readonly y: Float64Array;
}

export interface Dataset {
  readonly input: InputShape;
  /** Number of classes; 0 for regression. */
  readonly classes: number;
  readonly train: Samples;
  readonly test: Samples;
}

/** Some rows, in the order in which they are named. */
export function take({ x, y, rows }: Samples, chosen: ArrayLike<number>): Samples {
  const inputs = x.length / rows;
  const some = {
    rows: chosen.length,
    x: new Float64Array(chosen.length * inputs),
    y: new Float64Array(chosen.length),
  };
  for (let i = 0; i < chosen.length; i++) {
    const row = chosen[i] as number;
    some.x.set(x.subarray(row * inputs, (row + 1) * inputs), i * inputs);
    some.y[i] = y[row] as number;
  }
  return some;
}

/** The rows from `start` to before `end`, without a copy. */
export function slice({ x, y, rows }: Samples, start: number, end: number): Samples {
  const inputs = x.length / rows;
  return {
    rows: end - start,
    x: x.subarray(start * inputs, end * inputs),
    y: y.subarray(start, end),
  };
}

/**
 * Data to which something was done: `offset` is added to all features, and each feature of the test rows has
 * drifted by so many of its standard deviations in training.
 */
export function changed(data: Dataset, { offset, drift }: Changes): Dataset {
  if (offset === 0) return drifted(data, drift);
  const move = (samples: Samples) => ({ ...samples, x: samples.x.map((value) => value + offset) });
  return drifted({ ...data, train: move(data.train), test: move(data.test) }, drift);
}

export interface Changes {
  readonly offset: number;
  readonly drift: number;
}

function drifted(data: Dataset, drift: number): Dataset {
  if (drift === 0) return data;
  const { train, test } = data;
  const { inputs } = data.input;
  const by = Float64Array.from({ length: inputs }, (_, c) => {
    let [sum, square] = [0, 0];
    for (let at = c; at < train.x.length; at += inputs) sum += train.x[at] as number;
    const mean = sum / train.rows;
    for (let at = c; at < train.x.length; at += inputs)
      square += ((train.x[at] as number) - mean) ** 2;
    return drift * Math.sqrt(square / train.rows);
  });
  const x = test.x.map((value, at) => value + (by[at % inputs] as number));
  return { ...data, test: { ...test, x } };
}
