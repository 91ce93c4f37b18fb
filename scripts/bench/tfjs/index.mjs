/**
 * `npm run bench:tfjs`: TensorFlow.js with this package beside plain TensorFlow.js, layer by layer and as
 * whole models: ratios of what ran in turns.
 *
 *     npm run bench:tfjs -- --filter 'wasm|predict'   some of it
 *     npm run bench:tfjs -- --rounds 5                pairs of processes a model
 */
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { digits } from "../format.mjs";
import { ensureInstalled } from "../install.mjs";
import { LAYERS, LEAST, MODELS, nameOf, SHARE } from "./cells.mjs";

const { values } = parseArgs({
  options: { filter: { type: "string", default: "" }, rounds: { type: "string", default: "3" } },
});
const wanted = new RegExp(values.filter);
const rounds = Number(values.rounds);
if (!(Number.isSafeInteger(rounds) && rounds > 0)) throw new Error("--rounds: a number from 1 on");
ensureInstalled();

const child = fileURLToPath(new URL("child.mjs", import.meta.url));
let missed = 0;
const line = (/** @type {string[]} */ [name = "", ...others]) =>
  console.log(name.padEnd(44) + others.map((text) => text.padStart(12)).join(""));

// As many times as fast as plain is what computes nothing: it only makes the tensors, by copying.
line(["ms", "plain", "ours", "times", "copying", "to reach"]);
for (const cell of LAYERS.filter((cell) => wanted.test(nameOf(cell)))) {
  const { plain, ours, ratio, copying } = run(cell);
  judge(nameOf(cell), plain, ours, ratio, cell.reached * SHARE, digits(copying));
}
for (const cell of MODELS.filter((cell) => wanted.test(nameOf(cell)))) {
  /** @type {{ plain: number[], ours: number[] }} */
  const times = { plain: [], ours: [] };
  for (let i = 0; i < rounds; i++) {
    for (const way of /** @type {const} */ (["plain", "ours"])) times[way].push(run(cell, way).ms);
  }
  const [plain, ours] = [Math.min(...times.plain), Math.min(...times.ours)];
  judge(nameOf(cell), plain, ours, plain / ours, LEAST);
}
console.log(missed === 0 ? "all are reached" : `missed in ${missed}`);
process.exitCode = missed > 0 ? 1 : 0;

/**
 * @param {string} name @param {number} plain @param {number} ours @param {number} ratio
 * @param {number} least @param {string} [limit]
 */
function judge(name, plain, ours, ratio, least, limit = "") {
  const isMissed = ratio < least;
  if (isMissed) missed++;
  line([
    name,
    digits(plain),
    digits(ours),
    digits(ratio),
    limit,
    `${digits(least)}${isMissed ? " MISSED" : ""}`,
  ]);
}

/** @param {object} cell @param {string} [way] */
function run(cell, way = "") {
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    ["--expose-gc", child, JSON.stringify(cell), way],
    { encoding: "utf8" },
  );
  if (status !== 0) throw new Error(`${nameOf(/** @type {any} */ (cell))}: ${stderr}`);
  return JSON.parse(stdout.trim().split("\n").at(-1) ?? "");
}
