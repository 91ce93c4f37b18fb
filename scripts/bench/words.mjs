/** A run in plain words: what it is going to do, how long that takes, and what came out. */
import { bytesOf, channelsOf, NORMS, OPS, VARIANT_NAMES, VARIANTS } from "./cells.mjs";
import { digits, duration, size } from "./format.mjs";
import { contestantsOf, rowsOf, shapeOf } from "./overview.mjs";

/**
 * @typedef {import("./contestant.d.ts").Cell} Cell
 * @typedef {import("./contestant.d.ts").Record} Record
 * @typedef {import("./rounds.mjs").Effort} Effort
 */

/** Preparing, checking and waiting for steadiness, beside what `Effort` grants. */
const OVERHEAD = 1.4;
/** ms a byte and contestant: to make, check and free tensors, and slow contestants' fewest rounds. */
const PER_BYTE = 1.5e-5;
/** Times as long where a call comes before each round's, and threads come to rest after it. */
const WAKES = 3;

/** Expected ms of a cell. @param {Cell} cell @param {number} contestants @param {Effort} effort */
export function expectedTime(cell, contestants, { warmup, budget, wakes = false }) {
  const rounds = budget * (wakes ? WAKES : 1);
  return contestants * ((warmup + rounds) * OVERHEAD + bytesOf(cell) * PER_BYTE);
}

/** "1 h 05 min", "3 min", "40 s". @param {number} ms */
export function roughly(ms) {
  const seconds = Math.max(5, Math.round(ms / 5000) * 5);
  if (seconds < 90) return `${seconds} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  return `${Math.floor(minutes / 60)} h ${String(minutes % 60).padStart(2, "0")} min`;
}

/**
 * Before a run.
 *
 * @param {readonly Cell[]} cells @param {readonly string[]} names of the contestants
 * @param {number} time expected, ms @param {number} [threads] of each contestant
 */
export function describePlan(cells, names, time, threads = 1) {
  const tensors = new Set(cells.map(({ layout, shape }) => `${layout} ${shape}`));
  const bytes = cells.map(bytesOf);
  const ops = OPS.filter((op) => cells.some((cell) => cell.op === op));
  const [least, most] = [Math.min(...bytes), Math.max(...bytes)].map(size);
  return [
    `${named(cells)} (${ops.join(", ")}) on ${counted(tensors.size, "tensor")}, ${least === most ? least : `${least} to ${most}`},`,
    `by ${names.join(", ")}.`,
    `Each is checked against float64, warmed up, and timed in short turns with the others, on ${numbered(threads)}.`,
    `That makes ${counted(cells.length, "cell")}, and takes about ${roughly(time)}.`,
  ].join("\n");
}

/** "one thread", "2 threads". @param {number} threads */
export function numbered(threads) {
  return threads === 1 ? "one thread" : `${threads} threads`;
}

/** The norms or variants, in words. @param {readonly Cell[]} cells */
function named(cells) {
  const varied = VARIANTS.filter((variant) => cells.some((cell) => cell.variant === variant));
  if (varied.length > 0) {
    return `Batch norm with ${varied.map((variant) => VARIANT_NAMES[variant]).join(", ")}`;
  }
  const names = NORMS.filter((norm) => cells.some((cell) => (cell.norm ?? "batch") === norm));
  const words = names.map((norm) => (norm === "rms" ? "RMS" : norm)).join(", ");
  return `${words.charAt(0).toUpperCase()}${words.slice(1)} norm`;
}

/** @param {number} count @param {string} noun */
const counted = (count, noun) => `${count} ${noun}${count === 1 ? "" : "s"}`;

/** Not told: what they add is in the tables. */
const UNTOLD = ["limit", "ours"];

/**
 * After a run: a line for each of the headline's cells.
 *
 * @param {readonly Record[]} records
 */
export function conclude(records) {
  const order = contestantsOf(records);
  return rowsOf(records.filter(({ name }) => name === "headline"))
    .flatMap(({ cell, times }) => {
      const all = [...times.values()].filter(({ status }) => status === "ok");
      const ours = all.find(({ kind }) => kind === "ours");
      if (!ours?.median_ms) return [];
      const rivals = all
        .filter(({ kind }) => !UNTOLD.includes(kind))
        .sort((a, b) => order.indexOf(a.contestant) - order.indexOf(b.contestant))
        .map(
          ({ contestant, ratio_to_ours }) => `${contestant} ${digits(ratio_to_ours ?? Number.NaN)}`,
        );
      const gain = ours.gain ? `, ${digits(ours.gain)} times as fast as on one thread` : "";
      const others = rivals.length > 0 ? `; times as long: ${rivals.join(", ")}` : "";
      const what = `${cell.op}, ${cell.layout} ${shapeOf(cell)} (${channelsOf(cell)} channels)`;
      return [`${what}: ${duration(ours.median_ms)}${gain}${others}`];
    })
    .join("\n");
}
