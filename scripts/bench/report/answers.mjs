/** What a reader wants first: how much faster than what they use today, in words and a table. */
import { geometricMean, max, min } from "simple-statistics";
import { bytesOf, NORMS, OPS } from "../cells.mjs";
import { digits } from "../format.mjs";
import { ONE_THREAD } from "../limits/names.mjs";
import { contestantsOf } from "../overview.mjs";
import { groups } from "../targets/groups.mjs";
import { MEMORY } from "../targets/limits.mjs";
import { HELPS } from "../targets/threads.mjs";

/**
 * @typedef {import("../contestant.d.ts").Record} Record
 * @typedef {import("../contestant.d.ts").Results} Results
 */

/** What names stand for. @type {{ [contestant: string]: string }} */
const MEANING = {
  [ONE_THREAD]: "this package, the ordinary entry",
  "batchnorm-wasm plain": "this package, arrays copied in and out",
  "batchnorm-wasm in two passes": "this package, what is fused apart from the norm",
  "naive loop": "JavaScript as one writes it first",
  "flat loop": "JavaScript at its best, without a library",
  "loop by set": "JavaScript, without a library",
  "tfjs cpu": "TensorFlow.js in JavaScript",
  "tfjs wasm": "TensorFlow.js on its WebAssembly backend",
  "tfjs cpu + batchnorm-wasm": "TensorFlow.js in JavaScript, with this package's kernels",
  "tfjs wasm + batchnorm-wasm":
    "TensorFlow.js on its WebAssembly backend, with this package's kernels",
  "onnxruntime-web": "ONNX Runtime in WebAssembly",
  "onnxruntime-node": "ONNX Runtime, native",
  PyTorch: "native",
  "torch.compile": "PyTorch, compiled for the shape, native",
  JAX: "compiled by XLA for the shape, native",
};

/** From this size on a call's own cost is no matter. */
const FROM = 64 * 2 ** 10;

/** @param {readonly number[]} values */
const mean = (values) => digits(geometricMean([...values]));

/** "2.25 (1.10–4.80)". @param {readonly number[]} values */
const spread = (values) =>
  `**${mean(values)}** (${digits(min([...values]))}–${digits(max([...values]))})`;

/** Who is compared, where a call's own cost is no matter. @param {readonly Record[]} records */
export function compared(records) {
  return records.filter(
    (record) =>
      record.status === "ok" &&
      record.kind !== "limit" &&
      record.contestant in MEANING &&
      record.ratio_to_ours !== undefined &&
      bytesOf(record) >= FROM,
  );
}

/** How many times as long as ours a contestant takes, of records that are compared. @param {readonly Record[]} some */
export function asLong(some) {
  return some.length > 0
    ? spread(some.map(({ ratio_to_ours = Number.NaN }) => ratio_to_ours))
    : "–";
}

/**
 * A row a contestant: its time over ours, by operation.
 *
 * @param {readonly Record[]} records @param {readonly Record["op"][]} [ops]
 */
export function timesAsLong(records, ops = OPS) {
  const rivals = compared(records);
  return contestantsOf(rivals).map((name) => [
    `${name}: ${MEANING[name]}`,
    ...ops.map((op) =>
      asLong(rivals.filter((record) => record.contestant === name && record.op === op)),
    ),
  ]);
}

/** @type {readonly (readonly [Record["op"], string])[]} */
const TOLD = [
  ["inference", "inference"],
  ["training", "a forward pass of training"],
  ["forward-backward", "a forward and backward pass"],
];

