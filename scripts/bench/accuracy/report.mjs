/** The report's words: tables for the terminal. */
import { median } from "./ulp.mjs";

/**
 * @typedef {import("./judge.mjs").Record} Record
 * @typedef {import("./judge.mjs").Comparison} Comparison
 */

/** Bounds below this are marked. */
const ONE_ROUNDING_MORE = 1;

/** An error in a few characters. @param {number} value */
export function show(value) {
  if (value === 0) return "0";
  if (!Number.isFinite(value)) return "∞";
  if (value >= 1e4 || value < 0.001) return value.toExponential(0).replace("+", "");
  return value >= 100 ? value.toFixed(0) : value.toPrecision(2);
}

/**
 * One row an array, one column a contestant: maximum / median.
 *
 * @param {readonly Record[]} records of one case
 * @param {readonly string[]} contestants
 * @param {keyof import("./ulp.mjs").Errors} metric
 */
export function table(records, contestants, metric) {
  const rows = new Map(
    records.map(({ op, array }) => [
      `${array}${op === "inference" ? " (inference)" : op.endsWith(" norm") ? `, ${op}` : ""}`,
      { op, array },
    ]),
  );
  const width = Math.max(13, ...contestants.map((name) => name.length + 2));
  const line = (/** @type {string} */ head, /** @type {string[]} */ cells) =>
    `  ${head.padEnd(22)}${cells.map((cell) => cell.padStart(width)).join("")}`;
  const body = [...rows].map(([head, { op, array }]) =>
    line(
      head,
      contestants.map((contestant) => {
        const record = records.find(
          (r) => r.contestant === contestant && r.op === op && r.array === array,
        );
        if (!record) return "–";
        const { max, median } = record.errors[metric];
        return `${show(max)} / ${show(median)}`;
      }),
    ),
  );
  return [line("", [...contestants]), ...body].join("\n");
}

/**
 * All cases in one table: the largest of their maxima / the median of these.
 *
 * @param {readonly Record[]} records
 * @param {readonly string[]} contestants
 * @param {keyof import("./ulp.mjs").Errors} metric
 */
export function overview(records, contestants, metric) {
  /** @type {Map<string, Record[]>} */
  const groups = new Map();
  for (const record of records) {
    const key = [record.contestant, record.op, record.array].join();
    groups.set(key, [...(groups.get(key) ?? []), record]);
  }
  const all = [...groups.values()].flatMap((group) => {
    const maxima = Float64Array.from(group, ({ errors }) => errors[metric].max);
    const spread = { max: Math.max(...maxima), median: median(maxima) };
    return group
      .slice(0, 1)
      .map((one) => ({ ...one, errors: { ...one.errors, [metric]: spread } }));
  });
  return table(all, contestants, metric);
}

/**
 * What was judged, and each violation with both figures.
 *
 * @param {readonly Comparison[]} compared @param {string} them
 */
export function verdict(compared, them) {
  const violated = compared.filter(({ violated }) => violated);
  const lines = violated.map(
    ({ distribution, layout, shape, op, array, figure, our, their, bound }) =>
      `${bound < ONE_ROUNDING_MORE ? "*" : " "} ${distribution} · ${layout} ${shape.join("×")} · ` +
      `${op} ${array}, ${figure}: ours ${show(our)}, ${them} ${show(their)}, allowed ${show(bound)}`,
  );
  const marked = lines.filter((line) => line.startsWith("*")).length;
  const arrays = [...new Set(compared.map(({ array }) => array))].map((array) => {
    const all = compared.filter((one) => one.array === array);
    return `${array} ${all.filter(({ violated }) => !violated).length}/${all.length}`;
  });
  return [
    `Within the target against ${them}: ${arrays.join(", ")}`,
    `${violated.length} of ${compared.length} figures violate it` +
      (marked
        ? `, ${marked} of them (*) a bound below 1 ULP, which leaves room for the output's ` +
          "own rounding and hardly another:"
        : violated.length
          ? ":"
          : "."),
    ...lines,
  ].join("\n");
}
