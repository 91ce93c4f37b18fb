/**
 * Sets of points, padded to one length: all points of a set lie around one of three rings, and which ring is to
 * be told. One point says little, for rings are blurred; the more there are, the more they say together.
 */
import type { Dataset, Samples } from "../engine/dataset.js";
import { normalFrom, randomFrom } from "../engine/random.js";

/** Sets are padded to so many points; most have few. */
export const POSITIONS = 16;
const [TRAIN, TEST, CLASSES] = [512, 256, 3];
const NOISE = 0.4;

/**
 * Sets by a seed, for training and for testing: x is `[rows, 2, positions]`, and weights are 1 of points and 0 of
 * padding.
 *
 * @param positions to which they are padded, {@link POSITIONS} and more; the points are the same
 */
export function makeSets(seed: number, positions = POSITIONS): Dataset {
  const random = randomFrom(seed ^ 0x7f4a7c15);
  const normal = normalFrom(random);
  const sets = (rows: number): Samples => {
    const x = new Float64Array(2 * rows * positions);
    const weights = new Float64Array(rows * positions);
    const y = Float64Array.from({ length: rows }, (_, row) => row % CLASSES);
    y.forEach((label, row) => {
      const points = 1 + Math.floor(POSITIONS * random() ** 3);
      const radius = 0.5 + 0.7 * label;
      for (let i = 0; i < points; i++) {
        const angle = 2 * Math.PI * random();
        x[2 * row * positions + i] = radius * Math.cos(angle) + NOISE * normal();
        x[(2 * row + 1) * positions + i] = radius * Math.sin(angle) + NOISE * normal();
        weights[row * positions + i] = 1;
      }
    });
    return { rows, x, y, weights };
  };
  const input = { inputs: 2 * positions, positions };
  return { input, classes: CLASSES, train: sets(TRAIN), test: sets(TEST) };
}
