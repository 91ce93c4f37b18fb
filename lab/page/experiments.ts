/**
 * Experiments with one click: each is a state of the page, which `test/lab/experiments.test.ts` holds to what
 * its text claims, over five seeds.
 */
import { type Settings, settingsOf } from "../engine/settings.js";
import type { LabState } from "./state.js";

export const EXPERIMENT_NAMES = [
  "rate",
  "smallBatch",
  "slowMomentum",
  "fewTested",
  "drift",
  "deep",
  "scale",
  "dropout",
  "padded",
  "slimming",
  "naive",
] as const;
export type ExperimentName = (typeof EXPERIMENT_NAMES)[number];

/** The state of an experiment by a seed. */
export function experiment(name: ExperimentName, seed = 1): LabState {
  const state = (
    data: LabState["data"],
    steps: number,
    common: Partial<Settings>,
    runs: readonly Partial<Settings>[],
    more: Partial<LabState> = {},
  ): LabState => ({
    ...{ data, seed, steps, offset: 0, drift: 0, testBatch: 0, experiment: name },
    runs: runs.map((run) => settingsOf({ ...common, ...run })),
    ...more,
  });
  switch (name) {
    case "rate":
      return state("digits", 300, { depth: 3, momentum: 0 }, [
        { norm: "batch", learningRate: 0.2 },
        { norm: "batch", learningRate: 2 },
        { norm: "none", learningRate: 0.2 },
        { norm: "none", learningRate: 2 },
      ]);
    case "smallBatch":
      return state("digits", 1500, { learningRate: 0.01, momentum: 0, groups: 8 }, [
        { norm: "batch", batchSize: 64 },
        { norm: "batch", batchSize: 2 },
        { norm: "batch", batchSize: 2, renorm: 3 },
        { norm: "group", batchSize: 2 },
      ]);
    case "slowMomentum":
      return state("digits", 150, {}, [
        { normMomentum: 0.1 },
        { normMomentum: 0.001 },
        { normMomentum: 0 },
      ]);
    case "fewTested":
      return state("digits", 200, {}, [{ norm: "batch" }, { norm: "group" }], { testBatch: 2 });
    case "drift":
      return state("digits", 200, {}, [{ norm: "batch" }, { norm: "none" }], { drift: 2 });
    case "deep":
      return state(
        "rings",
        300,
        { depth: 15, width: 24, activation: "tanh", initialScale: 0.4, learningRate: 0.05 },
        [{ norm: "none" }, { norm: "batch" }],
      );
    case "scale":
      return state("digits", 800, { learningRate: 0.05, momentum: 0 }, [
        { initialScale: 1 },
        { initialScale: 10 },
        { initialScale: 10, l2: 0.05 },
      ]);
    case "dropout":
      return state("digits", 300, { depth: 1, dropout: 0.5 }, [
        { dropoutPlace: "after" },
        { dropoutPlace: "before" },
      ]);
    case "padded":
      return state(
        "sets",
        300,
        { batchSize: 16, learningRate: 0.02 },
        [{ mask: true }, { mask: false }, { norm: "none" }],
        { offset: 5 },
      );
    case "slimming":
      return state("digits", 600, { width: 64, learningRate: 0.05 }, [
        { gammaL1: 0 },
        { gammaL1: 0.01 },
      ]);
    case "naive":
      return state("rings", 300, {}, [{ norm: "batch" }, { norm: "naive" }], { offset: 10_000 });
  }
}
