/**
 * `npm run test:lab`: the lab's page as a user meets it, by real clicks and keys, under its policy.
 * It needs the browsers of `scripts/packaging-setup.sh`.
 *
 *     npm run test:lab -- table    the visits whose names have this
 */

import { execFileSync } from "node:child_process";
import { buildLab } from "../../../lab/build.mjs";
import { serveLab } from "../../../lab/serve.mjs";
import { findCommand } from "../../../scripts/find-command.mjs";
import { browsers, launchToClick } from "../../packaging/browsers/launch.mjs";
import { cell, report, skipped } from "../../packaging/results.mjs";
import { within } from "../../packaging/within.mjs";
import { Visit } from "./visit.mjs";
import { visits } from "./visits.mjs";

const suite = "lab";
const wanted = process.argv[2] ?? "";
/** A visit takes seconds; on a machine that does much else a minute. */
const SECONDS = 120;

await report(suite, all());

async function* all() {
  const { total } = await buildLab();
  console.log(`the lab: ${total} bytes gzipped`);
  yield await cell({ suite, name: "TypeScript", version: "", check: "types" }, async () => {
    for (const project of ["lab", "test/packaging"]) {
      execFileSync("npx", ["tsc", "--noEmit", "-p", project], { encoding: "utf8" });
    }
    return { checks: [{ name: "types", status: "passed" }] };
  });
  const server = await serveLab();
  try {
    yield* visitIn("Chromium", server.origin);
    yield* visitIn("Firefox", server.origin);
    yield* visitIn("WebKit", server.origin);
  } finally {
    server.close();
  }
}

/**
 * @param {keyof typeof browsers} name @param {string} origin
 * @returns {AsyncGenerator<import("../../packaging/results.mjs").Result>}
 */
async function* visitIn(name, origin) {
  const chosen = visits.filter(
    ({ only, check }) => (only === undefined || only === name) && check.includes(wanted),
  );
  const missing = browsers[name].needs.filter((command) => !findCommand(command)).join(", ");
  if (missing) {
    for (const { check } of chosen) yield skipped({ suite, name, version: "", check }, missing);
    return;
  }
  const browser = await launchToClick(name);
  const { version } = browser;
  try {
    for (const { check, run } of chosen) {
      yield await cell({ suite, name, version, check }, async () => {
        const visit = new Visit(await browser.newPage(), origin);
        try {
          await within(SECONDS, check, run(visit));
          await visit.checkLog();
        } finally {
          await visit.page.close();
        }
        return { checks: [{ name: check, status: "passed" }] };
      });
    }
  } finally {
    await browser.close();
  }
}
