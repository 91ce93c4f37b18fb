/**
 * The packed package in browsers, by its address and without a bundler: as a page, in a
 * module worker and in a service worker, under a strict Content-Security-Policy, with
 * cross-origin isolation and without.
 */
import { cpSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { findCommand } from "../../../scripts/find-command.mjs";
import { temporaryFolder } from "../pack.mjs";
import { cell, skipped } from "../results.mjs";
import { checkExample, checkThreadsExample, makeExample } from "./example.mjs";
import { browsers, reusable } from "./launch.mjs";
import { collect, serve } from "./servers.mjs";

const policy = { "Content-Security-Policy": "script-src 'self' 'wasm-unsafe-eval'" };
const isolation = {
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Embedder-Policy": "require-corp",
};
/** A program with threads allows their workers, which come from its own text. */
const workers = { "Content-Security-Policy": `${Object.values(policy)}; worker-src 'self' blob:` };
const contexts = ["page", "module worker", "service worker"];
const threaded = ["threads page", "threads module worker"];
/** Where nobody can start a worker, whatever the headers are. */
const alone = ["threads service worker", "threads audio worklet"];

/**
 * @typedef {import("./launch.mjs").Browser} Browser
 * @typedef {{ check: string, run(browser: Browser): Promise<{ checks: import("../program.mjs").Check[] }> }} Cell
 */

/**
 * Gives each result as it comes.
 *
 * @param {string} consumer folder with the packed package, as `install` makes it
 * @returns {AsyncGenerator<import("../results.mjs").Result>}
 */
export async function* testBrowsers(consumer) {
  const site = makeSite(consumer);
  const example = makeExample(consumer, "browser");
  const threads = makeExample(consumer, "browser-threads");
  const servers = {
    plain: await serve(site, policy),
    isolated: await serve(site, { ...policy, ...isolation }),
    workers: await serve(site, { ...workers, ...isolation }),
    closed: await serve(site, { "Content-Security-Policy": "script-src 'self'" }),
    example: await serve(example),
    threads: await serve(threads, isolation),
    collector: await collect(),
  };
  try {
    const cells = cellsOf(servers);
    yield* testBrowser("Chromium", cells);
    yield* testBrowser("Firefox", cells);
    yield* testBrowser("WebKit", cells);
  } finally {
    for (const server of Object.values(servers)) server.close();
    for (const folder of [site, example, threads]) rmSync(folder, { recursive: true });
  }
}

/**
 * @param {Record<"plain" | "isolated" | "workers" | "closed" | "example" | "threads", { origin: string }> & {
 *   collector: Awaited<ReturnType<typeof collect>>,
 * }} servers
 * @returns {Cell[]}
 */
function cellsOf(servers) {
  const { closed, example, threads, collector } = servers;
  return [
    ...contexts.map((context) => underPolicy(context, "plain")),
    ...contexts.map((context) => underPolicy(context, "isolated")),
    underPolicy("slim page", "plain"),
    underPolicy("audio worklet", "plain"),
    ...threaded.map((context) => underPolicy(context, "workers")),
    ...threaded.map((context) => underPolicy(context, "plain", "isolated")),
    underPolicy("threads page", "isolated", "(worker-src|SecurityError)", " that refuses workers"),
    ...alone.flatMap((context) => [
      underPolicy(context, "plain", "no Worker, as in service workers and worklets"),
      underPolicy(context, "isolated", "no Worker, as in service workers and worklets"),
    ]),
    {
      // Nothing can run, and the error is to say why: so the policy was in force above, too.
      check: "page, CSP that refuses wasm",
      async run(browser) {
        const error = await collector.ask(browser, closed.origin).then(
          () => "it ran all the same",
          (error) => `${error}`,
        );
        const name = "says that the policy refuses";
        return /BatchNormError.*(wasm-unsafe-eval|Content Security Policy|CSP)/.test(error)
          ? { checks: [{ name, status: "passed" }] }
          : { checks: [{ name, status: "failed", reason: error }] };
      },
    },
    {
      check: "examples/browser",
      run: async (browser) => checkExample(await collector.ask(browser, example.origin)),
    },
    {
      check: "examples/browser-threads",
      run: async (browser) => checkThreadsExample(await collector.ask(browser, threads.origin)),
    },
  ];

  /**
   * @param {string} context @param {"plain" | "isolated" | "workers"} server
   * @param {string} reason why there are no threads, where some are asked for
   * @param {string} refused what of it the policy refuses
   * @returns {Cell}
   */
  function underPolicy(context, server, reason = "", refused = "") {
    const isolated = server !== "plain";
    const { origin } = servers[server];
    return {
      check: `${context}, CSP${refused}${isolated ? ", isolated" : ""}`,
      async run(browser) {
        const query = new URLSearchParams({ context, reason });
        const found = await collector.ask(browser, `${origin}/?${query}`);
        if (!found.evalRefused) throw new Error("eval was allowed: no policy is in force");
        if (found.isolated !== isolated) {
          throw new Error(`crossOriginIsolated is ${found.isolated}`);
        }
        return found;
      },
    };
  }
}

/**
 * @param {keyof typeof browsers} name
 * @param {Cell[]} cells
 * @returns {AsyncGenerator<import("../results.mjs").Result>}
 */
async function* testBrowser(name, cells) {
  const suite = "runtimes";
  const missing = browsers[name].needs.filter((command) => !findCommand(command)).join(", ");
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
  for (const name of ["program.mjs", "threads.mjs", "golden.mjs"]) {
    cpSync(join(consumer, name), join(site, name));
  }
  // By their addresses: a policy refuses import maps in the page, and workers have none.
  const { exports } = JSON.parse(readFileSync(join(packed, "package.json"), "utf8"));
  const address = (/** @type {string} */ entry) =>
    `"./package/${pick(exports[entry], ["browser", "import"])}"`;
  writeFileSync(join(site, "package.js"), `export * from ${address(".")};\n`);
  writeFileSync(join(site, "weights.js"), `export * from ${address("./weights")};\n`);
  writeFileSync(join(site, "threaded.js"), `export * from ${address("./threads")};\n`);
  writeFileSync(
    join(site, "slim.js"),
    `export * from ${address("./slim")};
export const kernel = new URL(${address("./kernel.wasm")}, import.meta.url);\n`,
  );
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
