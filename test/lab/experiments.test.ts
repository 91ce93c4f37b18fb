/** What the texts of the lab's experiments claim, over five seeds each. */
import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import { scope } from "batchnorm-wasm";
import { describe, expect, test } from "vitest";
import { readDigits } from "../../lab/data/digits.js";
import { makeSets, POSITIONS } from "../../lab/data/sets.js";
import { makeToy, type ToyName } from "../../lab/data/toys.js";
import { changed, type Dataset } from "../../lab/engine/dataset.js";
import { type Settings, settingsOf } from "../../lab/engine/settings.js";
import { type Snapshot, Trainer } from "../../lab/engine/trainer.js";
import { type ExperimentName, experiment } from "../../lab/page/experiments.js";
import { isTable, type LabState } from "../../lab/page/state.js";

const csv = gunzipSync(
  readFileSync(new URL("../../examples/data/digits.csv.gz", import.meta.url)),
).toString();
const digits = readDigits(csv, false);

/** A run from its first step to its last. */
interface Seen {
  readonly firstLoss: number;
  readonly first: Snapshot;
  readonly last: Snapshot;
  readonly trainer: Trainer;
}

describe.each([1, 2, 3, 4, 5])("seed %i", (seed) => {
  test("the learning rate ten times up is borne with batch norm, and not without", () => {
    const [a, b, c, d] = see("rate", seed);
    for (const run of [a, b, c]) expect(accuracy(run)).toBeGreaterThan(0.85);
    expect(accuracy(b)).toBeGreaterThan(accuracy(a) - 0.03);
    expect(accuracy(d)).toBeLessThan(0.2);
    const dead = d.last.blocks.reduce((sum, { dead, channels }) => sum + dead / channels / 3, 0);
    expect(dead).toBeGreaterThan(0.5);
  });

  test("batches of 2 spoil batch norm, and less so renorm and group norm", () => {
    const [a, b, c, d] = see("smallBatch", seed);
    expect(accuracy(a)).toBeGreaterThan(accuracy(b) + 0.15);
    expect(loss(c)).toBeLessThan(0.8 * loss(b));
    expect(loss(d)).toBeLessThan(0.5 * loss(b));
  });

  test("a slow momentum is worse in evaluation alone", () => {
    const [a, b, c] = see("slowMomentum", seed);
    expect(b.last.test.training).toEqual(a.last.test.training);
    expect(c.last.test.training).toEqual(a.last.test.training);
    expect(loss(b)).toBeGreaterThan(3 * loss(a));
    expect(loss(c)).toBeGreaterThan(1.2 * loss(a));
    expect(loss(c)).toBeLessThan(loss(b));
  });

  test("by batches of two in training mode batch norm tells little, and group norm the same", () => {
    const [a, b] = see("fewTested", seed);
    expect(accuracy(a)).toBeGreaterThan(0.88);
    expect(accuracy(a, "training")).toBeLessThan(0.6);
    expect(Math.abs(accuracy(b) - accuracy(b, "training"))).toBeLessThan(0.01);
  });

  test("the test data's own statistics take their drift away", () => {
    const [a, b] = see("drift", seed);
    const undrifted = ({ trainer }: Seen) =>
      trainer.evaluate(digits.test, "evaluation").accuracy as number;
    const asTheyWere = undrifted(a);
    expect(asTheyWere - accuracy(a)).toBeGreaterThan(undrifted(b) - accuracy(b));
    expect(accuracy(a)).toBeLessThan(asTheyWere - 0.15);
    expect(accuracy(a, "training")).toBeGreaterThan(asTheyWere - 0.04);
    expect(Math.abs(accuracy(b) - accuracy(b, "training"))).toBeLessThan(0.01);
    expect(accuracy(b)).toBeLessThan(accuracy(a, "training") - 0.03);
  });

  test("in a deep plain network gradients vanish, and with batch norm they arrive", () => {
    const [a, b] = see("deep", seed);
    expect(ratio(a.first)).toBeLessThan(1e-3);
    expect(ratio(a.last)).toBeLessThan(1e-3);
    expect(accuracy(a)).toBeLessThan(0.45);
    // It doesn't make depth harmless: they grow.
    expect(ratio(b.first)).toBeGreaterThan(5);
    expect(ratio(b.last)).toBeGreaterThan(1);
    expect(accuracy(b)).toBeGreaterThan(0.7);
  });

  test("behind batch norm a weight's scale changes how fast is learned alone, and L2 mends it", () => {
    const [a, b, c] = see("scale", seed);
    expect(Math.abs(a.firstLoss - b.firstLoss)).toBeLessThan(1e-3);
    const gradient = ({ first }: Seen) => first.blocks[0]?.weightGradient as number;
    expect(gradient(a) / gradient(b)).toBeCloseTo(10, 1);
    expect(loss(b)).toBeGreaterThan(1.5 * loss(a));
    expect(loss(c)).toBeLessThan(0.95 * loss(b));
    expect(accuracy(c)).toBeGreaterThan(accuracy(b) + 0.02);
  });

  test("dropout before the norm leaves running deviations too large, and a higher loss", () => {
    const [a, b] = see("dropout", seed);
    expect(deviations(a)).toBeLessThan(1.15);
    expect(deviations(b)).toBeGreaterThan(1.4);
    expect(loss(b)).toBeGreaterThan(loss(a));
  });

  test("a naive variance is beyond numbers far from 0, where the package's learns as near it", () => {
    const [a, b] = see("naive", seed);
    const state = experiment("naive", seed);
    const [near, nearNaive] = (["batch", "naive"] as const).map((norm) => {
      const trainer = new Trainer(dataOf(state), settingsOf({ norm }), seed);
      while (trainer.step < state.steps) trainer.learn();
      return trainer.snapshot();
    }) as [Snapshot, Snapshot];
    expect(Math.abs(a.last.batchLoss / near.batchLoss - 1)).toBeLessThan(0.02);
    expect(accuracy(a, "training")).toBeGreaterThan((near.test.training.accuracy as number) - 0.02);
    expect(b.last.diverged).toBe(true);
    expect(Math.abs(nearNaive.batchLoss / near.batchLoss - 1)).toBeLessThan(0.02);
    // Running statistics can't follow.
    expect(accuracy(a)).toBeLessThan(0.6);
    expect(near.test.evaluation.accuracy).toBeGreaterThan(0.9);
  });

  test("with a mask padding is nothing to batch norm, and without it costs", () => {
    const [a, b, c] = see("padded", seed);
    expect(loss(b)).toBeGreaterThan(1.25 * loss(a));
    expect(loss(b, "training")).toBeGreaterThan(1.25 * loss(a, "training"));
    expect(loss(c)).toBeGreaterThan(1.5 * loss(a));
    expect(accuracy(a)).toBeGreaterThan(0.75);
    // What is behind the norm of the points alone, with the γ and β that it begins with: channels that lie off
    // 0 to both sides have a larger deviation together.
    const behind = ({ first }: Seen) => first.blocks[0]?.after.std as number;
    expect(behind(a)).toBeCloseTo(1, 2);
    expect(behind(b)).toBeGreaterThan(1.2);
    // Twice as much padding changes nothing with the mask.
    const state = experiment("padded", seed);
    const twice = new Trainer(
      changed(makeSets(seed, 2 * POSITIONS), state),
      state.runs[0] as Settings,
      seed,
    );
    while (twice.step < 30) twice.learn();
    const alike = new Trainer(a.trainer.data, state.runs[0] as Settings, seed);
    while (alike.step < 30) alike.learn();
    const [found, expected] = [twice, alike].map(
      (run) => run.evaluate(run.data.test, "training").loss,
    ) as [number, number];
    expect(Math.abs(found / expected - 1)).toBeLessThan(1e-4);
  });

  test("L1 of γ draws many of them to 0, for little accuracy", () => {
    const [a, b] = see("slimming", seed);
    expect(small(a)).toBe(0);
    expect(small(b)).toBeGreaterThan(1 / 3);
    expect(accuracy(b)).toBeGreaterThan(accuracy(a) - 0.05);
  });
});

