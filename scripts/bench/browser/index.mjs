/** The JavaScript contestants in headless Chromium: `npm run bench:browser -- --help`. */
import { findChromium } from "../../find-command.mjs";
import { ensureInstalled } from "../install.mjs";
import { gzipOf, readKernel } from "../machine.mjs";
import { readOptions } from "../options.mjs";
import { makeSession } from "../session.mjs";

const options = readOptions();
if (options.native) throw new Error("--native is for Node: a page can start no process");
ensureInstalled();
const { serve } = await import("./serve.mjs");
const { default: puppeteer } = await import("puppeteer-core");

const { kernel, version, threadsVersion } = readKernel();
const server = await serve(kernel);
const browser = await puppeteer.launch({
  executablePath: findChromium(),
  // A full run takes long, and is one call.
  protocolTimeout: 0,
  args: [
    "--js-flags=--expose-gc",
    // Chromium's sandbox refuses to run as root, as in most containers.
    ...(process.getuid?.() === 0 ? ["--no-sandbox"] : []),
  ],
});
try {
  const page = await browser.newPage();
  page.on("pageerror", (error) => console.error(error));
  page.on("console", (message) => console.error(message.text()));
  await page.goto(server.url);

  /** @type {readonly import("../contestant.d.ts").Cell[]} */
  let cells = [];
  /** @type {ReturnType<typeof makeSession> | undefined} */
  let session;
  const browserVersion = await browser.version();
  await page.exposeFunction(
    "benchStarts",
    (/** @type {Parameters<typeof makeSession>[0]} */ plan) => {
      cells = plan.cells;
      session = makeSession(plan, {
        command: ["npm run bench:browser --", ...process.argv.slice(2)].join(" "),
        versions: { browser: browserVersion, "batchnorm-wasm": version },
        kernelGzip: gzipOf(kernel),
        json: options.json,
      });
    },
  );
  await page.exposeFunction("benchRuns", (/** @type {number} */ index) => {
    const cell = cells[index];
    if (cell) session?.running(cell, index, browserVersion);
  });
  await page.exposeFunction(
    "benchFinished",
    (/** @type {number} */ index, /** @type {import("../contestant.d.ts").Record[]} */ records) =>
      session?.finished(index, records),
  );
  const { set, filter, norms, variants, threads } = options;
  await page.waitForFunction("globalThis.runBenchmark");
  await page.evaluate((given) => /** @type {any} */ (globalThis).runBenchmark(given), {
    ...{ set, filter, norms, variants, threads },
    ...{ version, threadsVersion },
  });
  session?.end();
} finally {
  await browser.close();
  server.close();
}
