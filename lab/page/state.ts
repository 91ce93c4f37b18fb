/** What the page shows, and the link that says so: all of it but data of one's own. */

import {
  checkSettings,
  SETTINGS,
  type Setting,
  type Settings,
  settingsOf,
} from "../engine/settings.js";
import { EXPERIMENT_NAMES, type ExperimentName } from "./experiments.js";

export const DATA_NAMES = [
  "digits",
  "images",
  "spirals",
  "moons",
  "rings",
  "sets",
  "gaps",
  "table",
] as const;
export type DataName = (typeof DATA_NAMES)[number];

/** Tables are standardized where they are learned from: by the package, and so not in the page itself. */
export const isTable = (name: DataName): boolean => name === "table" || name === "gaps";

/** Data of which a mask can leave something out. */
export const mayBeMasked = (name: DataName): boolean => name === "sets" || isTable(name);

export interface LabState {
  readonly data: DataName;
  readonly seed: number;
  /** How many steps a run makes. */
  readonly steps: number;
  readonly runs: readonly Settings[];
  /** What is added to all features. */
  readonly offset: number;
  /** By how many standard deviations the test data have drifted. */
  readonly drift: number;
  /** Rows of a batch where test data are normalized by their own statistics; 0: as in the steps. */
  readonly testBatch: number;
  /** Whose text stands above, if it is an experiment as it was made. */
  readonly experiment: ExperimentName | null;
}

export const MOST_RUNS = 4;
export const [MOST_STEPS, MOST_SEED] = [100_000, 2 ** 31 - 1];
export const [MOST_OFFSET, MOST_DRIFT, MOST_TEST_BATCH] = [1e9, 100, 512];

const KEYS = ["data", "seed", "steps", "run", "offset", "drift", "testBatch", "experiment"];

/** With and without batch norm, on spirals: what the page begins with. */
export function firstState(): LabState {
  const common = { depth: 4, learningRate: 0.05 };
  return {
    data: "spirals",
    seed: 1,
    steps: 1000,
    ...{ offset: 0, drift: 0, testBatch: 0, experiment: null },
    runs: [settingsOf(common), settingsOf({ ...common, norm: "none" })],
  };
}

/** As what stands behind `#`: `data=spirals&seed=1&steps=1000&run=norm:none,depth:4&run=…`. */
export function toLink(state: LabState): string {
  const { data, seed, steps, runs, offset, drift, testBatch, experiment } = state;
  const run = (settings: Settings) =>
    SETTINGS.filter(({ key, initial }) => settings[key] !== initial)
      .map(({ key }) => `${key}:${settings[key]}`)
      .join(",");
  return [`data=${data}`, `seed=${seed}`, `steps=${steps}`]
    .concat(offset ? `offset=${offset}` : [])
    .concat(drift ? `drift=${drift}` : [], testBatch ? `testBatch=${testBatch}` : [])
    .concat(experiment ? `experiment=${experiment}` : [])
    .concat(runs.map((settings) => `run=${run(settings)}`))
    .join("&");
}

/**
 * Reads a link. What is absent is as in the first state.
 *
 * @throws SettingError, RangeError where it can't be, in words
 */
export function fromLink(link: string): LabState {
  const first = firstState();
  const given = new URLSearchParams(link);
  for (const key of given.keys()) {
    if (!KEYS.includes(key)) {
      throw new RangeError(`the link has ${JSON.stringify(key)}, which says nothing here`);
    }
  }
  const data = given.get("data") ?? first.data;
  if (!isDataName(data)) throw new RangeError(`the link's data are ${JSON.stringify(data)}`);
  const experiment = given.get("experiment");
  if (experiment !== null && !isExperiment(experiment)) {
    throw new RangeError(`the link's experiment is ${JSON.stringify(experiment)}`);
  }
  const runs = given.getAll("run").map(readRun);
  if (runs.length > MOST_RUNS) throw new RangeError(`the link has more than ${MOST_RUNS} runs`);
  return {
    data,
    seed: readCount("seed", given.get("seed") ?? `${first.seed}`, 0, MOST_SEED),
    steps: readCount("steps", given.get("steps") ?? `${first.steps}`, 1, MOST_STEPS),
    runs: runs.length > 0 ? runs : first.runs,
    offset: readNumber("offset", given.get("offset") ?? "0", MOST_OFFSET),
    drift: readNumber("drift", given.get("drift") ?? "0", MOST_DRIFT),
    testBatch: readCount("testBatch", given.get("testBatch") ?? "0", 0, MOST_TEST_BATCH),
    experiment,
  };
}

/** A whole number as somebody wrote it. @throws RangeError */
export function readCount(name: string, text: string, min: number, max: number): number {
  const value = text.trim() === "" ? Number.NaN : Number(text);
  if (Number.isInteger(value) && value >= min && value <= max) return value;
  throw new RangeError(
    `${name}: expected a whole number from ${min} to ${max}, got ${JSON.stringify(text)}`,
  );
}

/** A number as somebody wrote it, up to `most` to either side. @throws RangeError */
export function readNumber(name: string, text: string, most: number): number {
  const value = text.trim() === "" ? Number.NaN : Number(text);
  if (Math.abs(value) <= most) return value;
  throw new RangeError(
    `${name}: expected a number from ${-most} to ${most}, got ${JSON.stringify(text)}`,
  );
}

/** What stands in a field, as the setting has it; a text that is no number stays one. */
export function readValue(setting: Setting, text: string): number | string | boolean {
  if (setting.kind === "switch") return text === "true" || (text !== "false" && text);
  if (setting.kind === "choice" || text.trim() === "" || Number.isNaN(Number(text))) return text;
  return Number(text);
}

function isDataName(name: string): name is DataName {
  return (DATA_NAMES as readonly string[]).includes(name);
}

function isExperiment(name: string): name is ExperimentName {
  return (EXPERIMENT_NAMES as readonly string[]).includes(name);
}

function readRun(text: string): Settings {
  const entries = text
    .split(",")
    .filter((one) => one !== "")
    .map((one) => {
      const [key = "", value = ""] = one.split(/:(.*)/s);
      const setting = SETTINGS.find((setting) => setting.key === key);
      return [key, setting ? readValue(setting, value) : value];
    });
  return checkSettings(Object.fromEntries(entries));
}
