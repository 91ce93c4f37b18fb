/** Two-dimensional toys: points of which a network is to tell the class. */
import type { Dataset, Samples } from "../engine/dataset.js";
import { normalFrom, randomFrom } from "../engine/random.js";

export type ToyName = "spirals" | "moons" | "rings";

const [TRAIN, TEST] = [512, 256];

/** A point of a class: `part` from 0 to 1 along its shape. */
type Shape = (part: number, label: number) => readonly [x: number, y: number];

const SHAPES: Readonly<Record<ToyName, { classes: number; noise: number; shape: Shape }>> = {
  spirals: {
    classes: 2,
    noise: 0.06,
    shape: (part, label) => {
      const radius = 0.1 + 1.9 * part;
      const angle = 1.5 * 2 * Math.PI * part + Math.PI * label;
      return [radius * Math.cos(angle), radius * Math.sin(angle)];
    },
  },
  moons: {
    classes: 2,
    noise: 0.15,
    shape: (part, label) => {
      const angle = Math.PI * part;
      return label
        ? [1.5 - 1.3 * Math.cos(angle) - 0.85, 0.35 - 1.3 * Math.sin(angle)]
        : [1.3 * Math.cos(angle) - 0.65, 1.3 * Math.sin(angle) - 0.35];
    },
  },
  rings: {
    classes: 3,
    noise: 0.12,
    shape: (part, label) => {
      const radius = 0.35 + 0.7 * label;
      return [radius * Math.cos(2 * Math.PI * part), radius * Math.sin(2 * Math.PI * part)];
    },
  },
};

/** Points by a seed, for training and for testing. */
export function makeToy(name: ToyName, seed: number): Dataset {
  const { classes, noise, shape } = SHAPES[name];
  const random = randomFrom(seed ^ 0x2545f491);
  const normal = normalFrom(random);
  const points = (rows: number): Samples => {
    const x = new Float64Array(2 * rows);
    const y = Float64Array.from({ length: rows }, (_, row) => row % classes);
    y.forEach((label, row) => {
      const point = shape(random(), label);
      x.set([point[0] + noise * normal(), point[1] + noise * normal()], 2 * row);
    });
    return { rows, x, y };
  };
  return { input: { inputs: 2 }, classes, train: points(TRAIN), test: points(TEST) };
}
