/**
 * A table with gaps, made by chance: six measurements of different sizes and units, of which each row lacks some,
 * and some rows most. Which of three kinds a row is of is to be told.
 */
import type { Dataset, Samples } from "../engine/dataset.js";
import { normalFrom, randomFrom } from "../engine/random.js";

const [TRAIN, TEST] = [600, 300];
/** Of each measurement its middle, its deviation, and how far the three kinds are from the middle, in deviations. */
const MEASUREMENTS = [
  { middle: 293, deviation: 8, kinds: [-0.9, 0.2, 0.8] },
  { middle: 101_300, deviation: 900, kinds: [0.7, -1, 0.3] },
  { middle: 0.02, deviation: 0.004, kinds: [0.1, 0.9, -0.9] },
  { middle: 55, deviation: 15, kinds: [-0.6, -0.3, 1] },
  { middle: -3, deviation: 2, kinds: [0.9, -0.8, 0] },
  { middle: 1200, deviation: 350, kinds: [-0.4, 0.9, -0.6] },
] as const;

/** Rows by a seed, for training and for testing, as they were measured: what is missing is NaN. */
export function makeGaps(seed: number): Dataset {
  const random = randomFrom(seed ^ 0x3ad8025f);
  const normal = normalFrom(random);
  const inputs = MEASUREMENTS.length;
  const measure = (rows: number): Samples => {
    const x = new Float64Array(rows * inputs);
    const y = Float64Array.from({ length: rows }, (_, row) => row % 3);
    y.forEach((kind, row) => {
      const lacking = 0.9 * random() ** 2;
      MEASUREMENTS.forEach(({ middle, deviation, kinds }, i) => {
        const value = middle + deviation * ((kinds[kind] as number) + 0.7 * normal());
        x[row * inputs + i] = random() < lacking ? Number.NaN : value;
      });
    });
    return { rows, x, y };
  };
  return { input: { inputs }, classes: 3, train: measure(TRAIN), test: measure(TEST) };
}