function see(name: ExperimentName, seed: number): [Seen, Seen, Seen, Seen] {
  const state = experiment(name, seed);
  const data = changed(dataOf(state), state);
  const seen = state.runs.map((settings) => {
    const trainer = new Trainer(data, settings, seed, state.testBatch);
    const firstLoss = trainer.learn();
    const first = trainer.snapshot();
    while (trainer.step < state.steps) trainer.learn();
    return { firstLoss, first, last: trainer.snapshot(), trainer };
  });
  return seen as [Seen, Seen, Seen, Seen];
}

function dataOf({ data, seed }: LabState): Dataset {
  if (data === "digits") return digits;
  if (data === "sets") return makeSets(seed);
  if (data === "images" || isTable(data)) throw new Error(`no experiment is with ${data}`);
  return makeToy(data as ToyName, seed);
}

function accuracy({ last }: Seen, mode: "evaluation" | "training" = "evaluation"): number {
  return last.test[mode].accuracy as number;
}

function loss({ last }: Seen, mode: "evaluation" | "training" = "evaluation"): number {
  return last.test[mode].loss;
}

/** The first layer's gradients as a part of the last one's. */
function ratio({ blocks }: Snapshot): number {
  return (blocks[0]?.flow as number) / (blocks.at(-1)?.flow as number);
}

/** How many times as large running deviations are as those of the test data, in the middle. */
function deviations({ trainer }: Seen): number {
  const { data, network } = trainer;
  const { test: samples } = data;
  const pass = { training: true, learning: false, seed: 0, weights: null };
  scope(() => network.forward(samples.x, samples.rows, pass));
  const norm = network.blocks[0]?.norm?.batch;
  const variance = norm?.saved?.variance ?? [];
  const running = norm?.runningVar?.data ?? [];
  const ratios = Array.from(running, (value, c) => Math.sqrt(value / (variance[c] as number)));
  return ratios.sort((a, b) => a - b)[ratios.length >> 1] as number;
}

/** Which part of all γ is near 0. */
function small({ last }: Seen): number {
  const all = last.blocks.flatMap(({ gamma }) => gamma ?? []);
  return all.filter((gamma) => Math.abs(gamma) < 0.05).length / all.length;
}
