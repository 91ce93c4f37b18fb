/** Results as Markdown: the README's section, and the page with everything. */
import { NORMS, OPS, VARIANT_NAMES, VARIANTS } from "../cells.mjs";
import { digits, duration } from "../format.mjs";
import { BARE_LOOPS } from "../limits/names.mjs";
import {
  contestantsOf,
  describe,
  reasonsOf,
  rowsOf,
  SECONDARY,
  sectionsOf,
  shapeOf,
  timeColumns,
  timeOf,
} from "../overview.mjs";
import {
  judge,
  judgeNative,
  judgeThreads,
  judgeVariants,
  TARGET_COLUMNS,
  TARGET_WORDS,
  targetRow,
} from "../targets/index.mjs";
import { numbered } from "../words.mjs";
import {
  asLong,
  company,
  compared,
  fromMemory,
  GAIN_COLUMNS,
  gains,
  inWords,
  timesAsLong,
  whereMeasured,
} from "./answers.mjs";

/**
 * @typedef {import("../contestant.d.ts").Record} Record
 * @typedef {import("../contestant.d.ts").Results} Results
 */

/** The short table: headline cells, under the picture. @param {Results} results @param {{ file: string, title: string }} picture */
export function readmeSection(results, { file, title }) {
  const headline = results.records.filter(
    ({ name, contestant }) => name === "headline" && !SECONDARY.includes(contestant),
  );
  const names = contestantsOf(headline);
  const rows = sectionsOf(headline).flatMap(({ op, layout, rows }) =>
    rows.map(({ cell, times }) => [`${op}, ${layout} ${shapeOf(cell)}`, ...inBold(times, names)]),
  );
  return [
    `![${title}](docs/bench/${file})`,
    inWords(results.records),
    markdownTable(["ms", ...names], rows),
    `Medians, one thread; ${whereMeasured(results)}. ${limits(names)}`,
  ].join("\n\n");
}

/** What the limits among the names are. @param {readonly string[]} names */
function limits(names) {
  const copy =
    "`memory.copy` moves the bytes of x, whatever the operation: the limit that memory sets.";
  const bare =
    "The bare loops are the operation's passes without channels: the limit of 128-bit vectors.";
  return names.includes(BARE_LOOPS) ? `${copy} ${bare}` : copy;
}

/**
 * Everything: first what a reader wants, then how far the targets are, then how and all times.
 *
 * @param {readonly Results[]} runs the charts are of the first
 * @param {readonly Chart[]} charts the overview first
 * @param {readonly Chart[]} [threadCharts] of the run of several threads
 */
export function page(runs, charts, threadCharts = []) {
  const [first] = runs;
  const [overview, ...others] = charts.map(pictured);
  const avx2 = runs.find((run) => run.avx2 && run !== first);
  const threaded = runs.find(({ threads }) => threads);
  const norms = runs.find(
    (run) => run !== threaded && run.records.some(({ norm }) => norm !== undefined),
  );
  const variants = runs.find(({ records }) => records.some(({ variant }) => variant !== undefined));
  return `${[
    "# Benchmarks",
    ...(first && overview ? [overview, ...answer(first)] : []),
    "## Charts",
    ...others,
    ...(first ? ["## Targets", TARGETS, targetsOf(judge(first)), ...missed(first)] : []),
    "## Without AVX-512",
    CLASSES,
    avx2
      ? [whereMeasured(avx2), targetsOf(judgeNative(avx2)), timesTable(avx2)].join("\n\n")
      : NO_AVX2,
    ...(variants ? ["## Batch norm's variants", VARIANTS_TOLD, ...ofVariants(variants)] : []),
    ...(norms ? ["## The other norms", NORMS_TOLD, ...ofNorms(norms)] : []),
    ...(threaded
      ? ["## Several threads", THREADS_TOLD, ...threadCharts.map(pictured), ...ofThreads(threaded)]
      : []),
    "## How it is measured",
    METHOD,
    ...runs.flatMap(times),
    "Made by `npm run bench:report` from stored results; edit neither this page nor its charts.",
  ].join("\n\n")}\n`;
}

/** @typedef {{ file: string, title: string }} Chart */

/** @param {Chart} chart */
const pictured = ({ file, title }) => `![${title}](bench/${file})`;

