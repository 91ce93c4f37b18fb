/** A run of the lab: its seed, its modes, its memory, and the settings it refuses. */
import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import { BatchNormError, memoryUsage } from "batchnorm-wasm";
import { describe, expect, test } from "vitest";
import { readDigits } from "../../lab/data/digits.js";
import { makeGaps } from "../../lab/data/gaps.js";
import { makeSets, POSITIONS } from "../../lab/data/sets.js";
import { standardize } from "../../lab/data/standardize.js";
import { makeToy, type ToyName } from "../../lab/data/toys.js";
import { changed, type Dataset, slice, take } from "../../lab/engine/dataset.js";
import { checkSettings, SETTINGS, SettingError, settingsOf } from "../../lab/engine/settings.js";
import { Trainer } from "../../lab/engine/trainer.js";

const csv = gunzipSync(
  readFileSync(new URL("../../examples/data/digits.csv.gz", import.meta.url)),
).toString();

const losses = (trainer: Trainer, steps: number) =>
  Array.from({ length: steps }, () => trainer.learn());

test("a seed determines a run to the bit, and another seed gives another run", () => {
  const run = (seed: number) =>
    losses(new Trainer(makeToy("spirals", 1), settingsOf({ dropout: 0.2 }), seed), 20);
  expect(run(1)).toEqual(run(1));
  expect(run(1)).not.toEqual(run(2));
});

test("runs that differ in their norm see the same rows and begin with the same weights", () => {
  const data = makeToy("rings", 1);
  const [a, b] = (["none", "batch"] as const).map(
    (norm) => new Trainer(data, settingsOf({ norm }), 1),
  );
  const weights = (trainer?: Trainer) =>
    trainer?.network.parameters.filter(({ role }) => role === "weight").map(({ values }) => values);
  expect(weights(a)).toEqual(weights(b));
});

test("to look at a run changes nothing of it", () => {
  const trainers = [1, 2].map(
    () => new Trainer(makeToy("moons", 1), settingsOf({ dropout: 0.2 }), 1),
  );
  const [watched, alone] = trainers as [Trainer, Trainer];
  for (let i = 0; i < 10; i++) {
    expect(watched.learn()).toBe(alone.learn());
    watched.evaluate(watched.data.test, "training");
    watched.snapshot();
    watched.predict(watched.data.test.x, watched.data.test.rows);
  }
  expect(watched.snapshot().blocks).toEqual(alone.snapshot().blocks);
});

test("evaluation goes by running statistics and training mode by the batch's", () => {
  // Running statistics that never move are those of the beginning.
  const trainer = new Trainer(makeToy("spirals", 1), settingsOf({ normMomentum: 1e-6 }), 1);
  losses(trainer, 200);
  const { test: found } = trainer.snapshot();
  expect(found.training.loss).toBeLessThan(0.7 * found.evaluation.loss);
});

test.each([
  ["none", 0.85],
  ["batch", 0.85],
  ["group", 0.85],
  ["layer", 0.85],
  ["rms", 0.85],
] as const)("with %s digits are learned", (norm, accuracy) => {
  const trainer = new Trainer(readDigits(csv, false), settingsOf({ norm }), 1);
  losses(trainer, 200);
  const { test: found, diverged, blocks } = trainer.snapshot();
  expect(found.evaluation.accuracy).toBeGreaterThan(accuracy);
  expect(diverged).toBe(false);
  expect(blocks.map(({ statistics }) => statistics !== null)).toEqual([
    norm === "batch",
    norm === "batch",
  ]);
});

test("convolutions with instance norm learn images of digits", () => {
  const settings = settingsOf({ norm: "instance", width: 8, depth: 1 });
  const trainer = new Trainer(readDigits(csv, true), settings, 1);
  losses(trainer, 80);
  expect(trainer.evaluate(trainer.data.test, "evaluation").accuracy).toBeGreaterThan(0.8);
});

test.each(["spirals", "moons", "rings"] as ToyName[])("%s are learned", (name) => {
  const trainer = new Trainer(makeToy(name, 1), settingsOf({ depth: 3 }), 1);
  losses(trainer, 400);
  expect(trainer.evaluate(trainer.data.test, "evaluation").accuracy).toBeGreaterThan(0.9);
});

