/** The lab's search: what it tries, what it judges by, and what it finds. */
import { describe, expect, test } from "vitest";
import { makeSets, POSITIONS } from "../../lab/data/sets.js";
import { makeToy } from "../../lab/data/toys.js";
import { SettingError, settingsOf } from "../../lab/engine/settings.js";
import { forValidation, planSweep, rank, type Space } from "../../lab/engine/sweep.js";
import { Trainer } from "../../lab/engine/trainer.js";
import { readSpace } from "../../lab/page/sweep-fields.js";

const base = settingsOf();
const space: Space = {
  norm: ["none", "batch", "layer"],
  batchSize: [16, 64],
  learningRate: [0.01, 0.1],
  normMomentum: [0.01, 0.1, 0.5],
  regularizer: [null, { key: "l2", strength: 0.01 }, { key: "gammaL1", strength: 0.01 }],
};
/** Momentum is batch norm's alone, and γ is of a norm. */
const ALL = 2 * 2 * (2 + 3 * 3 + 3);

describe("what is tried", () => {
  test("all there is, each once, where the budget has room", () => {
    const { trials, all } = planSweep(base, space, 1000, 1);
    expect(all).toBe(ALL);
    expect(new Set(trials.map((one) => JSON.stringify(one))).size).toBe(ALL);
    expect(trials.every(({ norm, gammaL1 }) => norm !== "none" || gammaL1 === 0)).toBe(true);
    expect(trials.filter(({ norm }) => norm === "layer").every((one) => one.normMomentum === 0.1));
  });

  test("else as many as the budget has, by a seed", () => {
    const of = (seed: number) => planSweep(base, space, 10, seed).trials;
    expect(new Set(of(1).map((one) => JSON.stringify(one))).size).toBe(10);
    expect(of(1)).toEqual(of(1));
    expect(of(1)).not.toEqual(of(2));
  });

  test("regularizers stand alone, whatever the base has", () => {
    const { trials } = planSweep({ ...base, l2: 0.5, dropout: 0.3 }, space, 1000, 1);
    expect(new Set(trials.map(({ l2, dropout }) => `${l2} ${dropout}`))).toEqual(
      new Set(["0 0", "0.01 0"]),
    );
  });

  test("what can't be is an error, and groups that don't divide leave the others", () => {
    expect(() => planSweep(base, { ...space, batchSize: [0] }, 10, 1)).toThrow(SettingError);
    expect(() => planSweep(base, { ...space, norm: [] }, 10, 1)).toThrow(/nothing is to be tried/);
    const odd = { ...settingsOf({ width: 10, norm: "none" }), groups: 4 };
    const { trials } = planSweep(odd, { ...space, norm: ["group", "layer"] }, 1000, 1);
    expect(new Set(trials.map(({ norm }) => norm))).toEqual(new Set(["layer"]));
    expect(() => planSweep(odd, { ...space, norm: ["group"] }, 10, 1)).toThrow(/don't divide/);
  });

  test("the fields are read, and what they can't say is told", () => {
    const read = readSpace({
      norm: "none, batch",
      batchSize: "16 , 64",
      learningRate: "1e-2",
      normMomentum: "0.1",
      regularizer: "none, l2 0.01, dropout 0.2",
    });
    expect(read).toEqual({
      ...{
        norm: ["none", "batch"],
        batchSize: [16, 64],
        learningRate: [0.01],
        normMomentum: [0.1],
      },
      regularizer: [null, { key: "l2", strength: 0.01 }, { key: "dropout", strength: 0.2 }],
    });
    const fields = { norm: "batch", batchSize: "16", learningRate: "1", normMomentum: "0.1" };
    const refused = (changes: object) => () =>
      readSpace({ ...fields, regularizer: "none", ...changes });
    expect(refused({ norm: "weight" })).toThrow(/norm: expected one of none, batch/);
    expect(refused({ batchSize: "many" })).toThrow(/batchSize: expected a whole number/);
    expect(refused({ batchSize: "" })).toThrow(/batchSize: expected values between commas/);
    expect(refused({ learningRate: "-1" })).toThrow(/learningRate: expected a number from 0/);
    expect(refused({ regularizer: "l3 1" })).toThrow(/regularizer: expected none, or l1, l2/);
    expect(refused({ regularizer: "l2" })).toThrow(/regularizer: expected none, or l1, l2/);
    expect(refused({ regularizer: "l2 2" })).toThrow(/l2: expected a number from 0 to 1, got 2/);
  });
});

test("rows that are judged by are training rows, and no test row is seen", () => {
  const data = makeToy("moons", 1);
  const { train, test: judged } = forValidation(data, 1);
  expect([train.rows, judged.rows]).toEqual([410, 102]);
  const points = (x: Float64Array) =>
    Array.from({ length: x.length / 2 }, (_, i) => `${x[2 * i]} ${x[2 * i + 1]}`);
  expect([...points(train.x), ...points(judged.x)].sort()).toEqual(points(data.train.x).sort());
});

test("padded sets are split with their weights", () => {
  const data = makeSets(1);
  const { train, test: judged } = forValidation(data, 1);
  for (const { x, weights, rows } of [train, judged]) {
    expect(weights?.length).toBe(rows * POSITIONS);
    // Padding is 0 in both coordinates, and points are not.
    weights?.forEach((weight, at) => {
      const place = Math.floor(at / POSITIONS) * 2 * POSITIONS + (at % POSITIONS);
      expect(weight).toBe(x[place] === 0 && x[place + POSITIONS] === 0 ? 0 : 1);
    });
  }
});

describe("the standing", () => {
  const trials = [settingsOf(), settingsOf({ norm: "none" }), settingsOf({ norm: "rms" })];
  const outcome = (trial: number, accuracy: number | null, loss = 1) => ({
    ...{ trial, seed: 1, loss, accuracy },
  });

  test("is by the median of accuracy, and tells the spread", () => {
    const outcomes = [0.5, 0.9, 0.6].map((one) => outcome(0, one));
    outcomes.push(outcome(1, 0.7), outcome(1, 0.8));
    expect(rank(trials, outcomes)).toMatchObject([
      { trial: 1, median: 0.75, low: 0.7, high: 0.8, seeds: 2 },
      { trial: 0, median: 0.6, low: 0.5, high: 0.9, seeds: 3 },
    ]);
  });

  test("is by the least loss of regression; what diverged is last of all", () => {
    const outcomes = [outcome(0, null, Number.NaN), outcome(1, null, 2), outcome(2, null, 1)];
    expect(rank(trials, outcomes).map(({ trial }) => trial)).toEqual([2, 1, 0]);
    const told = [outcome(0, 0.9, Number.NaN), outcome(1, 0.2)];
    expect(rank(trials, told).map(({ trial }) => trial)).toEqual([1, 0]);
  });
});

test("on two spirals a search finds the rate that learns, and not those that don't", () => {
  const data = forValidation(makeToy("spirals", 1), 1);
  const narrow = { ...space, norm: ["batch"], learningRate: [1e-6, 0.1, 100] } as const;
  const one = { ...narrow, batchSize: [32], normMomentum: [0.1], regularizer: [null] };
  const { trials } = planSweep(settingsOf({ depth: 3, norm: "batch" }), one, 10, 1);
  const outcomes = trials.flatMap((settings, trial) =>
    [1, 2].map((seed) => {
      const trainer = new Trainer(data, settings, seed);
      for (let i = 0; i < 300; i++) trainer.learn();
      return { trial, seed, ...trainer.evaluate(data.test, "evaluation") };
    }),
  );
  const [best] = rank(trials, outcomes);
  expect(best?.settings.learningRate).toBe(0.1);
  expect(best?.low).toBeGreaterThan(0.85);
});