/** Sentences. @param {readonly Record[]} records */
export function inWords(records) {
  const all = groups(records).filter(({ cell }) => bytesOf(cell) >= FROM);
  const sentence = (/** @type {"javascript" | "native"} */ kind) => {
    const told = TOLD.flatMap(([op, words]) => {
      const some = all.flatMap((group) =>
        group.cell.op === op ? (group[kind]?.ratio_to_ours ?? []) : [],
      );
      return some.length > 0 ? [`${mean(some)} times as long for ${words}`] : [];
    });
    return told.length > 0 ? `takes ${listed(told)}` : undefined;
  };
  const [javascript, native] = [sentence("javascript"), sentence("native")];
  return [
    javascript &&
      `Of all that runs in a browser, the fastest for each tensor ${javascript} as this package does.`,
    native && `Of native code on one thread, the fastest for each tensor ${native}.`,
    (javascript || native) &&
      "(Geometric means over tensors of 64 KB and more; below 1 the rival is faster.)",
  ]
    .filter(Boolean)
    .join(" ");
}

/** Sizes of x by what threads can do there. @type {readonly (readonly [string, number, number])[]} */
const SIZES = [
  ["below 1 MB", 0, HELPS],
  ["1 to 25 MB", HELPS, MEMORY],
  ["from 25 MB", MEMORY, Number.POSITIVE_INFINITY],
];

export const GAIN_COLUMNS = SIZES.map(([name]) => name);

/**
 * What threads gain: a row a norm and operation, a column of sizes each.
 *
 * @param {readonly Record[]} records
 */
export function gains(records) {
  const gained = records.filter(({ gain }) => gain !== undefined);
  return NORMS.flatMap((norm) =>
    OPS.flatMap((op) => {
      const some = gained.filter((one) => (one.norm ?? "batch") === norm && one.op === op);
      if (some.length === 0) return [];
      const cells = SIZES.map(([, from, to]) => {
        const within = some.filter((one) => bytesOf(one) >= from && bytesOf(one) < to);
        return within.length > 0 ? spread(within.map(({ gain = Number.NaN }) => gain)) : "–";
      });
      return [[`${norm} norm, ${op}`, ...cells]];
    }),
  );
}

/**
 * From memory: a row an operation, its bare loops over a copy, and ours over them. Without bare
 * loops there are none.
 *
 * @param {readonly Record[]} records
 */
export function fromMemory(records) {
  const all = groups(records).filter(({ cell }) => bytesOf(cell) >= MEMORY);
  return OPS.flatMap((op) => {
    const ratios = all.flatMap(({ cell, ours }) =>
      cell.op === op && ours?.ratio_to_bare && ours.ratio_to_copy
        ? [{ overBare: ours.ratio_to_bare, bare: ours.ratio_to_copy / ours.ratio_to_bare }]
        : [],
    );
    if (ratios.length === 0) return [];
    const overBare = ratios.map((one) => one.overBare);
    return [[op, mean(ratios.map(({ bare }) => bare)), mean(overBare), digits(max(overBare))]];
  });
}

/** "a, b and c". @param {readonly string[]} words */
function listed(words) {
  return words.length < 2 ? words.join("") : `${words.slice(0, -1).join(", ")} and ${words.at(-1)}`;
}

/** On what, with what and when. @param {Results} results */
export function whereMeasured({ machine, versions, date, avx2 }) {
  const runtime = versions.browser ?? `Node ${versions.node}`;
  const vectors = avx2
    ? "native rivals held to AVX2"
    : machine.vectors && `native rivals with ${machine.vectors}`;
  return [
    machine.processor,
    vectors,
    machine.system,
    runtime,
    date.slice(0, 10),
    `commit ${versions.commit}`,
  ]
    .filter(Boolean)
    .join(", ");
}

/** The run itself makes as many as it has threads: what ran beside it. */
const SHARED = 0.5;

/** A sentence where others used the machine at the same time. @param {Results} results */
export function company({ machine, threads = 1 }) {
  const { cores, load_before: before, load_most: most } = machine;
  if (!(Number(most) > threads + SHARED)) return "";
  const shared = `Others used the machine meanwhile: the load was ${before} before the run and up to ${most} in it, on ${cores} cores.`;
  // Then whoever is timed waits for a core in the middle of it, in this round or that.
  return Number(most) > Number(cores)
    ? `**${shared} A single figure may be off by several times; measure again before anything is made of it.**`
    : shared;
}
