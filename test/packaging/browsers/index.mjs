/**
 * The packed package in browsers, by its address and without a bundler: as a page, in a
 * module worker and in a service worker, under a strict Content-Security-Policy, with
 * cross-origin isolation and without.
 */
import { cpSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { comparison } from "../found.mjs";
import { temporaryFolder } from "../pack.mjs";
import { cell } from "../results.mjs";
import { within } from "../within.mjs";
import { browsers, find } from "./launch.mjs";
import { collect, serve } from "./servers.mjs";

const policy = { "Content-Security-Policy": "script-src 'self' 'wasm-unsafe-eval'" };
const isolation = {
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Embedder-Policy": "require-corp",
};
const contexts = ["page", "module worker", "service worker"];

/**
 * Gives each result as it comes.
 *
 * @param {string} consumer folder with the packed package, as `install` makes it
 * @returns {AsyncGenerator<import("../results.mjs").Result>}
 */
export async function* testBrowsers(consumer) {
  const compare = await comparison(consumer);
  const site = makeSite(consumer);
  const collector = await collect();
  const open = await serve(site, policy);
  const isolated = await serve(site, { ...policy, ...isolation });
  // Without the word that allows WebAssembly: were it let through, no policy was in force.
  const closed = await serve(site, { "Content-Security-Policy": "script-src 'self'" });

  /** @param {any} found @param {boolean} isolated */
  function verdict(found, isolated) {
    compare(found);
    if (!found.evalRefused) throw new Error("eval was allowed: no policy is in force");
    if (found.isolated !== isolated) throw new Error(`crossOriginIsolated: ${found.isolated}`);
    return found;
  }

  /** @type {Cell[]} */
  const cells = [
    ...contexts.map((context) => ({
      check: `${context}, CSP`,
      address: `${open.origin}/?context=${context}`,
      verdict: (/** @type {any} */ found) => verdict(found, false),
    })),
    ...contexts.map((context) => ({
      check: `${context}, CSP, isolated`,
      address: `${isolated.origin}/?context=${context}`,
      verdict: (/** @type {any} */ found) => verdict(found, true),
    })),
    { check: "page, CSP without wasm: refusal", address: `${closed.origin}/`, verdict: refusal },
  ];
  try {
    for (const [name, { needs, launch }] of Object.entries(browsers)) {
      yield* testBrowser({ name, needs, launch, cells, collector });
    }
  } finally {
    for (const server of [open, isolated, closed, collector]) server.close();
    rmSync(site, { recursive: true });
  }
}

/**
 * @typedef {{ check: string, address: string, verdict(found: any): import("../found.mjs").Found }} Cell
 *
 * @param {{
 *   name: string, needs: string[], launch: () => Promise<import("./launch.mjs").Browser>,
 *   cells: Cell[], collector: Awaited<ReturnType<typeof collect>>,
 * }} _
 * @returns {AsyncGenerator<import("../results.mjs").Result>}
 */
async function* testBrowser({ name, needs, launch, cells, collector }) {
  const suite = "runtimes";
  const missing = needs.filter((command) => !find(command));
  if (missing.length) {
    const reason = `no ${missing.join(", ")}: scripts/packaging-setup.sh installs it`;
    for (const { check } of cells) {
      yield { suite, name, version: "", check, status: "skipped", reason, ms: 0 };
    }
    return;
  }
  /** @type {import("./launch.mjs").Browser | undefined} */
  let browser;
  for (const { check, address, verdict } of cells) {
    const result = await cell({ suite, name, version: "", check }, async () => {
      browser ??= await within(90, `starting ${name}`, launch());
      return verdict(await collector.ask(browser, address));
    });
    yield { ...result, version: browser?.version ?? "" };
  }
  await browser?.close();
}

/**
 * Where the policy refuses WebAssembly, the error is to say so.
 *
 * @param {any} found @returns {import("../found.mjs").Found}
 */
function refusal({ error, fingerprint }) {
  if (!error) throw new Error("it ran all the same");
  if (!/BatchNormError.*(wasm-unsafe-eval|Content Security Policy|CSP)/.test(error))
    throw new Error(error);
  return { checks: [{ name: "refusal", status: "passed" }], fingerprint };
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
