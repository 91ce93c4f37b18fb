/**
 * The packed package in browsers, by its address and without a bundler: as a page, in a
 * module worker and in a service worker, under a strict Content-Security-Policy, with
 * cross-origin isolation and without.
 */
import { cpSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { temporaryFolder } from "../pack.mjs";
import { cell, skipped } from "../results.mjs";
import { browsers, find, reusable } from "./launch.mjs";
import { collect, serve } from "./servers.mjs";

const policy = { "Content-Security-Policy": "script-src 'self' 'wasm-unsafe-eval'" };
const isolation = {
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Embedder-Policy": "require-corp",
};
const contexts = ["page", "module worker", "service worker"];

/** @typedef {import("./launch.mjs").Browser} Browser */

/**
 * Gives each result as it comes.
 *
 * @param {string} consumer folder with the packed package, as `install` makes it
 * @returns {AsyncGenerator<import("../results.mjs").Result>}
 */
export async function* testBrowsers(consumer) {
  const site = makeSite(consumer);
  const collector = await collect();
  const plain = await serve(site, policy);
  const isolated = await serve(site, { ...policy, ...isolation });
  const closed = await serve(site, { "Content-Security-Policy": "script-src 'self'" });

  const cells = [
    ...contexts.map((context) => ({
      check: `${context}, CSP`,
      run: (/** @type {Browser} */ browser) => ask(browser, plain.origin, context, false),
    })),
    ...contexts.map((context) => ({
      check: `${context}, CSP, isolated`,
      run: (/** @type {Browser} */ browser) => ask(browser, isolated.origin, context, true),
    })),
    { check: "page, CSP that refuses wasm", run: refused },
  ];

  /** @param {Browser} browser @param {string} origin @param {string} context @param {boolean} isolated */
  async function ask(browser, origin, context, isolated) {
    const found = await collector.ask(browser, `${origin}/?context=${context}`);
    if (!found.evalRefused) throw new Error("eval was allowed: no policy is in force");
    if (found.isolated !== isolated) throw new Error(`crossOriginIsolated is ${found.isolated}`);
    return found;
  }

  /**
   * Without the word for WebAssembly nothing can run, and the error is to say why. It
   * also shows that the policy of the other cells is in force.
   *
   * @param {Browser} browser
   */
  async function refused(browser) {
    /** @type {unknown} */
    const error = await collector.ask(browser, closed.origin).then(
      () => "it ran all the same",
      (error) => error,
    );
    const says = /BatchNormError.*(wasm-unsafe-eval|Content Security Policy|CSP)/.test(`${error}`);
    return {
      checks: [{ name: "refusal", status: says ? "passed" : "failed", reason: `${error}` }],
    };
  }

  try {
    yield* testBrowser("Chromium", cells);
    yield* testBrowser("Firefox", cells);
    yield* testBrowser("WebKit", cells);
  } finally {
    for (const server of [plain, isolated, closed, collector]) server.close();
    rmSync(site, { recursive: true });
  }
}

/**
 * @param {keyof typeof browsers} name
 * @param {{ check: string, run(browser: Browser): Promise<any> }[]} cells
 * @returns {AsyncGenerator<import("../results.mjs").Result>}
 */
async function* testBrowser(name, cells) {
  const suite = "runtimes";
  const missing = browsers[name].needs.filter((command) => !find(command)).join(", ");
  if (missing) {
    for (const { check } of cells) yield skipped({ suite, name, version: "", check }, missing);
    return;
  }
  const browser = reusable(name);
  for (const { check, run } of cells) {
    const result = await cell({ suite, name, version: "", check }, () => browser.use(run));
    yield { ...result, version: browser.version };
  }
  await browser.close();
}

/** A folder to be served: the page and its workers, the program and the package. @param {string} consumer */
function makeSite(consumer) {
  const site = temporaryFolder();
  const packed = join(consumer, "node_modules/batchnorm-wasm");
  cpSync(fileURLToPath(new URL("site", import.meta.url)), site, { recursive: true });
  cpSync(packed, join(site, "package"), { recursive: true });
  for (const name of ["program.mjs", "golden.mjs"]) cpSync(join(consumer, name), join(site, name));
  // By its address: a policy refuses import maps in the page, and workers have none.
  const { exports } = JSON.parse(readFileSync(join(packed, "package.json"), "utf8"));
  const entry = pick(exports["."], ["browser", "import"]);
  writeFileSync(join(site, "package.js"), `export * from "./package/${entry}";\n`);
  return site;
}

/**
 * The file that a package's `exports` name under some conditions, as Node resolves it.
 *
 * @param {any} target @param {string[]} conditions @returns {string | undefined}
 */
function pick(target, conditions) {
  if (typeof target === "string") return target;
  for (const [condition, next] of Object.entries(target)) {
    if (condition === "default" || conditions.includes(condition)) return pick(next, conditions);
  }
}
