/**
 * A search for what suits some data: settings that are tried, each by several seeds, judged on rows that
 * neither learn nor test.
 */
import { type Dataset, slice, take } from "./dataset.js";
import { randomFrom, shuffle } from "./random.js";
import { checkSettings, SETTINGS, SettingError, type Settings } from "./settings.js";

/** A regularizer as a sweep has it. */
export interface Regularizer {
  readonly key: "l1" | "l2" | "gammaL1" | "dropout";
  readonly strength: number;
}

/** Values of which every combination may be tried. */
export interface Space {
  readonly norm: readonly Settings["norm"][];
  readonly batchSize: readonly number[];
  readonly learningRate: readonly number[];
  /** Of batch norm. */
  readonly normMomentum: readonly number[];
  /** `null` is none. */
  readonly regularizer: readonly (Regularizer | null)[];
}

export interface Plan {
  readonly trials: readonly Settings[];
  /** How many different ones there are; where it is more than the budget, some of them by chance. */
  readonly all: number;
}

/**
 * The settings to try: all combinations, or as many as the budget has, by chance that the seed determines.
 * What a norm has no momentum for, or γ, is tried once.
 *
 * @throws SettingError where a value can't be, or nothing is left
 */
export function planSweep(base: Settings, space: Space, budget: number, seed: number): Plan {
  const found = new Map<string, Settings>();
  let refused: SettingError | null = null;
  for (const norm of space.norm) {
    for (const batchSize of space.batchSize) {
      for (const learningRate of space.learningRate) {
        for (const normMomentum of norm === "batch" ? space.normMomentum : [base.normMomentum]) {
          for (const regularizer of space.regularizer) {
            if (regularizer?.key === "gammaL1" && norm === "none") continue;
            const none = { l1: 0, l2: 0, gammaL1: 0, dropout: 0 };
            const own = regularizer ? { [regularizer.key]: regularizer.strength } : {};
            const changes = { norm, batchSize, learningRate, normMomentum, ...none, ...own };
            try {
              const settings = checkSettings({ ...base, ...changes });
              found.set(keyOf(settings), settings);
            } catch (error) {
              if (!(error instanceof SettingError)) throw error;
              // Groups that don't divide the width are the base's fault: the other norms go on.
              if (error.key !== "groups") throw error;
              refused = error;
            }
          }
        }
      }
    }
  }
  if (found.size === 0) throw refused ?? new SettingError("norm", "norm: nothing is to be tried");
  const all = [...found.values()];
  const order = shuffle(
    Uint32Array.from(all, (_, i) => i),
    randomFrom(seed ^ 0x6a09e667),
  );
  const chosen = order.slice(0, budget).sort();
  return { trials: Array.from(chosen, (i) => all[i] as Settings), all: all.length };
}

/** Of the training rows, those that are judged by: a fifth, in place of the test rows. */
export function forValidation(data: Dataset, seed: number): Dataset {
  const { rows } = data.train;
  const order = shuffle(
    Uint32Array.from({ length: rows }, (_, i) => i),
    randomFrom(seed ^ 0x3c6ef372),
  );
  const all = take(data.train, order);
  const count = Math.max(1, Math.round(rows / 5));
  return { ...data, train: slice(all, count, rows), test: slice(all, 0, count) };
}

/** What came of one trial by one seed; a run that diverged has a loss beyond numbers. */
export interface Outcome {
  readonly trial: number;
  readonly seed: number;
  readonly loss: number;
  readonly accuracy: number | null;
}

/** A trial over its seeds. */
export interface Standing {
  readonly trial: number;
  readonly settings: Settings;
  readonly median: number;
  readonly low: number;
  readonly high: number;
  readonly seeds: number;
}

/** The best first, by their median: of accuracy, or of regression by the least loss. */
export function rank(trials: readonly Settings[], outcomes: readonly Outcome[]): Standing[] {
  const standings = trials.flatMap((settings, trial) => {
    const own = outcomes.filter((one) => one.trial === trial);
    if (own.length === 0) return [];
    const values = own.map(judged).sort((a, b) => a - b);
    const middle = values.length >> 1;
    const upper = values[middle] as number;
    const median = values.length % 2 ? upper : ((values[middle - 1] as number) + upper) / 2;
    const [low, high] = [values[0] as number, values.at(-1) as number];
    return [{ trial, settings, median, low, high, seeds: own.length }];
  });
  const better = outcomes.some(({ accuracy }) => accuracy !== null) ? -1 : 1;
  return standings.sort((a, b) => compare(a.median, b.median) * better || a.trial - b.trial);
}

/** What a trial is judged by. What is beyond numbers is the worst there is. */
function judged({ accuracy, loss }: Outcome): number {
  if (accuracy !== null) return Number.isFinite(loss) ? accuracy : 0;
  return Number.isFinite(loss) ? loss : Number.POSITIVE_INFINITY;
}

function compare(a: number, b: number): number {
  return a === b ? 0 : a < b ? -1 : 1;
}

function keyOf(settings: Settings): string {
  return SETTINGS.map(({ key }) => `${settings[key]}`).join();
}
