/**
 * `npm run bench:streaming`: moments of a table of 10⁷ rows and 32 columns, a million σ from 0, in
 * chunks, by `RunningMoments`, a loop of JavaScript and @stdlib's accumulators; time a row, how far
 * they are off exact sums, and the memory that stays.
 *
 *     npm run bench:streaming [-- --rows N] [--filter REGEX]
 */
import { parseArgs } from "node:util";
import * as library from "../../../dist/entry/slim.js";
import { kernelBytes } from "../../kernel/under-test.mjs";
import { digits, table } from "../format.mjs";
import { ensureInstalled } from "../install.mjs";
import { commit, describeMachine } from "../machine.mjs";
import { byArrays, inKernelMemory, stdlibAccumulators, welfordLoop } from "./contestants.mjs";
import { faultsOf } from "./judge.mjs";
import { stream } from "./run.mjs";

const { values } = parseArgs({
  options: {
    rows: { type: "string", default: "10000000" },
    filter: { type: "string", default: "" },
  },
});
const given = { rows: Number(values.rows), columns: 32, chunk: 4096 };
if (!(Number.isSafeInteger(given.rows) && given.rows > 0)) {
  throw new Error(`--rows ${values.rows}: a whole number above 0`);
}
const collectGarbage = globalThis.gc;
if (!collectGarbage) throw new Error("run node with --expose-gc");
ensureInstalled();
const { default: incrmeanvar } = await import("@stdlib/stats-incr-meanvar");

const { rows, columns, chunk } = given;
const kernel = library.createKernel(await WebAssembly.compile(kernelBytes));
const lengths = [Math.min(chunk, rows), rows % chunk].filter((length) => length > 0);
const pattern = new RegExp(values.filter, "i");
const contestants = [
  inKernelMemory(library, kernel, lengths, columns),
  byArrays(library, kernel, columns),
  welfordLoop(chunk * columns, columns),
  stdlibAccumulators(incrmeanvar, columns),
].filter(({ name }) => pattern.test(name));
const [first] = contestants;
if (!first) throw new Error(`nobody matches ${pattern}`);
const machine = describeMachine();
const { outcomes, before, after, seconds } = stream(given, contestants, () => {
  collectGarbage();
  const { heapUsed, rss } = process.memoryUsage();
  return { heap: heapUsed, kernel: kernel.memoryUsage().memoryBytes, rss };
});

const shown = (/** @type {number | undefined} */ value) =>
  value === undefined ? "–" : digits(value);
const head = [
  ...["", "update, ns a row", "÷ the first", "all, s", "normalize, ns a row", "÷ the first"],
  ...["mean off by, σ", "variance off by"],
];
console.log(
  table(
    head,
    outcomes.map(({ name, update, normalize, toFirst, errors }, i) => [
      name,
      ...[shown(update), shown(toFirst.update)],
      digits(seconds[i] ?? Number.NaN),
      ...[shown(normalize), shown(toFirst.normalize)],
      errors.mean.toExponential(1),
      errors.variance.toExponential(1),
    ]),
  ),
);
const mb = (/** @type {number} */ bytes) => `${(bytes / 2 ** 20).toFixed(2)} MB`;
console.log(
  `\nMemory early on and at the end: ${
    /** @type {const} */ (["heap", "kernel", "rss"])
      .map((name) => `${name} ${mb(before[name])} → ${mb(after[name])}`)
      .join(", ")
  }`,
);
console.log(
  `${rows} rows of ${columns} columns in chunks of ${chunk}; ${machine.processor}, ` +
    `Node ${process.versions.node}, load before ${machine.load_before}, commit ${commit()}`,
);
const faults = faultsOf(outcomes, before, after, Math.ceil(rows / chunk));
for (const fault of faults) console.error(fault);
if (faults.length > 0) process.exitCode = 1;
