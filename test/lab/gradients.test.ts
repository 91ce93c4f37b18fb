/** Every gradient of the lab's engine by finite differences. */
import { describe, expect, test } from "vitest";
import type { Dataset } from "../../lab/engine/dataset.js";
import { normalFrom, randomFrom } from "../../lab/engine/random.js";
import { type Settings, settingsOf } from "../../lab/engine/settings.js";
import { Trainer } from "../../lab/engine/trainer.js";

const ROWS = 12;
const VECTORS = { inputs: 3 } as const;
const IMAGES = { inputs: 12, image: [3, 4] } as const;
/** Sequences of two features, with 1 to 5 positions. */
const SEQUENCES = { inputs: 10, positions: 5 } as const;

/** A small network, that is differentiable where norms are in float32 and steps have to be wide. */
const small: Partial<Settings> = { depth: 2, width: 4, batchSize: ROWS, activation: "tanh" };

const plain: [name: string, settings: Partial<Settings>][] = [
  ["tanh", { norm: "none" }],
  ["ReLU", { norm: "none", activation: "relu" }],
  ["leaky ReLU", { norm: "none", activation: "leaky-relu" }],
  ["L1", { norm: "none", l1: 0.1 }],
  ["L2", { norm: "none", l2: 0.1 }],
];
const normed: [name: string, settings: Partial<Settings>][] = [
  ["batch", { norm: "batch" }],
  ["batch with large ε", { norm: "batch", eps: 0.5 }],
  ["batch without γ", { norm: "batch", gamma: false }],
  ["batch without β", { norm: "batch", beta: false }],
  ["ghost batches", { norm: "batch", ghost: 6 }],
  ["frozen batch", { norm: "batch", frozen: true }],
  ["naive", { norm: "naive" }],
  ["frozen naive", { norm: "naive", frozen: true }],
  ["group", { norm: "group", width: 8, groups: 2 }],
  ["layer", { norm: "layer" }],
  ["RMS", { norm: "rms" }],
  ["dropout after the norm", { norm: "batch", dropout: 0.4 }],
  ["dropout before the norm", { norm: "batch", dropout: 0.4, dropoutPlace: "before" }],
  ["penalties of γ and β", { norm: "batch", l1: 0.1, l2: 0.1, penalizeNorm: true }],
  ["L1 of γ", { norm: "group", width: 8, groups: 2, gammaL1: 0.1 }],
];

describe.each([
  ["linear layers", VECTORS],
  ["convolutions", IMAGES],
  ["padded sequences", SEQUENCES],
] as const)("%s", (_, input) => {
  test.each(plain)("%s, cross entropy", (_, settings) => check(input, 3, settings));
  test.each(plain)("%s, squared error", (_, settings) => check(input, 0, settings));
  // Ghost batches take no mask: the package refuses it, and so the page says.
  const fitting = normed.filter(([name]) => input !== SEQUENCES || name !== "ghost batches");
  test.each(fitting)("%s", (_, settings) => check(input, 3, settings));
});

test("instance norm, of images", () => check(IMAGES, 3, { norm: "instance" }));

describe("statistics that count padding, too", () => {
  const unmasked = normed.filter(([name]) => /^(batch|ghost|frozen batch)/.test(name));
  test.each(unmasked)("%s", (_, settings) => check(SEQUENCES, 3, { ...settings, mask: false }));
});

test("rows that count by what they have", () => {
  const weights = Float64Array.from({ length: ROWS }, (_, row) => (row % 4) / 3);
  check(VECTORS, 3, { norm: "batch" }, weights);
});

/** Compares each parameter's gradient with a difference of the fourth order. */
function check(
  input: Dataset["input"],
  classes: number,
  given: Partial<Settings>,
  weights?: Float64Array,
): void {
  // Behind batch norm a step counts by the size of the weights; those of sequences, of few inputs, come small.
  const initialScale = input.positions === undefined || given.norm === "none" ? 1 : 3;
  const settings = settingsOf({ ...small, initialScale, ...given });
  const data = dataOf(input, classes, weights);
  const trainer = trainerOf(data, settings);
  trainer.gradients(data.train);
  // Float32 in a norm gives a loss that is off by about 1e-7, which a step divides.
  // Without, a narrow step passes no kink of a ReLU.
  const [h, bound] = settings.norm === "none" ? [1e-6, 1e-8] : [0.01, 2e-5];
  let compared = 0;
  trainer.network.parameters.forEach((parameter, at) => {
    const { length } = parameter.values;
    const places = [0, Math.floor(length / 3), Math.floor(length / 2), length - 1];
    for (const i of new Set(places)) {
      // Across 0 the L1 penalty has a kink.
      if (settings.l1 > 0 && Math.abs(parameter.values[i] as number) < 2 * h) continue;
      compared++;
      const difference =
        (8 * (lossAt(data, settings, at, i, h) - lossAt(data, settings, at, i, -h)) -
          (lossAt(data, settings, at, i, 2 * h) - lossAt(data, settings, at, i, -2 * h))) /
        (12 * h);
      const off = Math.abs((parameter.grad[i] as number) - difference);
      expect(off, `${parameter.name}[${i}]: ${parameter.grad[i]} and ${difference}`).toBeLessThan(
        bound * Math.max(1, Math.abs(difference)),
      );
    }
  });
  expect(compared).toBeGreaterThan(trainer.network.parameters.length);
  // What a gradient of zeros would pass says nothing.
  const largest = trainer.network.parameters.map(({ grad }) => Math.max(...grad.map(Math.abs)));
  expect(Math.max(...largest)).toBeGreaterThan(0.01);
  trainer.dispose();
}

/** The loss with its penalties, where one value is another; anew, since a pass moves statistics. */
function lossAt(data: Dataset, settings: Settings, at: number, i: number, by: number): number {
  const trainer = trainerOf(data, settings);
  const parameter = trainer.network.parameters[at];
  if (!parameter) throw new Error("there is no such parameter");
  parameter.values[i] = (parameter.values[i] as number) + by;
  parameter.store?.();
  const { loss, penalty } = trainer.gradients(data.train);
  trainer.dispose();
  return loss + penalty;
}

/** By a seed, with γ and β that are not 1 and 0. */
function trainerOf(data: Dataset, settings: Settings): Trainer {
  const trainer = new Trainer(data, settings, 3);
  const normal = normalFrom(randomFrom(5));
  for (const parameter of trainer.network.parameters) {
    if (parameter.role === "weight") continue;
    parameter.values.forEach((value, i) => {
      parameter.values[i] = Math.fround(value + 0.3 * normal());
    });
    parameter.store?.();
  }
  return trainer;
}

/** Of sequences each row has another length. */
function dataOf(input: Dataset["input"], classes: number, rowWeights?: Float64Array): Dataset {
  const normal = normalFrom(randomFrom(7));
  const x = Float64Array.from({ length: ROWS * input.inputs }, () => Math.fround(normal()));
  const y = Float64Array.from({ length: ROWS }, (_, i) => (classes ? i % classes : normal()));
  const { positions } = input;
  const weights =
    positions === undefined
      ? rowWeights
      : Float64Array.from({ length: ROWS * positions }, (_, at) =>
          at % positions <= Math.floor(at / positions) % positions ? 1 : 0,
        );
  if (positions !== undefined) {
    x.forEach((_, i) => {
      const row = Math.floor(i / input.inputs);
      if (weights?.[row * positions + (i % positions)] === 0) x[i] = 0;
    });
  }
  const samples = { rows: ROWS, x, y, weights };
  return { input, classes, train: samples, test: samples };
}