/** @param {Results} results */
function answer(results) {
  return [
    inWords(results.records),
    "How many times as long as this package others take, from 64 KB up: the geometric mean of all such tensors (the least–the most). Above 1 this package is faster; – it has no such operation, or none that could be timed (see the end).",
    timesTable(results),
    `${whereMeasured(results)}.`,
  ];
}

/** @param {Results} results */
function timesTable({ records }) {
  return markdownTable(["", ...OPS], timesAsLong(records));
}

const TARGETS = `What the kernels are to reach, in one run, on shapes in general. *Bare loops* are the passes of an
operation over contiguous bytes in plain 128-bit vectors, with constants in registers: what remains above them is structure, not arithmetic;
a few ns a channel are granted for its statistics. From 25 MB on memory is the limit, and \`memory.copy\` its measure. *Furthest* is the figure
that is furthest from its bound; *open* are targets whose cells or rivals these results don't have.`;

const NORMS_TOLD = `Forward passes, which save what a gradient needs, and backward passes. The bare loops are those of batch norm, which
take no γ and β along a row. How many times as long as this package others take: the geometric mean of all tensors from 64 KB up (the least–the most).`;

/** @param {Results} results */
function ofNorms(results) {
  const { records } = results;
  const ops = /** @type {const} */ (["training", "backward"]);
  const norms = NORMS.filter((norm) => records.some((record) => record.norm === norm));
  const head = norms.flatMap((norm) =>
    ops.map((op) => `${norm} ${op === "training" ? "forward" : op}`),
  );
  const columns = norms.map(
    (norm) =>
      new Map(
        timesAsLong(
          records.filter((record) => record.norm === norm),
          ops,
        ).map(([name, ...cells]) => [name, cells]),
      ),
  );
  const names = [...new Set(columns.flatMap((column) => [...column.keys()]))];
  const rows = names.map((name) => [
    name ?? "",
    ...columns.flatMap((column) => column.get(name) ?? ops.map(() => "–")),
  ]);
  return [markdownTable(["", ...head], rows), `${whereMeasured(results)}.`];
}

const VARIANTS_TOLD = `Ghost batches of a quarter of the samples; renorm at a step of its schedule at which some channels are limited; a
random mask of three positions in four; ReLU behind the norm, and a residual before it. Rivals have what they offer, and else what their users
compose of it (\`scripts/bench/native/\`, \`scripts/bench/contestants/\`). *Two passes* are this package's norm, and then
the rest as a pass of its own. *The norm alone* is this package's batch norm, and so are the bare loops' passes.`;

/** @param {Results} results */
function ofVariants(results) {
  const records = results.records.filter(({ variant }) => variant !== undefined);
  const kinds = VARIANTS.flatMap((variant) =>
    OPS.flatMap((op) => {
      const some = records.filter((record) => record.variant === variant && record.op === op);
      return some.length > 0 ? [{ title: `${VARIANT_NAMES[variant]}, ${op}`, some }] : [];
    }),
  );
  const names = contestantsOf(compared(records));
  const beside = kinds.map(({ title, some }) => [
    title,
    ...names.map((name) => asLong(compared(some).filter((one) => one.contestant === name))),
  ]);
  const tensors = [...new Set(records.map(tensorOf))];
  const overAlone = kinds.map(({ title, some }) => [
    title,
    ...tensors.map((tensor) => {
      const ours = some.find((one) => one.kind === "ours" && tensorOf(one) === tensor);
      return ours?.ratio_to_alone ? digits(ours.ratio_to_alone) : "";
    }),
  ]);
  return [
    "How many times as long as this package others take: the geometric mean of all tensors from 64 KB up (the least–the most).",
    markdownTable(["", ...names], beside),
    "How many times as long as batch norm alone, of this package and in the same rounds, each takes:",
    markdownTable(["", ...tensors], overAlone),
    targetsOf(judgeVariants(results)),
    `${whereMeasured(results)}. ${company(results)}`.trim(),
  ];
}

const THREADS_TOLD = `This package's entry with threads, and rivals with as many; \`memory.copy\` and the bare loops have one. Contestants run in
turns: who was last has its threads come to rest, since most look for work for some ms after a call and would keep a processor from whoever is next, and a
call that isn't timed wakes those of the next. The gain is the time of the ordinary entry over that with threads, in the same rounds. The interval beside it is where the median
of the rounds is with 95 %, and a cell misses its bound where all of that does.`;

