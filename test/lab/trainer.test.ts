/** A run of the lab: its seed, its modes, its memory, and the settings it refuses. */
import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import { BatchNormError, memoryUsage } from "batchnorm-wasm";
import { describe, expect, test } from "vitest";
import { readDigits } from "../../lab/data/digits.js";
import { makeToy, type ToyName } from "../../lab/data/toys.js";
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
