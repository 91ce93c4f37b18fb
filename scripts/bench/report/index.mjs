/**
 * Stored results to the README's section, charts and a page: `npm run bench:report [FILE…]`.
 * The first file is that of the README and the charts.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { ensureInstalled } from "../install.mjs";
import { readResults } from "../results.mjs";
import { chartsOf } from "./charts.mjs";
import { betweenMarkers, page, readmeSection } from "./markdown.mjs";
import { threadChartsOf } from "./threads-chart.mjs";

const FOLDER = "docs/bench";
const STORED = [
  "results.json",
  "results-avx2.json",
  "results-norms.json",
  "results-variants.json",
  "results-threads.json",
  "results-browser.json",
].map((file) => `${FOLDER}/${file}`);

const given = process.argv.slice(2);
const files = given.length > 0 ? given : STORED.filter((file) => existsSync(file));
const [main, ...others] = files.map(readResults);
if (!main) throw new Error(`no results: npm run bench -- --full --native --json ${STORED[0]}`);
if (main.threads) throw new Error("the first file is README's: results of one thread");

ensureInstalled();
const { render } = await import("./render.mjs");

mkdirSync(FOLDER, { recursive: true });
// A chart that is no longer made would stay as it was.
for (const file of readdirSync(FOLDER)) {
  if (file.endsWith(".svg")) rmSync(`${FOLDER}/${file}`);
}
const charts = chartsOf(main.records);
const threaded = others.find(({ threads }) => threads);
const threadCharts = threaded ? threadChartsOf(threaded) : [];
const all = [...charts, ...threadCharts];
for (const { file, spec } of all) writeFileSync(`${FOLDER}/${file}`, await render(spec));
writeFileSync("docs/benchmarks.md", page([main, ...others], charts, threadCharts));
const [overview] = charts;
if (overview) {
  const readme = readFileSync("README.md", "utf8");
  writeFileSync("README.md", betweenMarkers(readme, readmeSection(main, overview)));
}
console.log(`README.md, docs/benchmarks.md and ${all.length} charts from ${files.join(", ")}`);
