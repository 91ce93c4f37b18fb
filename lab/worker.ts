/**
 * A run in a Web Worker: it learns for some milliseconds, listens, and goes on. A snapshot is sent when the
 * page has drawn the last one, and never more often than it can be seen.
 */
import { BatchNormError } from "batchnorm-wasm";
import { standardize } from "./data/standardize.js";
import { type Dataset, isWeighted, slice } from "./engine/dataset.js";
import { SettingError } from "./engine/settings.js";
import { Trainer } from "./engine/trainer.js";
import type { FromWorker, Surface, ToWorker } from "./messages.js";

/** Milliseconds between two looks for messages, and between snapshots. */
const [SLICE, PERIOD] = [25, 120];
/** Points of a side of the decision surface. */
const GRID = 40;
/** Points of the test data that are drawn on it. */
const POINTS = 300;

let trainer: Trainer | null = null;
/** What a sweep learns from. */
let swept: Dataset | null = null;
let until = 0;
let running = false;
let drawn = true;
let sentAt = 0;

const send = (message: FromWorker) => postMessage(message);

/** What can't go on, in words; what is a fault of the lab is thrown on. */
function guarded(body: () => void): void {
  try {
    body();
  } catch (error) {
    running = false;
    if (error instanceof SettingError || error instanceof BatchNormError) {
      send({ type: "refused", message: error.message });
    } else throw error;
  }
}

addEventListener("message", ({ data: message }: MessageEvent<ToWorker>) => {
  guarded(() => {
    switch (message.type) {
      case "make":
        running = false;
        trainer?.dispose();
        trainer = null;
        drawn = true;
        // Before what may be refused: all that comes from here on is of this run.
        send({ type: "made", id: message.id });
        trainer = new Trainer(
          message.standardized ? message.data : standardize(message.data),
          message.settings,
          message.seed,
          message.testBatch,
        );
        break;
      case "run":
        until = message.until;
        if (!running) {
          running = true;
          setTimeout(work);
        }
        break;
      case "pause":
        running = false;
        if (trainer) show(trainer);
        break;
      case "step":
        running = false;
        trainer?.learn();
        if (trainer) show(trainer);
        break;
      case "drawn":
        drawn = true;
        break;
      case "trial":
        send(outcomeOf(message));
        break;
      case "stateDict":
        if (trainer) send({ type: "stateDict", dict: stateDictOf(trainer) });
        break;
    }
  });
});

/** Of a sweep: the end of a run. What the package refuses is an outcome, too. */
function outcomeOf(message: Extract<ToWorker, { type: "trial" }>): FromWorker {
  const { trial, settings, seed, steps } = message;
  if (message.data) {
    swept = message.standardized ? message.data : standardize(message.data);
  }
  if (swept === null) throw new Error("a trial without data");
  const { classes } = swept;
  const worst = { loss: Number.POSITIVE_INFINITY, accuracy: classes ? 0 : null };
  let run: Trainer | null = null;
  try {
    run = new Trainer(swept, settings, seed);
    while (run.step < steps && !run.diverged) run.learn();
    const score = run.diverged ? worst : run.evaluate(swept.test, "evaluation");
    return { type: "outcome", outcome: { trial, seed, ...score }, refused: null };
  } catch (error) {
    if (!(error instanceof BatchNormError)) throw error;
    return { type: "outcome", outcome: { trial, seed, ...worst }, refused: error.message };
  } finally {
    run?.dispose();
  }
}

function work(): void {
  guarded(() => {
    if (!running || !trainer) return;
    const end = performance.now() + SLICE;
    while (performance.now() < end && trainer.step < until && !trainer.diverged) trainer.learn();
    if (trainer.step >= until || trainer.diverged) running = false;
    if (!running || (drawn && performance.now() - sentAt > PERIOD)) show(trainer);
    if (running) setTimeout(work);
  });
}

function show(trainer: Trainer): void {
  send({
    type: "snapshot",
    snapshot: trainer.snapshot(),
    surface: surfaceOf(trainer),
    running,
  });
  drawn = false;
  sentAt = performance.now();
}

/** Where points are of two numbers: what class the network gives to each place around them. */
function surfaceOf(trainer: Trainer): Surface | null {
  const { data } = trainer;
  // Where a column has gaps, the second number may only say where.
  if (data.input.inputs !== 2 || data.classes === 0 || isWeighted(data)) return null;
  const range = rangeOf(data);
  const at = (i: number) => -range + (2 * range * (i + 0.5)) / GRID;
  const x = Float64Array.from({ length: 2 * GRID * GRID }, (_, i) =>
    i % 2 ? at(Math.floor(i / 2 / GRID)) : at((i / 2) % GRID),
  );
  const scores = trainer.predict(x, GRID * GRID);
  const { classes } = data;
  const label = new Uint8Array(GRID * GRID);
  const sure = new Float32Array(GRID * GRID);
  label.forEach((_, cell) => {
    const own = scores.subarray(cell * classes, (cell + 1) * classes);
    const highest = Math.max(...own);
    const sum = own.reduce((total: number, score) => total + Math.exp(score - highest), 0);
    label[cell] = Math.max(0, own.indexOf(highest));
    sure[cell] = 1 / sum;
  });
  const { test } = data;
  return { grid: GRID, range, label, sure, points: slice(test, 0, Math.min(test.rows, POINTS)) };
}

function rangeOf({ train }: Dataset): number {
  return 1.1 * train.x.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
}

/** All parameters by their names; norms as the package's own state dicts. */
function stateDictOf({ network }: Trainer): Record<string, number[]> {
  const dict: Record<string, number[]> = {};
  for (const { name, role, values } of network.parameters) {
    if (role === "weight" || role === "bias") dict[name] = Array.from(values);
  }
  network.blocks.forEach(({ norm }, i) => {
    Object.assign(dict, norm?.stateDict(`${i + 1}.norm.`));
  });
  return dict;
}
