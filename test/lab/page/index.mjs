/**
 * `npm run test:lab`: the lab's page as a user meets it, by real clicks and keys, under its policy.
 * It needs the browsers of `scripts/packaging-setup.sh`.
 *
 *     npm run test:lab -- table    the visits whose names have this
 */

import { execFileSync } from "node:child_process";
import { setTimeout as sleep } from "node:timers/promises";
import { buildLab } from "../../../lab/build.mjs";
import { serveLab } from "../../../lab/serve.mjs";
import { findCommand } from "../../../scripts/find-command.mjs";
import { browsers, launchToClick, launchWebKit } from "../../packaging/browsers/launch.mjs";
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
    yield* visitInWebKit(server.origin);
  } finally {
    server.close();
  }
}

/**
 * @param {"Chromium" | "Firefox"} name @param {string} origin
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
          visit.checkLog();
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

/**
 * WebKit is driven by less: whether it starts, learns, draws and reads its link is asked there.
 *
 * @param {string} origin
 * @returns {AsyncGenerator<import("../../packaging/results.mjs").Result>}
 */
async function* visitInWebKit(origin) {
  const check = "starts, learns, draws, and reads its link";
  if (!check.includes(wanted)) return;
  const name = "WebKit";
  const missing = browsers[name].needs.filter((command) => !findCommand(command)).join(", ");
  if (missing) {
    yield skipped({ suite, name, version: "", check }, missing);
    return;
  }
  const browser = await within(90, "starting WebKit", launchWebKit());
  const { version } = browser;
  yield await cell({ suite, name, version, check }, async () => {
    await browser.open(`${origin}/#data=rings&steps=60&run=&run=norm:none`);
    const states = `[...document.querySelectorAll(".card .state")].map((one) => one.textContent)`;
    const seen = async (/** @type {string} */ expression, /** @type {string} */ expected) => {
      for (let i = 0; ; i++) {
        const found = JSON.stringify(await browser.evaluate(expression));
        if (found === expected) return;
        if (i > 400) throw new Error(`${expression} is ${found}, expected ${expected}`);
        await sleep(100);
      }
    };
    await seen(states, '["not started","not started"]');
    await browser.click("#start");
    await seen(states, '["done: 60 steps","done: 60 steps"]');
    const ink = (/** @type {string} */ selector) => `(() => {
      const canvas = document.querySelector("${selector}");
      const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
      return data.filter((value, i) => i % 4 === 3 && value > 0).length > 100;
    })()`;
    for (const selector of [".plot canvas", ".surface", ".layer canvas"]) {
      await seen(ink(selector), "true");
    }
    await seen(`document.querySelector("#notice").hidden`, "true");
    await browser.click("#reset");
    await seen(states, '["not started","not started"]');
    return { checks: [{ name: check, status: "passed" }] };
  });
  await browser.close();
}
