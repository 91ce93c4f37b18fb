/**
 * `npm run bench:accuracy`: errors against float64 over distributions that break one or
 * another way of computing moments.
 *
 *     npm run bench:accuracy -- [--native] [--quick] [--metric largest|own|relative] [--json FILE]
 *     KERNEL_WASM=path npm run bench:accuracy
 *
 * `--native` adds PyTorch and JAX (after `npm run bench:native-setup`) and judges ours by
 * PyTorch's (`judge.mjs`); `--quick` leaves out 10⁶ and more values a channel; `--metric`
 * is what the tables show (`ulp.mjs`), the JSON has all.
 */
import { writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { ensureInstalled } from "../install.mjs";
import { describeMachine } from "../machine.mjs";
import { samples, samplesOfSets } from "./cases.mjs";
import { startContestants } from "./contestants.mjs";
import { judge } from "./judge.mjs";
import { overview, show, table, verdict } from "./report.mjs";
import { runDivided, runSample } from "./run.mjs";

const { values: options } = parseArgs({
  options: {
    native: { type: "boolean", default: false },
    quick: { type: "boolean", default: false },
    metric: { type: "string", default: "largest" },
    json: { type: "string" },
  },
});
const OURS = "batchnorm-wasm";
const METRICS = {
  largest: "ULPs of the array's largest |truth|",
  own: "ULPs of each element's own truth",
  relative: "relative to each element's own truth",
};
if (!(options.metric in METRICS)) {
  throw new Error(`--metric ${options.metric}: ${Object.keys(METRICS).join(", ")}`);
}
const metric = /** @type {keyof typeof METRICS} */ (options.metric);

ensureInstalled();
const { running, absent } = await startContestants(options.native);
const names = running.map(({ name }) => name);
console.log(`Errors against float64: maximum / median, ${METRICS[metric]}.`);
for (const { name, started } of running) console.log(`  ${name} ${started.version}`);
for (const { name, reason } of absent) console.log(`  ${name}: absent: ${reason}`);

/** @type {import("./judge.mjs").Record[]} */
const records = [];
/** @type {(import("./run.mjs").Gap & { layout: string })[]} */
const gaps = [];
const all = samples(options);
const start = performance.now();
for (const [k, sample] of all.entries()) {
  for await (const { layout, shape, records: made, gaps: missing } of runSample(sample, running)) {
    const { distribution } = sample;
    const seconds = ((performance.now() - start) / 1000).toFixed(0);
    const ratio = made[0] ? `, |mean|/std ${show(made[0].mean_over_std)}` : "";
    console.log(
      `\n[${k + 1}/${all.length}, ${seconds} s] ${distribution.name} · ${layout} ${shape.join("×")}${ratio}`,
    );
    console.log(table(made, names, metric));
    for (const { contestant, op, reason } of missing) {
      if (reason.startsWith("failed")) console.log(`  ${contestant}, ${op}: ${reason}`);
    }
    records.push(...made);
    gaps.push(...missing.map((gap) => ({ ...gap, layout })));
  }
}
for (const { sample, divided } of samplesOfSets()) {
  const made = [];
  for (const one of divided) {
    const { records: some, gaps: missing } = await runDivided(sample, one, running);
    made.push(...some);
    gaps.push(...missing.map((gap) => ({ ...gap, layout: one.layout })));
  }
  const seconds = ((performance.now() - start) / 1000).toFixed(0);
  const ratio = made[0] ? `, |mean|/std of a set ${show(made[0].mean_over_std)}` : "";
  console.log(`\n[${seconds} s] ${sample.distribution.name} · the other norms${ratio}`);
  console.log(table(made, names, metric));
  records.push(...made);
}
for (const { started } of running) await started.close?.();

console.log(
  `\nAll ${all.length} samples: largest maximum / median of the maxima, ${METRICS[metric]}`,
);
console.log(`${overview(records, names, metric)}\n`);
for (const gap of new Set(
  gaps.map(({ contestant, op, layout, reason }) => `${contestant}, ${op}, ${layout}: ${reason}`),
)) {
  console.log(gap);
}
// What a rival can't do is a result; what we can't is an error.
if (gaps.some(({ contestant }) => contestant === OURS)) process.exitCode = 1;
const compared = judge(records, OURS, "PyTorch");
if (compared.length > 0) console.log(`\n${verdict(compared, "PyTorch")}`);
else console.log("Not judged: that takes PyTorch's errors (--native).");

if (options.json) {
  const machine = describeMachine();
  const started = running.map(({ name, started }) => [name, started.version]);
  const versions = { node: process.versions.node, ...Object.fromEntries(started) };
  const result = {
    date: new Date().toISOString(),
    command: ["npm run bench:accuracy --", ...process.argv.slice(2)].join(" "),
    machine,
    versions,
    absent,
    gaps,
    records,
    judged: compared,
  };
  // JSON has no ∞, which an output that is NaN or ∞ has for its error.
  const text = JSON.stringify(
    result,
    (_, value) => (value === Number.POSITIVE_INFINITY ? "Infinity" : value),
    1,
  );
  writeFileSync(options.json, `${text}\n`);
}
