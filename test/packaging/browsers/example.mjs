/** `examples/browser`, served with the packed package in place of the registry's. */
import { appendFileSync, cpSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { temporaryFolder } from "../pack.mjs";

const here = (/** @type {string} */ path) => fileURLToPath(new URL(path, import.meta.url));

/**
 * A folder with an example, whose page also reports what it shows.
 *
 * @param {string} consumer @param {"browser" | "browser-threads"} name
 */
export function makeExample(consumer, name) {
  const folder = temporaryFolder();
  cpSync(here(`../../../examples/${name}`), folder, { recursive: true });
  cpSync(join(consumer, "node_modules"), join(folder, "node_modules"), { recursive: true });
  for (const name of ["report.js", "shown.js"]) cpSync(here(`site/${name}`), join(folder, name));
  // Modules run in the order of the page: after the example's own.
  appendFileSync(join(folder, "index.html"), `<script type="module" src="./shown.js"></script>`);
  return folder;
}

/**
 * Holds the table to what normalizing is to do.
 *
 * @param {{ rows: string[][], output: string }} shown
 * @returns {{ checks: import("../program.mjs").Check[] }}
 */
export function checkExample({ rows, output }) {
  const normalized = rows.every((cells) => {
    const [mean, deviation, meanAfter, deviationAfter] = cells.slice(1).map(Number);
    return (
      near(mean, 0.5, 0.5) &&
      near(deviation, 0.25, 0.24) &&
      near(meanAfter, 0, 0.001) &&
      near(deviationAfter, 1, 0.001)
    );
  });
  const holds = rows.length === 3 && normalized && /^98304 values normalized/.test(output);
  const reason = `it shows ${JSON.stringify({ rows, output })}`;
  return {
    checks: [{ name: "table", ...(holds ? { status: "passed" } : { status: "failed", reason }) }],
  };
}

/**
 * Holds the page with threads to having had all that there are.
 *
 * @param {{ rows: string[][], output: string }} shown
 * @returns {{ checks: import("../program.mjs").Check[] }}
 */
export function checkThreadsExample({ rows, output }) {
  const [, ready = "", most = ""] = /^(\d+) of (\d+) threads$/.exec(output) ?? [];
  const timed = rows.every((cells) => Number(cells[1]) > 0 && Number(cells[2]) > 0);
  const holds = rows.length === Number(most) && timed && ready === most && Number(most) > 0;
  const reason = `it shows ${JSON.stringify({ rows, output })}`;
  return {
    checks: [{ name: "threads", ...(holds ? { status: "passed" } : { status: "failed", reason }) }],
  };
}

/** @param {number | undefined} value @param {number} middle @param {number} distance */
function near(value = Number.NaN, middle, distance) {
  return Math.abs(value - middle) < distance;
}
