/** The program as a user's test, to which the runner gives jsdom's globals for a browser's. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { cell, skipped } from "../results.mjs";
import { run } from "./child.mjs";
import { newerNode } from "./commands.mjs";

const modules = fileURLToPath(new URL("../node_modules", import.meta.url));

/** Leaves what it found in a file: a runner prints more than that. */
const TEST = `import { writeFileSync } from "node:fs";
import { main } from "../main.mjs";

test("the program", async () => {
  if (typeof document !== "object") throw new Error("jsdom is not there");
  writeFileSync("found.json", JSON.stringify(await main()));
});
`;

const testMatch = ["**/*.test.mjs"];
/** @type {{ name: string, command: string[], config: string, settings: object }[]} */
const runners = [
  {
    name: "jest",
    // It would make CommonJS of modules otherwise.
    command: ["--experimental-vm-modules", `${modules}/jest/bin/jest.js`],
    config: "jest.config.json",
    settings: { testEnvironment: `${modules}/jest-environment-jsdom`, testMatch },
  },
  {
    name: "vitest",
    command: [`${modules}/vitest/vitest.mjs`, "run"],
    config: "vitest.config.mjs",
    settings: { test: { environment: "jsdom", globals: true, include: testMatch } },
  },
];

/**
 * @param {string} consumer
 * @returns {AsyncGenerator<import("../results.mjs").Result>}
 */
export async function* testJsdom(consumer) {
  for (const { name, command, config, settings } of runners) {
    const manifest = `${modules}/${name}/package.json`;
    const missing = [newerNode, manifest].find((path) => !existsSync(path));
    const version = missing ? "" : JSON.parse(readFileSync(manifest, "utf8")).version;
    const head = { suite: /** @type {const} */ ("runtimes"), name, version, check: "jsdom" };
    if (missing) {
      yield skipped(head, missing);
      continue;
    }
    yield cell(head, async () => {
      const cwd = join(consumer, name);
      mkdirSync(cwd);
      const text = JSON.stringify(settings);
      writeFileSync(join(cwd, config), config.endsWith(".json") ? text : `export default ${text};`);
      writeFileSync(join(cwd, "program.test.mjs"), TEST);
      await run([newerNode, ...command], { cwd, env: { CI: "1" } });
      return JSON.parse(readFileSync(join(cwd, "found.json"), "utf8"));
    });
  }
}