/** @param {Results} results */
function ofThreads(results) {
  const { records, threads = 1 } = results;
  const batch = records.filter(({ norm }) => norm === undefined);
  const ops = OPS.filter((op) => batch.some((record) => record.op === op));
  return [
    "What threads gain: geometric means (the least–the most), by the size of x.",
    markdownTable(["", ...GAIN_COLUMNS], gains(records)),
    `How many times as long as this package others take for batch norm, all on ${numbered(threads)}, but for ours on one: the geometric mean of all tensors from 64 KB up (the least–the most).`,
    markdownTable(["", ...ops], timesAsLong(batch, ops)),
    targetsOf(judgeThreads(results)),
    `${whereMeasured(results)}. ${company(results)}`.trim(),
  ];
}

/** @param {Record} record */
const tensorOf = (record) => `${shapeOf(record)} ${record.layout}`;

/** @param {Results} results */
function missed({ records }) {
  const rows = fromMemory(records);
  if (rows.length === 0) return [];
  return ["### What keeps those that are missed", MISSED, markdownTable(FROM_MEMORY, rows)];
}

const FROM_MEMORY = ["from 25 MB", "bare loops ÷ memory.copy", "ours ÷ bare loops", "furthest"];

const MISSED = `- **Channels.** Each is settled by itself in scalar f64: two thirds of what a channel takes. As two at a time, in the only
  vectors of f64 that WebAssembly has, it took 20 instead of 29 ns, and 2 to 3.5 KB more of a kernel that may grow by 1.2. It shows
  where a channel has few elements: [N, C] of some rows, 2×2 and 4×4 images. Nearly all cells in which a native rival takes less than two thirds of the time are of these, or in place.
- **16 elements.** Half is JavaScript: options looked up by name and once more on \`Object.prototype\`, shapes compared, overlaps
  looked for. Each was timed alone, and what could go without letting a wrong call through is gone.
- **In place, channels-last.** A map in place has half the bytes to move, and the rest of its work does not halve: constants are loaded for each row.
- **7×7 over 14×14.** 49 elements are six strips and a vector of one; a run's own work is spread over a quarter of the elements.
- **Beside \`memory.copy\`** the bounds are those of a machine whose copy is no faster than such loops. Here it is: in this run the bare loops themselves take
  so many times as long as the copy, and ours about as long as they do (geometric means, and the furthest cell):

Each experiment, also those that were lost, is in [scripts/bench/NOTES.md](../scripts/bench/NOTES.md).`;

const CLASSES = `With AVX-512 a native kernel has sixteen floats in a vector, with AVX2 eight, and WebAssembly four.
The targets against native code are stated for both classes of machines: \`--avx2\` holds PyTorch, torch.compile and JAX to AVX2
(ATEN_CPU_CAPABILITY, x86-64-v3, xla_cpu_max_isa), as on a processor without AVX-512. ONNX Runtime has no such switch, and what runs in Node chooses itself.`;

const NO_AVX2 =
  "Not measured yet: `npm run bench -- --full --native --avx2 --filter '(batchnorm-wasm|onnxruntime-node|PyTorch|torch.compile|JAX)$' --json docs/bench/results-avx2.json`.";

const METHOD = `Every contestant has one thread, where nothing else is said, and the same inputs, which lie where it wants them before the
clock starts; only *batchnorm-wasm plain* pays for a copy in and out, and so does onnxruntime-web, whose API has no other way.
Its first output is compared with a float64 reference: the error is the largest deviation over the largest true value
of an output array, and what is off by more than 1e-4 is shown as wrong and not timed. Then it is warmed up until it
gets no faster, and runs in rounds with all others of the cell, each round a few ms of calls on the same data: what fits
a cache is in it. Times are medians of the rounds; ratios are taken round by round. \`memory.copy\` moves x's bytes
once, inside WebAssembly, whatever the operation, and on the widest vectors that the processor has.

The bare loops: inference is y = x·a + b; training a fold of x (sums of x − c and of its square) and this map; backward a
fold of x and dy and the gradient's map of both, with the kernel's own arithmetic (\`scripts/bench/limits/text.mjs\`). A map that follows a fold goes
through memory in megabytes from the last to the first, so that what the fold left in the cache is used first, as in the kernel.

*ns a channel beside its elements* is the slope between two tensors of 64 KB, one with 1024 channels, one with 64: [16, 1024] and [256, 64],
and channels-first 1×1024×4×4 and 1×64×16×16. *7×7 ÷ 14×14* are tensors of the same batch and bytes.`;

