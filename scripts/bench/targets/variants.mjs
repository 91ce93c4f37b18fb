/** Batch norm's variants beside it alone, in the same rounds, and fused steps beside native ones. */
import { ACTIVATED, channelsOf, label, virtualBatchSizeOf } from "../cells.mjs";
import { groupsOfAll, missingOf } from "./groups.mjs";
import { verdict } from "./verdict.mjs";

/**
 * @typedef {import("../contestant.d.ts").Record} Record
 * @typedef {import("../contestant.d.ts").Op} Op
 * @typedef {import("./groups.mjs").Group} Group
 */

/** Elements of a set, a channel of a ghost batch, from which on it is judged. */
const SET = 1024;

/** @param {Group["cell"]} cell */
function elementsOfSet(cell) {
  const { shape } = cell;
  const elements = shape.reduce((a, b) => a * b, 1) / channelsOf(cell);
  return (elements / /** @type {number} */ (shape[0])) * virtualBatchSizeOf(cell);
}

/** @type {readonly Op[]} */
const TRAINING = ["training", "backward", "forward-backward"];
/** @type {readonly Op[]} */
const FORWARD = ["inference", "training"];

/** @type {readonly [string, number, (cell: Group["cell"]) => boolean][]} */
const BESIDE = [
  [
    `ghost batches, from ${SET} elements a set`,
    1.15,
    (cell) => cell.variant === "ghost" && elementsOfSet(cell) >= SET,
  ],
  ["renorm", 1.05, is("renorm", TRAINING)],
  ["mask", 1.4, is("mask", TRAINING)],
  ["ReLU, forward", 1.05, is("relu", FORWARD)],
  ["ReLU, backward", 1.4, is("relu", ["backward"])],
];

/** @param {Record["variant"]} variant @param {readonly Op[]} ops */
function is(variant, ops) {
  return (/** @type {Group["cell"]} */ cell) => cell.variant === variant && ops.includes(cell.op);
}

/** Those that fuse, or may: without them a target is not met, whatever the others say. */
const NATIVE = ["onnxruntime-node", "PyTorch", "torch.compile", "JAX"];

/** @param {readonly Record[]} records */
export function variantTargets(records) {
  const varied = records.filter(({ variant }) => variant !== undefined);
  const all = groupsOfAll(varied);
  const absent = missingOf(varied, NATIVE);
  const fused = all.filter(({ cell: { variant } }) => variant && ACTIVATED.includes(variant));
  return [
    ...BESIDE.map(([name, bound, among]) =>
      verdict({
        target: `${name}: ours ÷ batch norm alone`,
        bound: `≤ ${bound}`,
        sign: "≤",
        figures: all.flatMap(({ cell, ours }) =>
          among(cell) && ours?.ratio_to_alone
            ? [{ cell: label(cell), value: ours.ratio_to_alone, bound }]
            : [],
        ),
      }),
    ),
    verdict({
      target: "ReLU, residual + ReLU: fastest native ÷ ours",
      bound: "geomean ≥ 1",
      sign: "≥",
      figures: fused.flatMap(({ cell, native }) =>
        native?.ratio_to_ours ? [{ cell: label(cell), value: native.ratio_to_ours }] : [],
      ),
      geomean: 1,
      missing: absent.length > 0 ? `without ${absent.join(", ")}` : "",
    }),
  ];
}