describe("padded sets", () => {
  /** Ten steps with points to which so much padding was added. */
  const run = (positions: number, mask: boolean) => {
    const settings = settingsOf({ mask, batchSize: 16 });
    const data = changed(makeSets(1, positions), { offset: 3, drift: 0 });
    const trainer = new Trainer(data, settings, 1);
    return { losses: losses(trainer, 10), trainer };
  };

  test("with a mask more padding gives the same run, and without another one", () => {
    const off = (mask: boolean) => {
      const [few, many] = [run(POSITIONS, mask), run(2 * POSITIONS, mask)] as const;
      return Math.max(...few.losses.map((loss, i) => Math.abs(loss - (many.losses[i] as number))));
    };
    // Sums of more zeros, in another order: float32 alone.
    expect(off(true)).toBeLessThan(1e-5);
    expect(off(false)).toBeGreaterThan(0.05);
  });

  test("what stands in padding is nothing to what is learned with a mask", () => {
    const data = makeSets(1);
    const x = data.train.x.map((value, i) => (value === 0 ? Math.sin(i) * 1000 : value));
    const other: Dataset = { ...data, train: { ...data.train, x } };
    const of = (given: Dataset, mask: boolean) =>
      losses(new Trainer(given, settingsOf({ batchSize: 16, mask }), 1), 10);
    const off = (mask: boolean) => {
      const expected = of(data, mask);
      return Math.max(
        ...of(other, mask).map((loss, i) => Math.abs(loss - (expected[i] as number))),
      );
    };
    expect(off(true)).toBeLessThan(1e-5);
    expect(off(false)).toBeGreaterThan(0.05);
  });

  test("reports are of the points alone, and statistics of what the norm counts", () => {
    for (const mask of [true, false]) {
      const { trainer } = run(POSITIONS, mask);
      const batchMean = trainer.network.blocks[0]?.norm?.batch?.saved?.mean as Float64Array;
      const points = (trainer.network.weights as Float64Array).filter((weight) => weight > 0);
      const [block] = trainer.snapshot().blocks;
      expect(block?.before.counts.reduce((sum, count) => sum + count)).toBe(32 * points.length);
      block?.statistics?.batchMean.forEach((mean, c) => {
        expect(mean).toBeCloseTo(batchMean[c] as number, 5);
      });
    }
  });

  test("an offset and drift move points, and no padding", () => {
    const data = makeSets(1);
    const { train, test: moved } = changed(data, { offset: 5, drift: 2 });
    const { positions = 0, inputs } = data.input;
    const at = (row: number, feature: number, i: number) => row * inputs + feature * positions + i;
    data.test.weights?.forEach((weight, place) => {
      const [row, i] = [Math.floor(place / positions), place % positions];
      for (const feature of [0, 1]) {
        const value = moved.x[at(row, feature, i)] as number;
        if (weight === 0) expect(value).toBe(0);
        // Two deviations: of rings of 0.5, 1.2 and 1.9, about 1 each.
        else expect(value - (data.test.x[at(row, feature, i)] as number)).toBeGreaterThan(6.5);
      }
    });
    expect(train.x.filter((value) => value === 0).length).toBe(
      data.train.x.filter((value) => value === 0).length,
    );
  });

  test("layer and RMS norm are of a point by itself: padding changes nothing", () => {
    for (const norm of ["layer", "rms"] as const) {
      const of = (positions: number) =>
        losses(new Trainer(makeSets(1, positions), settingsOf({ norm, batchSize: 16 }), 1), 5);
      of(2 * POSITIONS).forEach((loss, i) => {
        expect(loss).toBeCloseTo(of(POSITIONS)[i] as number, 10);
      });
    }
  });

  test("ghost batches take no mask, in the package's words", () => {
    const trainer = new Trainer(makeSets(1), settingsOf({ ghost: 8 }), 1);
    expect(() => trainer.learn()).toThrow(/weights doesn't go with virtualBatchSize/);
    losses(new Trainer(makeSets(1), settingsOf({ ghost: 8, mask: false }), 1), 2);
  });

  test("rows are taken with their weights", () => {
    const { train } = makeSets(1);
    const weights = train.weights as Float64Array;
    expect(take(train, [3, 1]).weights).toEqual(
      Float64Array.of(
        ...weights.subarray(3 * POSITIONS, 4 * POSITIONS),
        ...weights.subarray(POSITIONS, 2 * POSITIONS),
      ),
    );
    expect(slice(train, 2, 4).weights).toEqual(weights.subarray(2 * POSITIONS, 4 * POSITIONS));
  });
});

test("a table with gaps is learned", () => {
  const trainer = new Trainer(standardize(makeGaps(1)), settingsOf({ learningRate: 0.05 }), 1);
  losses(trainer, 200);
  expect(trainer.evaluate(trainer.data.test, "evaluation").accuracy).toBeGreaterThan(0.75);
});

test("a run that diverges says so", () => {
  const settings = settingsOf({ norm: "none", activation: "leaky-relu", learningRate: 100 });
  const trainer = new Trainer(readDigits(csv, false), settings, 1);
  losses(trainer, 100);
  const { diverged, test: found } = trainer.snapshot();
  expect(diverged).toBe(true);
  expect(found.evaluation.accuracy).toBeLessThan(0.2);
});

test("reports tell gradients, dead channels and distributions", () => {
  const trainer = new Trainer(makeToy("rings", 1), settingsOf({ width: 16 }), 1);
  const beta = trainer.network.parameters.find(({ name }) => name === "1.beta");
  // A channel that is far below 0 is dead behind ReLU.
  beta?.values.fill(-100, 0, 3);
  beta?.store?.();
  trainer.learn();
  const [first] = trainer.snapshot().blocks;
  expect(first?.dead).toBe(3);
  expect(first?.channels).toBe(16);
  expect(first?.weightGradient).toBeGreaterThan(0);
  expect(first?.before.counts.reduce((sum, count) => sum + count)).toBe(32 * 16);
  // β of three channels is −100: Σβ/16.
  expect(first?.after.mean).toBeCloseTo(-300 / 16, 1);
});

test("kernel memory is flat over ten thousand steps", () => {
  const settings = settingsOf({ depth: 1, width: 4, batchSize: 8, dropout: 0.1 });
  const trainer = new Trainer(makeToy("moons", 1), settings, 1);
  losses(trainer, 10);
  trainer.snapshot();
  const { liveBytes, memoryBytes } = memoryUsage();
  for (let i = 0; i < 100; i++) {
    losses(trainer, 100);
    trainer.snapshot();
  }
  expect(memoryUsage()).toMatchObject({ liveBytes, memoryBytes });
  trainer.dispose();
  expect(memoryUsage().liveBytes).toBeLessThan(liveBytes);
});

describe("what a run refuses", () => {
  test.each([
    ["learningRate", "fast"],
    ["learningRate", Number.NaN],
    ["width", 1e6],
    ["width", 2.5],
    ["norm", "weight"],
    ["frozen", 1],
    ["momentum", 1],
  ])("%s = %j is a SettingError of that name", (key, value) => {
    expect(() => checkSettings({ [key]: value })).toThrowError(
      expect.objectContaining({ name: "SettingError", key }),
    );
  });

  test("a name that is none, and groups that don't divide the width", () => {
    expect(() => checkSettings({ momemtum: 0.9 })).toThrow(/momemtum: there is no such setting/);
    expect(() => settingsOf({ norm: "group", width: 10, groups: 4 })).toThrow(SettingError);
  });

  test("batches of one have no statistics", () => {
    const trainer = new Trainer(makeToy("moons", 1), settingsOf({ batchSize: 1 }), 1);
    expect(() => trainer.learn()).toThrow(BatchNormError);
  });

  test("what is null is as good as absent, and a new run is what the list says", () => {
    expect(checkSettings({ width: null })).toEqual(settingsOf());
    for (const { key, initial } of SETTINGS) expect(settingsOf()[key]).toBe(initial);
  });
});

test("digits of another form are refused by their line", () => {
  expect(() => readDigits("1,2,3", false)).toThrow("line 1 is not 65 numbers");
});
