/**
 * `npm run test:packaging:report`: README's table of runtimes and bundlers, from the
 * results that `test:runtimes` and `test:bundlers` left in target/packaging.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { root } from "./pack.mjs";

/** @import { Result } from "./results.mjs" */

const SUITES = { runtimes: "runtime", bundlers: "bundler" };
const BLOCK = /(<!-- tested:start -->\n).*(<!-- tested:end -->)/s;

const readme = `${root}/README.md`;
const before = readFileSync(readme, "utf8");
if (!BLOCK.test(before)) throw new Error("README.md has no tested:start … tested:end");
const tables = Object.entries(SUITES).map(([suite, title]) => table(title, read(suite)));
writeFileSync(readme, before.replace(BLOCK, `$1\n${tables.join("\n\n")}\n\n$2`));
console.log("README.md: table of what was tested");

/** @param {string} suite @returns {Result[]} */
function read(suite) {
  return JSON.parse(readFileSync(`${root}/target/packaging/${suite}.json`, "utf8"));
}

/** A row for each runtime: its version and what it does. @param {string} title @param {Result[]} results */
function table(title, results) {
  /** @type {Map<string, Result[]>} */
  const rows = new Map();
  for (const result of results) rows.set(result.name, [...(rows.get(result.name) ?? []), result]);
  const lines = [...rows].map(([name, cells]) => {
    const version = cells.find((cell) => cell.version)?.version ?? "";
    return `| ${name} | ${version} | ${cells.map(show).join(" · ")} |`;
  });
  return [`| ${title} | version | does |`, "|---|---|---|", ...lines].join("\n");
}

/** @param {Result} result */
function show({ check, status }) {
  const text = check.replaceAll("|", "\\|");
  return status === "passed" ? text : `**${status}**: ${text}`;
}
