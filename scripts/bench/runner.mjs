/**
 * Measures cells: every contestant is prepared, checked, warmed up, and then timed in
 * rounds with all others. Knows neither Node nor the browser: it runs in both.
 */
import { bytesOf } from "./cells.mjs";
import { makeData } from "./data.mjs";
import { digits } from "./format.mjs";
import { ONE_THREAD } from "./limits/names.mjs";
import { makeReference, WRONG } from "./reference.mjs";
import { runRounds, warmUp } from "./rounds.mjs";
import { medianInterval, medianRatio, quartiles, ratios, warmupTime } from "./statistics.mjs";

/**
 * @typedef {import("./contestant.d.ts").Cell} Cell
 * @typedef {import("./contestant.d.ts").Contestant} Contestant
 * @typedef {import("./contestant.d.ts").Data} Data
 * @typedef {import("./contestant.d.ts").Host} Host
 * @typedef {import("./contestant.d.ts").Record} Record
 * @typedef {import("./rounds.mjs").Effort} Effort
 * @typedef {import("./rounds.mjs").Runner} Runner
 */

/**
 * A contestant with what it said at the start, or why it is absent.
 *
 * @typedef {object} Entrant
 * @property {Contestant} contestant
 * @property {import("./contestant.d.ts").Started} [started]
 * @property {string} [absent]
 * @property {Map<string, number>} pace ms a byte in the last cell of each operation
 */

/**
 * @typedef {object} Inputs
 * @property {string} tensor whose they are
 * @property {Data} data
 * @property {ReturnType<typeof makeReference>} reference
 */

/**
 * From this size on contestants run one at a time beside the copy, since all together
 * would not fit into memory, and rivals that are known to be slow don't run. The bare loops
 * are one of those that have their turn.
 */
export const LARGE = 2 ** 28;

/** From this size on the time for a tensor tells that for a larger one. */
const TELLING = 2 ** 18;

/** Cells that differ in their tensors alone. @param {Cell} cell */
const operationOf = ({ norm, variant, op }) => `${norm} ${variant} ${op}`;

/**
 * @param {readonly Contestant[]} contestants @param {Host} host
 * @returns {Promise<Entrant[]>}
 */
export async function startAll(contestants, host) {
  const entrants = [];
  for (const contestant of contestants) {
    const entrant = { contestant, pace: new Map() };
    try {
      entrants.push({ ...entrant, started: await contestant.start(host) });
    } catch (error) {
      entrants.push({ ...entrant, absent: reasonOf(error) });
    }
  }
  return entrants;
}

/**
 * @param {readonly Cell[]} cells operations on one tensor in a row
 * @param {readonly Entrant[]} entrants the limits among them: `memory.copy`, then the bare loops,
 *   then batch norm without a variant
 * @param {object} options
 * @param {Host} options.host
 * @param {Effort} options.effort
 * @param {(cell: Cell, contestant: Contestant) => boolean} [options.wanted]
 * @param {(cell: Cell, index: number, contestant: string) => void} [options.onProgress]
 * @returns {AsyncGenerator<Record[]>} the records of a cell
 */
export async function* measure(cells, entrants, { host, effort, wanted, onProgress }) {
  /** @type {Inputs | undefined} */
  let inputs;
  for (const [index, cell] of cells.entries()) {
    const tensor = `${cell.norm} ${cell.groups} ${cell.variant} ${cell.layout} ${cell.shape}`;
    if (inputs?.tensor !== tensor) {
      const data = makeData(cell);
      inputs = { tensor, data, reference: makeReference(cell, data) };
    }
    const field = entrants.filter(({ contestant }) => wanted?.(cell, contestant) ?? true);
    const progress = (/** @type {string} */ name) => onProgress?.(cell, index, name);
    yield await measureCell(cell, inputs, field, host, effort, progress);
    host.collectGarbage();
  }
}

/**
 * @param {Cell} cell @param {Inputs} inputs @param {readonly Entrant[]} field
 * @param {Host} host @param {Effort} effort @param {(contestant: string) => void} progress
 */
async function measureCell(cell, inputs, field, host, effort, progress) {
  const [limit, bare, alone] = field.filter(({ contestant }) => contestant.kind === "limit");
  if (!limit) throw new Error("a field needs the limit: ratios are taken to it");
  /** @type {Map<Entrant, Record>} */
  const records = new Map();
  /** @type {Map<Entrant, Runner & { error: number | undefined }>} */
  const runners = new Map();

  /** @param {Entrant} entrant */
  const enter = async (entrant) => {
    progress(entrant.contestant.name);
    const result = await prepare(cell, inputs, entrant, effort);
    // What the check and the contestant before left would be gigabytes.
    if (bytesOf(cell) >= LARGE) host.collectGarbage();
    if (!("times" in result)) return records.set(entrant, { ...about(cell, entrant), ...result });
    // A gain is told of rounds that have both.
    if (host.threads > 1 && entrant.contestant.kind === "ours") result.always = true;
    await warmUp(result, effort);
    return runners.set(entrant, result);
  };

  await enter(limit);
  const copy = /** @type {Runner} */ (runners.get(limit));
  const others = field.filter((entrant) => entrant !== limit);
  const groups = bytesOf(cell) < LARGE ? [others] : others.map((entrant) => [entrant]);
  let rounds = 0;
  for (const group of groups) {
    for (const entrant of group) await enter(entrant);
    const ready = group.flatMap((entrant) => runners.get(entrant) ?? []);
    if (ready.length > 0) rounds += await runRounds([copy, ...ready], effort, rounds, progress);
    for (const { prepared } of ready) await prepared.dispose();
  }
  // Where nobody else is to be timed, it is its own company.
  if (rounds === 0) await runRounds([copy], effort, 0, progress);
  await copy.prepared.dispose();

  const ours = field.find(({ contestant }) => contestant.kind === "ours");
  const single = field.find(({ contestant }) => contestant.name === ONE_THREAD);
  const timesOf = (/** @type {Entrant | undefined} */ entrant) =>
    entrant && runners.get(entrant)?.times;
  const bases = {
    ...{ copy: copy.times, bare: timesOf(bare) },
    ...{ alone: timesOf(alone), ours: timesOf(ours) },
  };
  for (const [entrant, runner] of runners) {
    const figures = {
      ...figuresOf(runner, bases),
      ...(entrant === ours ? gainOf(timesOf(single), runner.times) : {}),
    };
    // Of small tensors a call's own cost would be taken for that of bytes.
    if (bytesOf(cell) >= TELLING)
      entrant.pace.set(operationOf(cell), figures.median_ms / bytesOf(cell));
    records.set(entrant, { ...about(cell, entrant), status: "ok", ...figures });
  }
  return field.flatMap((entrant) => records.get(entrant) ?? []);
}

