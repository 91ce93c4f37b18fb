/** The lab's engine step by step beside PyTorch in float64 (`test/fixtures/make_torch_lab.py`). */
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { type Settings, settingsOf } from "../../lab/engine/settings.js";
import { Trainer } from "../../lab/engine/trainer.js";

interface Case {
  readonly name: string;
  readonly settings: Partial<Settings>;
  readonly inputs: number;
  readonly image: [number, number] | null;
  /** Of sequences. */
  readonly positions?: number;
  readonly classes: number;
  readonly initial: Record<string, number[]>;
  readonly batches: { x: number[]; y: number[]; weights?: number[] }[];
  readonly losses: number[];
  readonly final: Record<string, number[]>;
  readonly running: { mean: number[]; variance: number[] }[];
  readonly evaluation: { x: number[]; output: number[]; weights?: number[] };
}

const cases: Case[] = JSON.parse(
  readFileSync(new URL("../fixtures/torch_lab.json", import.meta.url), "utf8"),
);

/**
 * Without norm both are float64. Norms round to float32, by 6e-8 of values of about 1; ten steps with
 * momentum 0.9 pass an error on up to about a hundredfold.
 */
const [FLOAT64, FLOAT32] = [1e-11, 1e-5];

// By another formula, but where numbers are small it is PyTorch's batch norm.
const naive = cases
  .filter(({ name }) => /^batch(|, of images|, momentum.*|, average.*|, frozen)$/.test(name))
  .map((one) => ({
    ...one,
    ...{ name: `${one.name}, naive`, settings: { ...one.settings, norm: "naive" as const } },
  }));

describe.each([...cases, ...naive])("$name", (one) => {
  const trainer = trainerOf(one);
  const bound = one.settings.norm === "none" ? FLOAT64 : FLOAT32;
  const near = (found: ArrayLike<number>, expected: readonly number[], what: string) => {
    expect(found.length, what).toBe(expected.length);
    expected.forEach((value, i) => {
      const off = Math.abs((found[i] as number) - value);
      expect(off, `${what}[${i}]`).toBeLessThan(bound * Math.max(1, Math.abs(value)));
    });
  };

  test("ten steps give the losses, parameters and running statistics of PyTorch", () => {
    for (const [step, batch] of one.batches.entries()) {
      const y = Float64Array.from(batch.y);
      const weights = batch.weights && Float64Array.from(batch.weights);
      const loss = trainer.learnFrom({ rows: y.length, x: Float64Array.from(batch.x), y, weights });
      near([loss], [one.losses[step] as number], `loss of step ${step + 1}`);
    }
    for (const { name, values } of trainer.network.parameters) {
      near(values, one.final[name] as number[], name);
    }
    if (one.settings.norm !== "naive") checkRunning();
    const rows = one.batches[0]?.y.length ?? 0;
    const { x, output, weights } = one.evaluation;
    const given = weights && Float64Array.from(weights);
    near(trainer.predict(Float64Array.from(x), rows, given), output, "output in evaluation");
  });

  function checkRunning(): void {
    const batchNorms = trainer.network.blocks.flatMap(({ norm }) => norm?.batch ?? []);
    expect(batchNorms.length).toBe(one.running.length);
    one.running.forEach(({ mean, variance }, i) => {
      near(batchNorms[i]?.runningMean?.data ?? [], mean, `running mean ${i + 1}`);
      near(batchNorms[i]?.runningVar?.data ?? [], variance, `running variance ${i + 1}`);
    });
  }
});

function trainerOf({ settings, inputs, image, positions, classes, initial }: Case): Trainer {
  const none = { rows: 8, x: new Float64Array(8 * inputs), y: new Float64Array(8) };
  const input = image ? { inputs, image } : positions ? { inputs, positions } : { inputs };
  const data = { input, classes, train: none, test: none };
  const trainer = new Trainer(data, settingsOf(settings), 1);
  expect(trainer.network.parameters.map(({ name }) => name)).toEqual(Object.keys(initial));
  for (const parameter of trainer.network.parameters) {
    parameter.values.set(initial[parameter.name] as number[]);
    parameter.store?.();
  }
  return trainer;
}
