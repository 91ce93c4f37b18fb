/** Results of a suite: shown as they come, kept as JSON, summed in the last line. */
import { mkdirSync, writeFileSync } from "node:fs";
import { root } from "./pack.mjs";

/**
 * One cell of the table in README.
 *
 * @typedef {{
 *   suite: "runtimes" | "bundlers" | "health" | "lab", name: string, version: string, check: string,
 *   status: "passed" | "failed" | "skipped", reason?: string, ms: number,
 * }} Result
 */

/**
 * @param {Result["suite"]} suite @param {AsyncIterable<Result>} results
 */
export async function report(suite, results) {
  /** @type {Result[]} */
  const all = [];
  for await (const result of results) {
    const { name, version, check, status, reason, ms } = result;
    const head = `${status.padEnd(7)} ${`${name} ${version}`.padEnd(24)} ${check.padEnd(48)}`;
    console.log(`${head} ${(ms / 1000).toFixed(1)} s${reason ? `\n        ${reason}` : ""}`);
    all.push(result);
  }
  mkdirSync(`${root}/target/packaging`, { recursive: true });
  writeFileSync(`${root}/target/packaging/${suite}.json`, `${JSON.stringify(all, null, 1)}\n`);

  const count = (/** @type {Result["status"]} */ status) =>
    all.filter((result) => result.status === status).length;
  const [passed, failed, skipped] = [count("passed"), count("failed"), count("skipped")];
  // A suite that ran nothing has shown nothing.
  process.exitCode = failed || passed === 0 ? 1 : 0;
  console.log(`${passed} passed, ${failed} failed${skipped ? `, ${skipped} skipped` : ""}`);
}

/**
 * A cell that can't be tried here, for something is not there.
 *
 * @param {Omit<Result, "status" | "reason" | "ms">} cell @param {string} missing
 * @returns {Result}
 */
export function skipped(cell, missing) {
  return {
    ...cell,
    status: "skipped",
    reason: `${missing} not found (CONTRIBUTING.md: set-up)`,
    ms: 0,
  };
}

/**
 * A cell: `body` runs the program somewhere and gives what it returned; whatever it
 * throws is the reason of the failure.
 *
 * @param {Omit<Result, "status" | "reason" | "ms">} cell
 * @param {() => Promise<{ checks: import("./program.mjs").Check[] }>} body
 * @returns {Promise<Result>}
 */
export async function cell(cell, body) {
  const start = performance.now();
  const done = (/** @type {string | undefined} */ reason) => {
    const ms = Math.round(performance.now() - start);
    return reason === undefined
      ? { ...cell, status: /** @type {const} */ ("passed"), ms }
      : { ...cell, status: /** @type {const} */ ("failed"), reason, ms };
  };
  try {
    const { checks } = await body();
    const failed = checks.filter(({ status }) => status !== "passed");
    if (checks.length === 0) return done("the program made no checks");
    if (failed.length > 0) {
      return done(failed.map(({ name, reason }) => `${name}: ${reason}`).join("; "));
    }
    return done(undefined);
  } catch (error) {
    return done(error instanceof Error ? `${error.message}` : `${error}`);
  }
}
