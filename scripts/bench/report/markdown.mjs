/** Results as Markdown: the README's table, and the page with everything. */
import { digits, duration } from "../format.mjs";
import {
  contestantsOf,
  describe,
  reasonsOf,
  rowsOf,
  SECONDARY,
  sectionsOf,
  shapeOf,
  timeOf,
} from "../overview.mjs";
import { judge, TARGET_COLUMNS, TARGET_WORDS, targetRow } from "../targets/index.mjs";

/**
 * @typedef {import("../contestant.d.ts").Record} Record
 * @typedef {import("../contestant.d.ts").Results} Results
 */

/** The short table: headline cells. @param {Results} results */
export function readmeTable({ records, machine, versions, date }) {
  const headline = records.filter(
    ({ name, contestant }) => name === "headline" && !SECONDARY.includes(contestant),
  );
  const names = contestantsOf(headline);
  const rows = sectionsOf(headline).flatMap(({ op, layout, rows }) =>
    rows.map(({ cell, times }) => [`${op}, ${layout} ${shapeOf(cell)}`, ...inBold(times, names)]),
  );
  const { processor, system } = machine;
  const where = `${processor}, ${system}, Node ${versions.node}, ${date.slice(0, 10)}`;
  return `${markdownTable(["ms", ...names], rows)}\n\nMedians, one thread; ${where}. \`memory.copy\` moves the bytes of x, whatever the operation: the limit that memory sets.`;
}

/**
 * Everything.
 *
 * @param {readonly Results[]} runs the charts are of the first
 * @param {readonly { file: string, title: string }[]} charts
 */
export function page(runs, charts) {
  const images = charts.map(({ file, title }) => `### ${title}\n\n![${title}](bench/${file})`);
  const [first] = runs;
  return `${[
    "# Benchmarks",
    "Made by `npm run bench:report` from stored results; edit neither this page nor its charts.",
    METHOD,
    ...(first ? ["## Targets", targets(first)] : []),
    "## Charts",
    ...images,
    ...runs.flatMap(times),
  ].join("\n\n")}\n`;
}

const METHOD = `Every contestant has one thread and the same inputs, which lie where it wants them before the
clock starts; only *batchnorm-wasm plain* pays for a copy in and out, and so does onnxruntime-web, whose API has no other way.
Its first output is compared with a float64 reference: the error is the largest deviation over the largest true value
of an output array, and what is off by more than 1e-4 is shown as wrong and not timed. Then it is warmed up until it
gets no faster, and runs in rounds with all others of the cell, each round a few ms of calls on the same data: what fits
a cache is in it. Times are medians of the rounds; ratios are taken round by round. \`memory.copy\` moves x's bytes
once, inside WebAssembly, whatever the operation.`;

/** @param {Results} results */
function times({ records, machine, versions, date, command }) {
  const names = contestantsOf(records);
  const facts = [...Object.entries(machine), ...Object.entries(versions), ["date", date]];
  const ofContestants = new Map(
    records.flatMap(({ contestant, version }) => (version ? [[contestant, version]] : [])),
  );
  const tables = sectionsOf(records).map(
    ({ op, layout, rows }) =>
      `### ${op}, ${layout}\n\n${markdownTable(
        ["", ...names],
        rows.map(({ cell, times }) => [
          describe(cell),
          ...names.map((name) => timeOf(times.get(name))),
        ]),
      )}`,
  );
  return [
    `## Times in ${versions.browser ?? `Node ${versions.node}`}`,
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

/** @param {Results} results */
function targets(results) {
  return markdownTable(TARGET_COLUMNS, judge(results).map(targetRow), TARGET_WORDS);
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
