/**
 * Stored results to the README's table, charts and a page: `npm run bench:report [FILE…]`.
 * The first file is that of the table and the charts.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { ensureInstalled } from "../install.mjs";
import { readResults } from "../results.mjs";
import { betweenMarkers, page, readmeTable } from "./markdown.mjs";

const STORED = ["docs/bench/results.json", "docs/bench/results-browser.json"];

const given = process.argv.slice(2);
const files = given.length > 0 ? given : STORED.filter((file) => existsSync(file));
const [main, ...others] = files.map(readResults);
if (!main) throw new Error(`no results: npm run bench -- --full --native --json ${STORED[0]}`);

ensureInstalled();
const { makeCharts } = await import("./charts.mjs");

mkdirSync("docs/bench", { recursive: true });
const charts = await makeCharts(main.records);
for (const { file, svg } of charts) writeFileSync(`docs/bench/${file}`, svg);
writeFileSync("docs/benchmarks.md", page([main, ...others], charts));
writeFileSync("README.md", betweenMarkers(readFileSync("README.md", "utf8"), readmeTable(main)));
console.log(`README.md, docs/benchmarks.md and ${charts.length} charts from ${files.join(", ")}`);
