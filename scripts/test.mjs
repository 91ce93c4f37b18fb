/**
 * `npm test`: all checks that this machine can make, to the end, whatever fails.
 * What needs Rust or the wasm toolchain is skipped where that is missing; nothing is
 * installed. The last line is the sum: N passed, N failed[, N skipped].
 */
import { spawn, spawnSync } from "node:child_process";
import { existsSync, readFileSync, rmSync } from "node:fs";
import { relative } from "node:path";

const total = { passed: 0, failed: 0, skipped: 0 };
/** @type {string[]} */
const remarks = [];

await check("Package builds", npm("build:js"), npm("build:types"));
await check("Types", npm("typecheck"));
await check("Lint and format", npm("lint"));
// What is missing there, vitest leaves out.
const hasTfjs = installed("test/tfjs");
if (hasTfjs)
  await check("Types of the tests of tfjs", ["npx", "tsc", "--noEmit", "-p", "test/tfjs"]);
await vitest("Tests");
await vitest("Tests, with memory that grows at every allocation", { GROW_ON_ALLOCATE: "1" });

await vitest("Tests, over the entry with threads", { THREADS: "1" });

await check("Size within budget", ["node", "scripts/size.mjs"]);
if (installed("test/packaging")) await counted("Package health", npm("test:health"));

let hasClippy = false;
if (available("cargo", "--version")) {
  if (available("cargo", "fmt", "--version")) {
    await check("Rust format", ["cargo", "fmt", "--check"]);
  }
  hasClippy = available("cargo", "clippy", "--version");
  if (hasClippy) {
    await check("Rust lint", "cargo clippy --workspace --all-targets -- -D warnings".split(" "));
  }
  await cargoTest("Rust tests");
}

if (available("bash", "scripts/toolchain.sh", "--path")) {
  if (hasClippy) await check("Rust lint for WebAssembly", ["node", "scripts/kernel/lint.mjs"]);
  await check("Kernel rebuilds", ["node", "scripts/kernel/build.mjs", "--check"]);
  // Absent where the build failed. Other bytes are legitimate with another toolchain.
  const KERNEL_WASM = "target/kernel/kernel.wasm";
  const committed = readFileSync("ts/generated/kernel.wasm");
  if (existsSync(KERNEL_WASM) && !readFileSync(KERNEL_WASM).equals(committed)) {
    await vitest("Tests on the rebuilt kernel, whose bytes differ", { KERNEL_WASM });
  }
}

console.log(["", ...remarks].join("\n"));
const { passed, failed, skipped } = total;
console.log(`${passed} passed, ${failed} failed${skipped ? `, ${skipped} skipped` : ""}`);
process.exitCode = failed ? 1 : 0;

/** @param {string} script @param {string[]} args */
function npm(script, ...args) {
  return ["npm", "run", "--silent", script, "--", ...args];
}

/**
 * Whether a command works here; if not, what needs it is skipped.
 *
 * @param {string} command @param {string[]} args
 */
function available(command, ...args) {
  const { status, stderr, error } = spawnSync(command, args, { encoding: "utf8" });
  if (status === 0) return true;
  const reason = error ? "not found" : stderr.trim().split("\n")[0];
  remarks.push(`skipped what needs ${[command, ...args].join(" ")}: ${reason}`);
  total.skipped++;
  return false;
}

/**
 * Whether a folder's own dependencies are there, which a newcomer's `npm ci` leaves out.
 *
 * @param {string} folder
 */
function installed(folder) {
  if (existsSync(`${folder}/node_modules`)) return true;
  remarks.push(`skipped what needs the dependencies of ${folder}: npm ci --prefix ${folder}`);
  total.skipped++;
  return false;
}

/**
 * A check that counts as one.
 *
 * @param {string} title @param {string[][]} commands
 */
async function check(title, ...commands) {
  headline(title);
  let ok = true;
  for (const command of commands) ok &&= (await run(command)).ok;
  count(title, ok ? { passed: 1 } : { failed: 1 });
  return ok;
}

