/** Warm-up and interleaved rounds of the contestants of one cell. */
import { takesPart } from "./statistics.mjs";

/**
 * How much time to spend.
 *
 * @typedef {object} Effort
 * @property {number} slice ms that a contestant runs in a round, at least: clocks are coarse
 * @property {number} warmup ms before the rounds
 * @property {number} budget ms of all its rounds together
 * @property {number} fewest rounds, however slow it is
 * @property {number} most rounds
 * @property {number} longest ms a call; what will take longer is refused
 * @property {boolean} [wakes] a call that isn't timed comes before a round's: threads that fell asleep
 *   since the last round are awake then, as within a program's step
 */

/**
 * What ran in one go.
 *
 * @typedef {{ ms: number, calls: number }} Slice
 */

/**
 * A contestant that is to be timed.
 *
 * @typedef {object} Runner
 * @property {string} name
 * @property {boolean} [always] takes part in every round, whatever it costs: ratios are to it
 * @property {number} [settles] ms in which its threads look for work after a call: others wait for it
 * @property {import("./contestant.d.ts").Prepared} prepared
 * @property {Slice[]} slices what ran before the rounds, the first call to begin with
 * @property {import("./statistics.mjs").Times} times
 */

/** So many times more calls at once: a first call tells little about the next ones. */
const GROWTH = 16;
/** It is steady when so many slices bring no more than this. */
const [STEADY, GAIN] = [3, 0.95];
/** Where that doesn't come: so many times the warm-up is enough. */
const PATIENCE = 8;

/**
 * Runs until slices are long enough and it gets no faster: compilers optimize in the
 * background, after a time that nobody tells.
 *
 * @param {Runner} runner @param {Effort} effort
 */
export async function warmUp({ prepared, slices }, effort) {
  const pace = (/** @type {readonly Slice[]} */ some) =>
    Math.min(...some.map(({ ms, calls }) => ms / calls));
  const done = () => {
    // Not the first call: where it compiles for a second, it tells nothing of the next.
    if (slices.length === 1) return false;
    const spent = slices.slice(1).reduce((sum, { ms }) => sum + ms, 0);
    if (spent >= effort.warmup * PATIENCE) return true;
    const last = /** @type {Slice} */ (slices.at(-1));
    const steady = pace(slices.slice(-STEADY)) > pace(slices.slice(0, -STEADY)) * GAIN;
    return spent >= effort.warmup && last.ms >= effort.slice / 2 && steady;
  };
  while (!done()) {
    const last = /** @type {Slice} */ (slices.at(-1));
    const calls = Math.min(callsFor(last, effort.slice), last.calls * GROWTH);
    slices.push({ calls, ms: await prepared.run(calls) });
  }
}

/**
 * Times the runners in rounds: who takes part runs in each, in one order and then in
 * the reverse. Slow ones take part in fewer rounds, evenly spread, never alone: the
 * limits are in all of them.
 *
 * @param {readonly Runner[]} runners @param {Effort} effort
 * @param {number} firstRound rounds that there were already
 * @param {(name: string) => void} progress
 * @returns {Promise<number>} the number of rounds
 */
export async function runRounds(runners, effort, firstRound, progress) {
  const plans = runners.map((runner) => {
    const last = /** @type {Slice} */ (runner.slices.at(-1));
    const calls = callsFor(last, effort.slice);
    const rounds = Math.floor(effort.budget / (calls * (last.ms / last.calls)));
    return { runner, calls, rounds: Math.max(effort.fewest, Math.min(effort.most, rounds)) };
  });
  const all = Math.max(...plans.map(({ rounds }) => rounds));
  for (let round = 0; round < all; round++) {
    const order = plans.filter(
      ({ runner, rounds }) => runner.always || takesPart(round, rounds, all),
    );
    if (round % 2 === 1) order.reverse();
    for (const { runner, calls } of order) {
      progress(runner.name);
      if (effort.wakes) await runner.prepared.run(1);
      runner.times.set(firstRound + round, (await runner.prepared.run(calls)) / calls);
      if (runner.settles) await pause(runner.settles);
    }
  }
  return all;
}

/** How many calls will take that long. @param {Slice} slice @param {number} wanted in ms */
function callsFor({ ms, calls }, wanted) {
  // A clock may not have moved at all.
  return Math.max(1, Math.ceil((calls * wanted) / Math.max(ms, 1e-6)));
}

/** @param {number} ms */
function pause(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
