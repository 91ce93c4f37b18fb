/** What is learned from: rows of numbers, each with a class or a number to be told. */
import type { InputShape } from "./network.js";

export interface Samples {
  readonly rows: number;
  /** `[rows, inputs]`. */
  readonly x: Float64Array;
  /** Of each row its class, from 0 on, or its number. */
  readonly y: Float64Array;
  /**
   * How much each position of a row counts in statistics, `[rows, positions]`, of data without positions
   * `[rows]`: of a sequence 1, and 0 where it is padding, whose x is 0; of a row of a table the part of its values
   * that are there. Absent: all count alike.
   */
  readonly weights?: Float64Array | undefined;
}

export interface Dataset {
  readonly input: InputShape;
  /** Number of classes; 0 for regression. */
  readonly classes: number;
  readonly train: Samples;
  readonly test: Samples;
}

/** Whether some rows, or positions, count more than others: of a table, whether values are missing (NaN). */
export function isWeighted({ train, test }: Dataset): boolean {
  return [train, test].some(({ x, weights }) => weights !== undefined || x.some(Number.isNaN));
}

/** Some rows, in the order in which they are named. */
export function take({ x, y, rows, weights }: Samples, chosen: ArrayLike<number>): Samples {
  const some = (values: Float64Array) => {
    const size = values.length / rows;
    const found = new Float64Array(chosen.length * size);
    for (let i = 0; i < chosen.length; i++) {
      const row = chosen[i] as number;
      found.set(values.subarray(row * size, (row + 1) * size), i * size);
    }
    return found;
  };
  return {
    ...{ rows: chosen.length, x: some(x), y: some(y) },
    ...(weights && { weights: some(weights) }),
  };
}

/** The rows from `start` to before `end`, without a copy. */
export function slice({ x, y, rows, weights }: Samples, start: number, end: number): Samples {
  const some = (values: Float64Array) => {
    const size = values.length / rows;
    return values.subarray(start * size, end * size);
  };
  return {
    ...{ rows: end - start, x: some(x), y: some(y) },
    ...(weights && { weights: some(weights) }),
  };
}

/**
 * Data to which something was done: `offset` is added to all features, and each feature of the test rows has
 * drifted by so many of its standard deviations in training. Padding stays 0.
 */
export function changed(data: Dataset, { offset, drift }: Changes): Dataset {
  if (offset === 0 && drift === 0) return data;
  const { input, train, test } = data;
  const moved = (samples: Samples, by: (feature: number) => number): Samples => {
    const place = placesOf(input, samples);
    const x = samples.x.map((value, i) => (place.there(i) ? value + by(place.feature(i)) : value));
    return { ...samples, x };
  };
  const deviations = deviationsOf(data);
  return {
    ...data,
    train: moved(train, () => offset),
    test: moved(test, (feature) => offset + drift * (deviations[feature] as number)),
  };
}

export interface Changes {
  readonly offset: number;
  readonly drift: number;
}

/** Of each feature in training; what is missing (NaN) or padding has none. */
function deviationsOf({ input, train }: Dataset): Float64Array {
  const place = placesOf(input, train);
  const features = input.inputs / (input.positions ?? 1);
  const meansOf = (of: (value: number, feature: number) => number) => {
    const [sums, counts] = [new Float64Array(features), new Float64Array(features)];
    train.x.forEach((value, i) => {
      if (!place.there(i) || Number.isNaN(value)) return;
      const feature = place.feature(i);
      sums[feature] = (sums[feature] as number) + of(value, feature);
      counts[feature] = (counts[feature] as number) + 1;
    });
    return sums.map((sum, feature) => sum / Math.max(1, counts[feature] as number));
  };
  const mean = meansOf((value) => value);
  return meansOf((value, feature) => (value - (mean[feature] as number)) ** 2).map(Math.sqrt);
}

/** Of an element of x its feature, and whether it is there, or padding. */
function placesOf({ inputs, positions }: InputShape, { weights }: Samples) {
  if (positions === undefined) return { feature: (i: number) => i % inputs, there: () => true };
  return {
    feature: (i: number) => Math.floor((i % inputs) / positions),
    there: (i: number) => weights?.[Math.floor(i / inputs) * positions + (i % positions)] !== 0,
  };
}