/** @param {Results} results */
function times({ records, machine, versions, date, command, avx2, threads = 1 }) {
  const facts = [...Object.entries(machine), ...Object.entries(versions), ["date", date]];
  const ofContestants = new Map(
    records.flatMap(({ contestant, version }) => (version ? [[contestant, version]] : [])),
  );
  const tables = sectionsOf(records).map(({ title, rows }) => {
    const columns = timeColumns(rows);
    return `### ${title}\n\n${markdownTable(
      ["", ...columns.head],
      rows.map(({ cell, times }) => [describe(cell), ...columns.row(times)]),
    )}`;
  });
  return [
    `## Times in ${versions.browser ?? `Node ${versions.node}`}${avx2 ? ", native rivals held to AVX2" : ""}${threads > 1 ? `, ${numbered(threads)}` : ""}`,
    `\`${command}\`: ${facts.map((pair) => pair.join(" ")).join("; ")}.`,
    `Contestants: ${[...ofContestants].map((pair) => pair.join(" ")).join("; ")}.`,
    ...tables,
    `Where there is no time:\n\n${reasonsOf(records)
      .map((reason) => `- ${reason}`)
      .join("\n")}`,
    "Warm-up: the first call, and how long it ran until calls took what they take in the rounds; medians over the cells.",
    warmup(records),
  ];
}

/** @param {readonly import("../targets/verdict.mjs").Verdict[]} verdicts */
function targetsOf(verdicts) {
  return markdownTable(TARGET_COLUMNS, verdicts.map(targetRow), TARGET_WORDS);
}

/** @param {readonly Record[]} records */
function warmup(records) {
  const middle = (/** @type {number[]} */ values) =>
    duration(values.sort((a, b) => a - b)[values.length >> 1] ?? Number.NaN);
  const rows = contestantsOf(records).flatMap((name) => {
    const some = records.filter(({ contestant, status }) => contestant === name && status === "ok");
    if (some.length === 0) return [];
    const first = some.map(({ first_ms }) => first_ms ?? Number.NaN);
    const all = some.map(({ warmup_ms }) => warmup_ms ?? Number.NaN);
    return [[name, middle(first), middle(all)]];
  });
  return markdownTable(["", "first call", "warm-up"], rows);
}

/**
 * Times in ms, the fastest contestant's in bold.
 *
 * @param {ReturnType<typeof rowsOf>[number]["times"]} times @param {readonly string[]} names
 */
function inBold(times, names) {
  const timed = [...times.values()].filter(
    ({ status, kind }) => status === "ok" && kind !== "limit",
  );
  const fastest = Math.min(...timed.map(({ median_ms }) => median_ms ?? Number.NaN));
  return names.map((name) => {
    const record = times.get(name);
    if (record?.status !== "ok") return timeOf(record);
    const time = digits(record.median_ms ?? Number.NaN);
    return record.median_ms === fastest && record.kind !== "limit" ? `**${time}**` : time;
  });
}

/**
 * The first column to the left, others to the right, but for those that are of words.
 *
 * @param {readonly string[]} head @param {readonly (readonly string[])[]} rows
 * @param {readonly number[]} [words]
 */
function markdownTable(head, rows, words = [0]) {
  const line = (/** @type {readonly string[]} */ cells) => `| ${cells.join(" | ")} |`;
  const rule = head.map((_, column) => (words.includes(column) ? "---" : "---:"));
  return [line(head), `|${rule.join("|")}|`, ...rows.map(line)].join("\n");
}

/**
 * Text between the markers `<!-- bench:begin -->` and `<!-- bench:end -->` replaced.
 *
 * @param {string} text @param {string} inner
 */
export function betweenMarkers(text, inner) {
  const markers = /(<!-- bench:begin -->\n)[\s\S]*(<!-- bench:end -->)/;
  if (!markers.test(text)) throw new Error("the markers bench:begin and bench:end are missing");
  return text.replace(markers, (_, begin, end) => `${begin}\n${inner}\n\n${end}`);
}