/** @param {string} title @param {NodeJS.ProcessEnv} [env] */
async function vitest(title, env) {
  const report = "target/vitest.json";
  rmSync(report, { force: true });
  headline(title);
  let { ok } = await run(
    npm("test:unit", "--reporter=default", "--reporter=json", `--outputFile.json=${report}`),
    { env },
  );
  let counts = { passed: 0, failed: 0, skipped: 0 };
  /** @type {string[]} */
  let failures = [];
  try {
    const json = JSON.parse(readFileSync(report, "utf8"));
    counts = {
      passed: json.numPassedTests,
      failed: json.numFailedTests,
      skipped: json.numPendingTests + json.numTodoTests,
    };
    failures = json.testResults.flatMap(failuresOf);
  } catch (error) {
    console.error(`no report of the tests: ${error}`);
    ok = false;
  }
  // A file that can't be loaded fails without a test of its own.
  count(title, ok ? counts : { ...counts, failed: Math.max(counts.failed, 1) });
  remarks.push(...failures);
}

/**
 * What failed in a file, a line each: a long log may be cut before its end is.
 *
 * @param {{ name: string, status: string, message?: string, assertionResults: {
 *   status: string, fullName: string, failureMessages: string[] }[] }} file
 */
function failuresOf({ name, status, message, assertionResults }) {
  const failed = assertionResults.filter(({ status }) => status === "failed");
  const path = relative(".", name);
  if (status === "failed" && failed.length === 0) return [`  ${path}: ${firstLine(message)}`];
  return failed.map(
    ({ fullName, failureMessages }) => `  ${path}: ${fullName}: ${firstLine(failureMessages[0])}`,
  );
}

/** @param {string} [text] */
function firstLine(text = "") {
  return text.split("\n", 1)[0]?.slice(0, 300);
}

/**
 * A suite whose last line is its sum.
 *
 * @param {string} title @param {string[]} command
 */
async function counted(title, command) {
  headline(title);
  const { ok, output } = await run(command, { keep: true });
  const sum = /(\d+) passed, (\d+) failed(?:, (\d+) skipped)?\s*$/.exec(output);
  const [passed = 0, failed = 0, skipped = 0] = (sum ?? [])
    .slice(1)
    .map((digits) => Number(digits ?? 0));
  // What broke off fails without a sum; a skip is not to count as a failure as well.
  count(title, { passed, failed: ok || failed || skipped ? failed : 1, skipped });
}

/** @param {string} title */
async function cargoTest(title) {
  headline(title);
  const { ok, output } = await run("cargo test --workspace --no-fail-fast".split(" "), {
    keep: true,
  });
  const counts = { passed: 0, failed: 0, skipped: 0 };
  for (const [, passed, failed, ignored] of output.matchAll(
    /(\d+) passed; (\d+) failed; (\d+) ignored/g,
  )) {
    counts.passed += Number(passed);
    counts.failed += Number(failed);
    counts.skipped += Number(ignored);
  }
  // What doesn't compile fails without a test of its own.
  count(title, ok ? counts : { ...counts, failed: Math.max(counts.failed, 1) });
}

/** @param {string} title */
function headline(title) {
  console.log(`\n=== ${title} ===`);
}

/** @param {string} title @param {Partial<typeof total>} counts */
function count(title, { passed = 0, failed = 0, skipped = 0 }) {
  total.passed += passed;
  total.failed += failed;
  total.skipped += skipped;
  if (failed) remarks.push(`FAILED: ${title}`);
}

/**
 * Runs a command with its output shown as it comes, and kept if asked.
 *
 * @param {string[]} command
 * @param {{ env?: NodeJS.ProcessEnv | undefined, keep?: boolean }} [options]
 * @returns {Promise<{ ok: boolean, output: string }>}
 */
function run([command = "", ...args], { env, keep = false } = {}) {
  const child = spawn(command, args, {
    env: { ...process.env, ...env },
    stdio: ["inherit", keep ? "pipe" : "inherit", "inherit"],
  });
  let output = "";
  child.stdout?.on("data", (chunk) => {
    output += chunk;
    process.stdout.write(chunk);
  });
  return new Promise((resolve) => {
    child.on("error", (error) => {
      console.error(error.message);
      resolve({ ok: false, output });
    });
    child.on("close", (code) => resolve({ ok: code === 0, output }));
  });
}
