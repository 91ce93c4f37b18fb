/** Node, Deno and Bun: what runs a file by a command. */
import { cpSync, existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { cell, skipped } from "../results.mjs";
import { run, runForJson } from "./child.mjs";

const example = fileURLToPath(new URL("../../../examples/node", import.meta.url));
const modules = fileURLToPath(new URL("../node_modules", import.meta.url));

/** A Node that runs what the Node of this run may be too old for. */
export const newerNode = `${modules}/node24/bin/node`;

/**
 * What runs the programs: with what is to be allowed to read files, or to fetch without a
 * warning of its own, and the checks that it can't make.
 *
 * @type {{
 *   name: string, command: string[], toRead?: string, toFetch?: string, toRefuse?: string,
 *   lacks: string[],
 * }[]}
 */
const runtimes = [
  {
    name: "Node 18",
    command: [`${modules}/node18/bin/node`],
    toFetch: "--no-warnings",
    lacks: ["require()", "threads", "threads, refused"],
  },
  ...[20, 22, 24, 26].map((major) => ({
    name: `Node ${major}`,
    command: [`${modules}/node${major}/bin/node`],
    toRefuse: `--${major < 24 ? "experimental-" : ""}permission --allow-fs-read=* --no-warnings`,
    lacks: ["threads, too old"],
  })),
  // Nothing is allowed: the package asks for no permission.
  {
    name: "Deno",
    command: [`${modules}/.bin/deno`, "run", "--no-prompt", "--node-modules-dir=manual"],
    toRead: "--allow-read",
    lacks: ["threads, refused", "threads, too old"],
  },
  {
    name: "Bun",
    command: [`${modules}/.bin/bun`],
    lacks: ["threads, refused", "threads, too old"],
  },
];

const print = "console.log(JSON.stringify(found));";

// What the entry with threads is told: whether there are some, or why not.
const runThreads = (/** @type {string | null} */ reason) => `
  import * as ordinary from "batchnorm-wasm"; import * as threaded from "batchnorm-wasm/threads";
  import * as weights from "batchnorm-wasm/weights";
  import golden from "./golden.mjs"; import { runThreads } from "./threads.mjs";
  const found = await runThreads(ordinary, threaded, weights, golden, ${JSON.stringify(reason)}); ${print}`;

const runSlim = `import * as weights from "batchnorm-wasm/weights"; import golden from "./golden.mjs"; import { runWhole } from "./program.mjs";
  const found = await runWhole(library, weights, golden); ${print}`;

// By check; `reads` where a file is opened, as Deno's `require` does.
/**
 * @type {Record<string, {
 *   file: string, code: string | ((url: string) => string), reads?: boolean, fetches?: boolean,
 * }>}
 */
const programs = {
  import: {
    file: "import.mjs",
    code: `import { main } from "./main.mjs"; const found = await main(); ${print}`,
  },
  "require()": {
    file: "require.cjs",
    code: `const library = require("batchnorm-wasm"); const weights = require("batchnorm-wasm/weights");
      const { runWhole } = require("./program.mjs");
      runWhole(library, weights, require("./golden.mjs").default).then((found) => { ${print} });`,
    reads: true,
  },
  threads: { file: "two-threads.mjs", code: runThreads(null) },
  "threads, refused": {
    file: "refused-threads.mjs",
    code: runThreads("Access to this API has been restricted"),
  },
  "threads, too old": { file: "old-threads.mjs", code: runThreads("process.getBuiltinModule") },
  "slim, initSync(bytes)": {
    file: "slim-bytes.mjs",
    code: `import { readFileSync } from "node:fs"; import * as library from "batchnorm-wasm/slim";
      const bytes = readFileSync("node_modules/batchnorm-wasm/dist/generated/kernel.wasm");
      library.initSync(bytes); library.initSync(bytes); ${runSlim}`,
    reads: true,
  },
  "slim, init(file)": {
    file: "slim-file.mjs",
    code: `import * as library from "batchnorm-wasm/slim";
      const kernel = "./node_modules/batchnorm-wasm/dist/generated/kernel.wasm";
      await library.init(new URL(kernel, import.meta.url)); ${runSlim}`,
    reads: true,
  },
  "slim, init(URL)": {
    file: "slim-url.mjs",
    fetches: true,
    code: (/** @type {string} */ url) => `import * as library from "batchnorm-wasm/slim";
      const wrong = library.init(Promise.resolve(new URL("data:,nothing")));
      const { code } = await wrong.catch((error) => error);
      if (code !== "kernel") throw new Error("what is no kernel was taken");
      const url = new URL(${JSON.stringify(url)});
      await Promise.all([library.init(url), library.init(fetch(url))]); ${runSlim}`,
  },
};

/**
 * @param {string} consumer
 * @returns {AsyncGenerator<import("../results.mjs").Result>}
 */
export async function* testCommands(consumer) {
  const kernel = readFileSync(
    join(consumer, "node_modules/batchnorm-wasm/dist/generated/kernel.wasm"),
  );
  const url = `data:application/wasm;base64,${kernel.toString("base64")}`;
  for (const { file, code } of Object.values(programs)) {
    writeFileSync(join(consumer, file), typeof code === "string" ? code : code(url));
  }
  const suite = /** @type {const} */ ("runtimes");
  for (const { name, command, toRead, toFetch, toRefuse = "", lacks } of runtimes) {
    const [file = ""] = command;
    const version = existsSync(file) ? await versionOf(file) : "";
    for (const [check, { file: program, reads, fetches }] of Object.entries(programs)) {
      if (lacks.includes(check)) continue;
      if (!version) {
        yield skipped({ suite, name, version, check }, file);
        continue;
      }
      const flags = [reads && toRead, fetches && toFetch].filter(
        (flag) => typeof flag === "string",
      );
      if (check === "threads, refused") flags.push(...toRefuse.split(" "));
      yield cell({ suite, name, version, check }, () =>
        runForJson([...command, ...flags, program], { cwd: consumer }),
      );
    }
    if (version && name.startsWith("Node")) {
      yield cell({ suite, name, version, check: "examples/node" }, () =>
        runExample(command, consumer),
      );
    }
  }
}

/** @param {string[]} command @param {string} consumer @returns {ReturnType<Parameters<typeof cell>[1]>} */
async function runExample(command, consumer) {
  cpSync(example, join(consumer, "node-example"), { recursive: true });
  const { stdout } = await run([...command, "index.js"], { cwd: join(consumer, "node-example") });
  const same = stdout.includes("the copy infers the same values");
  const [name, reason] = ["a saved layer", stdout];
  return { checks: [same ? { name, status: "passed" } : { name, status: "failed", reason }] };
}

/** @param {string} command */
async function versionOf(command) {
  const { stdout } = await run([command, "--version"], { cwd: "." });
  return /\d+\.\d+\.\d+/.exec(stdout)?.[0] ?? "";
}
