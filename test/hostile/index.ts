/**
 * `npm run test:hostile`: random calls of everything that the package exports, with
 * arguments that no caller should pass, and all memory compared after each.
 *
 *   -- --calls 1000000   how many; default about a minute's worth
 *   -- --seed 7          other calls; each seed gives the same ones again
 *   -- --mild            only calls as a caller would write them, overlaps and all
 *   -- --skip view,set   none of these kinds
 *   -- --only view,set   these alone
 */
import { parseArgs } from "node:util";
import fc from "fast-check";
import { Random } from "../../scripts/random.mjs";
import { KINDS, setUp, skip, step } from "./kinds.js";
import { MEMORY } from "./memory.js";
import * as VALUES from "./values.js";
import { Fault, World } from "./world.js";

const { values } = parseArgs({
  options: {
    calls: { type: "string", default: "250000" },
    seed: { type: "string", default: "20261123" },
    mild: { type: "boolean", default: false },
    skip: { type: "string", default: "" },
    only: { type: "string", default: "" },
  },
});
const [wanted, seed] = [Number(values.calls), Number(values.seed)];
if (!(Number.isSafeInteger(wanted) && Number.isSafeInteger(seed))) {
  throw new Error("--calls and --seed are whole numbers");
}

const names = ["memory", ...KINDS.map(([name]) => name)];
const listed = (values.only || values.skip).split(",").filter((name) => name !== "");
const unknown = listed.filter((name) => !names.includes(name));
if (unknown.length > 0) throw new Error(`no kinds: ${unknown}; there are: ${names.join(", ")}`);
const skipped = values.only ? names.filter((name) => !listed.includes(name)) : listed;
skip(skipped);

/** Calls after one set-up: long enough for one to meet what an earlier one left. */
const LONGEST = 60;

const counts = new Map(KINDS.map(([name]) => [name, { calls: 0, returned: 0, failed: 0 }]));
const known = new Set<string>();
let calls = 0;

/** A sequence: what it is set up with, and the seed of each call. Numbers stay, calls are dropped. */
const number = fc.noShrink(fc.integer());
const sequence = fc.tuple(
  number,
  fc.array(number, { minLength: 1, maxLength: LONGEST, size: "max" }),
);

async function run([theme, seeds]: [number, number[]], { counts = false } = {}): Promise<World> {
  // One in eight has hardly any memory.
  const world = new World((theme & 7) === 0);
  current = world;
  setUp(world, new Random(theme));
  for (const seed of seeds) {
    const before = [world.calls, world.returned] as const;
    const end = step(world, seed, values.mild ? "mild" : "hostile");
    // (Waiting for nothing takes time, too.)
    if (end instanceof Promise) await end;
    if (!counts) continue;
    const count = countOf(world);
    count.calls += world.calls - before[0];
    count.returned += world.returned - before[1];
    calls += world.calls - before[0];
  }
  world.kind = "end";
  world.end();
  return world;
}

/** What is counted of the kind of call that a world is at. */
function countOf({ kind }: World): { calls: number; returned: number; failed: number } {
  const count = counts.get(kind) ?? { calls: 0, returned: 0, failed: 0 };
  counts.set(kind, count);
  return count;
}

let current: World | undefined;
const start = performance.now();
let reported = start;
for (let batch = 0; calls < wanted; batch++) {
  let found: string | undefined;
  const details = await fc.check(
    fc.asyncProperty(sequence, async (one) => {
      if (calls >= wanted && found === undefined) return;
      try {
        await run(one, { counts: found === undefined });
      } catch (fault) {
        if (!(fault instanceof Fault)) throw fault;
        const label = `${current?.kind}: ${fault.label}`;
        // Found before, or another one on the way to the shortest sequence.
        if (known.has(label) || (found ?? label) !== label) return;
        found = label;
        throw fault;
      }
    }),
    { seed: seed + batch, numRuns: 100, verbose: 0 },
  );
  if (details.failed) {
    if (found === undefined) throw details.errorInstance;
    known.add(found);
    await report(found, details.counterexample?.[0] as [number, number[]]);
  }
  // What was forgotten is collected between turns.
  await new Promise(setImmediate);
  if (performance.now() - reported > 5000) {
    reported = performance.now();
    const rate = Math.round(calls / ((reported - start) / 1000));
    console.log(
      `${calls} calls, ${rate} a second, ${known.size} faults, ${process.memoryUsage().heapUsed >> 20} MB`,
    );
  }
}

/** Prints the shortest program that was found, to be run in this folder. */
async function report(label: string, shortest: [number, number[]]): Promise<void> {
  let message = label;
  try {
    await run(shortest);
  } catch (fault) {
    message = (fault as Error).message;
  }
  const world = current as World;
  countOf(world).failed += 1;
  const lines = needed(world.log.map((line) => line()));
  const text = lines.join("\n");
  const names = world.names.filter((name) => new RegExp(`\\b${name}\\b`).test(text));
  const values = Object.keys(VALUES).filter((name) => new RegExp(`\\b${name}\\b`).test(text));
  console.log(`
FAULT ${world.kind}: ${message}
import * as library from "batchnorm-wasm";
import * as weights from "batchnorm-wasm/weights";
import { ${values.join(", ")} } from "./values.js";
import { module } from "../limited.js";
Object.assign(globalThis, library, weights);
const k = createKernel(module);
${names.length > 0 ? "let " : ""}${names.map((name) => (name.startsWith("r") ? `${name} = 0` : name)).join(", ")};
${text}
`);
}

/** The lines that the last one needs: of what is only made, what is named again. */
function needed(lines: string[]): string[] {
  const kept: string[] = [];
  let text = "";
  for (const line of lines.reverse()) {
    const [, made] = /^(\w\d+) = (?:\w+\.(?:slice|reshape)|Tensor\.from|new)/.exec(line) ?? [];
    if (kept.length > 0 && made && !new RegExp(`\\b${made}\\b`).test(text)) continue;
    kept.push(line);
    text += `${line}\n`;
  }
  return kept.reverse();
}

if (!skipped.includes("memory")) {
  for (const [name, run] of MEMORY) {
    const count = { calls: 1, returned: 1, failed: 0 };
    counts.set(name, count);
    try {
      run();
    } catch (error) {
      count.failed = 1;
      console.log(`\nFAULT ${name}: ${error}\n`);
    }
  }
}

let failed = 0;
for (const [name, { calls, returned, failed: faults }] of counts) {
  console.log(
    `${faults ? "FAILED" : "passed"}  ${name}: ${calls} calls, ${calls - returned} threw`,
  );
  if (faults) failed += 1;
}
const rate = Math.round(calls / ((performance.now() - start) / 1000));
console.log(`${calls} calls, ${rate} a second, seed ${seed}: ${known.size} faults`);
for (const label of known) console.log(`  ${label}`);
console.log(`${counts.size - failed} passed, ${failed} failed`);
process.exitCode = failed ? 1 : 0;
