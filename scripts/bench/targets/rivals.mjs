/** Ours beside the fastest of each kind. */
import { geometricMean } from "simple-statistics";
import { bytesOf, LAYOUTS, label, OPS } from "../cells.mjs";
import { missingOf } from "./groups.mjs";
import { verdict } from "./verdict.mjs";

/**
 * @typedef {import("../contestant.d.ts").Record} Record
 * @typedef {import("./groups.mjs").Group} Group
 */

/** Those that are the fastest somewhere: without them a target is not met, whatever the others say. */
const NATIVE = ["onnxruntime-node", "PyTorch", "torch.compile", "JAX"];
const JAVASCRIPT = ["flat loop", "tfjs wasm", "onnxruntime-web"];

const without = (/** @type {readonly string[]} */ names) =>
  names.length > 0 ? `without ${names.join(", ")}` : "";

/** @param {readonly Group[]} all @param {readonly Record[]} records */
export function nativeTargets(all, records) {
  const missing = without(missingOf(records, NATIVE));
  const compared = all.flatMap(({ cell, native, ours }) =>
    native?.ratio_to_ours ? [{ cell, ours, value: native.ratio_to_ours }] : [],
  );
  const floor = 0.65;
  const atTheLimit = 1.25;
  const [excused, judged] = partition(
    compared,
    ({ value, ours }) => value < floor && (ours?.ratio_to_bare ?? Number.NaN) <= atTheLimit,
  );
  const common = { sign: /** @type {const} */ ("≥"), missing };
  return [
    verdict({
      ...common,
      target: "fastest native ÷ ours, all cells",
      bound: "geomean ≥ 1.3",
      figures: compared.map(({ cell, value }) => ({ cell: label(cell), value })),
      geomean: 1.3,
    }),
    verdict({
      ...common,
      target: "fastest native ÷ ours, geomean of each operation and layout",
      bound: "≥ 1",
      figures: OPS.flatMap((op) =>
        LAYOUTS.flatMap((layout) => {
          const some = compared.filter(({ cell }) => cell.op === op && cell.layout === layout);
          if (some.length === 0) return [];
          const value = geometricMean(some.map((one) => one.value));
          return [{ cell: `${op} ${layout}`, value, bound: 1 }];
        }),
      ),
    }),
    verdict({
      ...common,
      target: "fastest native ÷ ours, each cell",
      bound: `≥ ${floor}, unless ours is within ${atTheLimit} of the bare loops`,
      figures: judged.map(({ cell, value }) => ({ cell: label(cell), value, bound: floor })),
      note: excused.length > 0 ? `${excused.length} below it are at the bare loops` : "",
    }),
  ];
}

/** @param {readonly Group[]} all @param {readonly Record[]} records */
export function javascriptTargets(all, records) {
  const missing = without(missingOf(records, JAVASCRIPT));
  return OPS.map((op) => {
    const inference = op.startsWith("inference");
    return verdict({
      target: `${op}: fastest JavaScript or wasm ÷ ours, from 64 KB`,
      bound: inference
        ? "≥ 3, or where the rival is within 4 copies ≥ 0.8 × (rival ÷ copy)"
        : "≥ 4",
      sign: "≥",
      figures: all.flatMap(({ cell, javascript }) => {
        const value = javascript?.ratio_to_ours;
        if (cell.op !== op || bytesOf(cell) < 64 * 2 ** 10 || value === undefined) return [];
        const bound = inference ? inferenceBound(javascript?.ratio_to_copy) : 4;
        return [{ cell: label(cell), value, bound }];
      }),
      missing,
    });
  });
}

/** Of a rival near the copy nobody can be three times as fast. @param {number | undefined} toCopy */
function inferenceBound(toCopy) {
  return toCopy !== undefined && toCopy <= 4 ? Math.min(3, 0.8 * toCopy) : 3;
}

/**
 * @template T
 * @param {readonly T[]} all @param {(one: T) => boolean} test
 * @returns {[T[], T[]]} those for which it holds, and the others
 */
function partition(all, test) {
  return [all.filter(test), all.filter((one) => !test(one))];
}
