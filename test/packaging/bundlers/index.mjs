/** `npm run test:bundlers`: the packed package through real bundlers, what they make run in Chromium. */
import { cpSync, existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { findCommand } from "../../../scripts/find-command.mjs";
import { kernelText } from "../../../scripts/kernel-text.mjs";
import { reusable } from "../browsers/launch.mjs";
import { collect, serve } from "../browsers/servers.mjs";
import { run, start } from "../commands.mjs";
import { install, pack } from "../pack.mjs";
import { cell, report, skipped } from "../results.mjs";
import { runForJson } from "../runtimes/child.mjs";
import { bundlers } from "./bundlers.mjs";

const suite = "bundlers";
/** So that those with threads have some. */
const isolation = {
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Embedder-Policy": "require-corp",
};
const here = (/** @type {string} */ path) => fileURLToPath(new URL(path, import.meta.url));

/** Of the kernel's text a part that no minifier writes otherwise. */
const [KERNEL = ""] = /\w{16}/.exec(kernelText(here("../../../ts/generated/kernel.wasm"))) ?? [];

await report(suite, testBundlers());

/** @returns {AsyncGenerator<import("../results.mjs").Result>} */
async function* testBundlers() {
  const modules = here("node_modules");
  const missing = !existsSync(modules) ? modules : findCommand("chromium") ? "" : "chromium";
  if (missing) {
    for (const { name, checks } of bundlers) {
      for (const { check } of checks) yield skipped({ suite, name, version: "", check }, missing);
    }
    return;
  }

  const tarball = pack();
  const project = makeProject(tarball);
  const manifest = JSON.parse(readFileSync(join(project, "package.json"), "utf8"));
  const collector = await collect();
  const chromium = reusable("Chromium");
  try {
    for (const bundler of bundlers) {
      // One bundler's settings must not help another.
      const own = JSON.stringify({ ...manifest, ...bundler.settings });
      writeFileSync(join(project, "package.json"), own);
      yield* testBundler(bundler, { project, chromium, collector });
    }
  } finally {
    await chromium.close();
    collector.close();
    for (const folder of [project, dirname(tarball)]) rmSync(folder, { recursive: true });
  }
}

/**
 * A user's project: the packed package, the program, and the bundlers. These are copied,
 * since Turbopack refuses links that lead out of the project.
 *
 * @param {string} tarball
 */
function makeProject(tarball) {
  const project = install(tarball);
  cpSync(here("project"), project, { recursive: true });
  cpSync(here("../browsers/site/report.js"), join(project, "report.js"));
  cpSync(here("../refuse-bytes.mjs"), join(project, "refuse-bytes.mjs"));
  const options = { recursive: true, verbatimSymlinks: true };
  cpSync(here("node_modules"), join(project, "node_modules"), options);
  return project;
}

/**
 * @param {import("./bundlers.mjs").Bundler} bundler
 * @param {{
 *   project: string, chromium: ReturnType<typeof reusable>,
 *   collector: Awaited<ReturnType<typeof collect>>,
 * }} tools
 * @returns {AsyncGenerator<import("../results.mjs").Result>}
 */
async function* testBundler(bundler, { project, chromium, collector }) {
  const { name, build, serve: command, checks } = bundler;
  const manifest = join(project, "node_modules", bundler.package, "package.json");
  const { version } = JSON.parse(readFileSync(manifest, "utf8"));

  /** @type {Awaited<ReturnType<typeof start>> | undefined} */
  let server;
  // Once for all of a bundler's checks; where it fails, each fails with its reason.
  const built = (async () => {
    if (build) await run(project, build);
    if (command) server = await start(project, command);
  })();

  for (const { check, site, hasLayer, hasKernel = true, program, page, answer } of checks) {
    yield await cell({ suite, name, version, check }, async () => {
      await built;
      if (site) {
        const text = scriptsOf(join(project, site));
        for (const [what, has, should] of /** @type {const} */ ([
          ["layer", text.includes("updateRunningStats"), hasLayer],
          ["kernel", text.includes(KERNEL), hasKernel],
        ])) {
          if (has !== should)
            throw new Error(`the ${what} is ${has ? "in" : "missing from"} ${site}`);
        }
        return openSite(join(project, site));
      }
      if (program) return runForJson([process.execPath, program], { cwd: project });
      try {
        if (page) return await open(`${server?.origin}${page}`);
        return await fetchJson(`${server?.origin}${answer}`);
      } catch (error) {
        throw new Error(`${error}\n${server?.lastWords()}`, { cause: error });
      }
    });
  }
  server?.close();

  /** @param {string} address */
  function open(address) {
    return chromium.use((browser) => collector.ask(browser, address));
  }

  /** @param {string} folder */
  async function openSite(folder) {
    // What makes scripts only gets the page of the others, which names one.
    if (!existsSync(join(folder, "index.html"))) {
      cpSync(here("project/everything/index.html"), join(folder, "index.html"));
    }
    const site = await serve(folder, isolation);
    try {
      return await open(site.origin);
    } finally {
      site.close();
    }
  }
}

/** The built scripts, in which names and texts are as they were. @param {string} folder */
function scriptsOf(folder) {
  return readdirSync(folder, { recursive: true, encoding: "utf8" })
    .filter((path) => path.endsWith(".js"))
    .map((path) => readFileSync(join(folder, path), "utf8"))
    .join("\n");
}

/** @param {string} address */
async function fetchJson(address) {
  const response = await fetch(address, { signal: AbortSignal.timeout(60_000) });
  if (!response.ok) throw new Error(`${response.status} of ${address}: ${await response.text()}`);
  return response.json();
}