/**
 * Ready to be timed, or why not.
 *
 * @param {Cell} cell @param {Inputs} inputs @param {Entrant} entrant @param {Effort} effort
 * @returns {Promise<(Runner & { error: number | undefined }) | Pick<Record, "status" | "reason" | "max_error">>}
 */
async function prepare(cell, { data, reference }, entrant, effort) {
  const { contestant, started, absent } = entrant;
  if (!started) return { status: "absent", reason: absent ?? "" };
  const refusal = started.refuses(cell) ?? tooSlow(cell, entrant, effort);
  if (refusal) return { status: "refused", reason: refusal };
  let prepared;
  try {
    prepared = await started.prepare(cell, data);
    const ms = await prepared.run(1);
    /** @type {Runner} */
    const runner = {
      name: contestant.name,
      always: contestant.kind === "limit",
      settles: started.settles ?? 0,
      prepared,
      slices: [{ ms, calls: 1 }],
      times: new Map(),
    };
    if (contestant.kind === "limit") return { ...runner, error: undefined };
    const { error, array } = reference.compare(cell.op, await prepared.outputs());
    if (error <= WRONG) return { ...runner, error };
    await prepared.dispose();
    return {
      status: "wrong",
      max_error: error,
      reason: `${array} is off by ${error.toExponential(1)}`,
    };
  } catch (error) {
    // A rival that can't do it must not end the run; where it is ours, the command fails.
    await prepared?.dispose();
    return { status: "failed", reason: reasonOf(error) };
  }
}

/**
 * By what it took for a smaller tensor. Ours and the limits are measured whatever they take.
 *
 * @param {Cell} cell @param {Entrant} entrant @param {Effort} effort
 */
function tooSlow(cell, { contestant, pace }, { longest }) {
  if (contestant.kind === "ours" || contestant.kind === "limit") return undefined;
  const expected = (pace.get(operationOf(cell)) ?? 0) * bytesOf(cell);
  if (expected > longest) return `would take ${digits(expected / 1000)} s a call`;
  const large = contestant.kind === "javascript" && bytesOf(cell) >= LARGE;
  return large ? `rivals in JavaScript are not run from ${LARGE / 2 ** 20} MB on` : undefined;
}

/** @param {Cell} cell @param {Entrant} entrant */
function about({ op, layout, shape, name, norm, variant }, { contestant, started }) {
  const { name: contestantName, kind } = contestant;
  const version = started?.version ?? null;
  const of = { ...(norm === undefined ? {} : { norm }), ...(variant ? { variant } : {}) };
  return { op, layout, shape, name, ...of, contestant: contestantName, kind, version };
}

/**
 * @typedef {import("./statistics.mjs").Times} Times
 *
 * @param {Runner & { error: number | undefined }} runner
 * @param {{ copy: Times, bare: Times | undefined, alone: Times | undefined, ours: Times | undefined }} bases
 */
function figuresOf({ slices, times, error }, { copy, bare, alone, ours }) {
  const { p25, median, p75 } = quartiles(times.values());
  const toCopy = quartiles(ratios(times, copy));
  const first = /** @type {import("./rounds.mjs").Slice} */ (slices[0]);
  return {
    ...(error === undefined ? {} : { max_error: error }),
    first_ms: first.ms,
    warmup_ms: warmupTime(slices, p75),
    rounds: times.size,
    median_ms: median,
    p25,
    p75,
    ratio_to_copy: toCopy.median,
    ratio_p25: toCopy.p25,
    ratio_p75: toCopy.p75,
    ...(bare ? { ratio_to_bare: medianRatio(times, bare) } : {}),
    ...(alone ? { ratio_to_alone: medianRatio(times, alone) } : {}),
    ...(ours ? { ratio_to_ours: medianRatio(times, ours) } : {}),
  };
}

/** What threads gain. @param {Times | undefined} single @param {Times} several */
function gainOf(single, several) {
  const gains = single ? ratios(single, several) : [];
  if (gains.length === 0) return {};
  const { low, high } = medianInterval(gains);
  return { gain: quartiles(gains).median, gain_low: low, gain_high: high };
}

/** @param {unknown} error */
function reasonOf(error) {
  const message = error instanceof Error ? error.message : String(error);
  return message.split("\n")[0] ?? "";
}
