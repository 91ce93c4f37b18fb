/**
 * Builds the kernel: Rust, by wasm-pack (cargo, then wasm-bindgen) and binaryen's
 * wasm-opt, to ts/generated:
 *
 *   kernel.wasm   the module
 *   kernel.d.ts   the types of its exports
 *   abi.ts        the enums of crate/boundary/src/abi.rs
 *   kernel.json   the record: what it was built from, with which toolchain, its hash
 *
 * wasm-bindgen's JavaScript is not kept. The module imports nothing, so all that it
 * would do is to hold one instance in a module-level variable; ts/core/instance.ts makes as
 * many as are asked for.
 *
 * The same bytes come out only of the same sources, compiler and std. So:
 *
 *   sources changed       the result replaces ts/generated
 *   all as recorded       the bytes have to be the committed ones, else it is an error
 *   toolchain differs     ts/generated stays; the result is in target/kernel
 *
 * --force         replaces ts/generated in every case
 * --check         never does; changed sources are an error (npm test)
 * --if-possible   without a toolchain, a kernel that is up to date will do (npm run build)
 */
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { homedir } from "node:os";
import { resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { gzipSync } from "node:zlib";
import { cargoHome, environmentOf, fail, findToolchain, run } from "./cargo.mjs";
import { digestOf, digestOfSources } from "./digest.mjs";
import { countVectorFunctions } from "./inspect.mjs";
import { wasmOptFlags } from "./recipe.mjs";

const { values: options } = parseArgs({
  options: {
    force: { type: "boolean" },
    check: { type: "boolean" },
    "if-possible": { type: "boolean" },
  },
});

process.chdir(fileURLToPath(new URL("../..", import.meta.url)));
const committed = "ts/generated";
const built = "target/kernel";
const binaryen = "scripts/kernel/node_modules/binaryen";

const sources = digestOfSources(".");
const record = readRecord(`${committed}/kernel.json`);
const upToDate = record?.sources === sources;

const path = toolchainPath();
if (path) {
  const env = compile(path);
  const wasm = readFileSync(`${built}/kernel.wasm`);
  assertFitToShip(wasm);
  conclude(wasm, {
    sources,
    toolchain: describeToolchain(env),
    kernel: {
      sha256: hashOf(wasm),
      bytes: wasm.length,
      gzip: gzipSync(wasm, { level: 9 }).length,
    },
  });
} else {
  console.log("kernel: toolchain not found, using the committed kernel, which is up to date");
}

/** What to put in front of PATH; undefined where the committed kernel has to do. */
function toolchainPath() {
  const { path, reason } = findToolchain();
  if (path !== undefined) return path;
  if (!options["if-possible"]) fail(`no toolchain\n${reason}`);
  if (!upToDate) fail(`the committed kernel is stale and can't be rebuilt here\n${reason}`);
}

/**
 * Leaves kernel.wasm, kernel.d.ts and abi.ts in target/kernel.
 *
 * @param {string} path
 */
function compile(path) {
  const env = environmentOf(path);
  rmSync(built, { recursive: true, force: true });
  mkdirSync(built, { recursive: true });
  const pack = resolve(built, "pack");
  const how = "--target web --mode no-install --release --no-pack --out-name kernel".split(" ");
  run("wasm-pack", ["build", "crate/boundary", ...how, "--out-dir", pack, "--", "--locked"], env);

  console.log("kernel: wasm-opt");
  const files = [`${pack}/kernel_bg.wasm`, "-o", `${built}/kernel.wasm`];
  run(process.execPath, [`${binaryen}/bin/wasm-opt`, ...wasmOptFlags, ...files], env);

  const types = readFileSync(`${pack}/kernel_bg.wasm.d.ts`, "utf8").split("\n");
  const ours = types.filter((line) => line.startsWith("export") && !line.includes("__wbindgen"));
  writeFileSync(`${built}/kernel.d.ts`, `${ours.join("\n")}\n`);
  writeFileSync(`${built}/abi.ts`, abiOf(readFileSync(`${pack}/kernel.d.ts`, "utf8")));
  return env;
}

/**
 * The enums that wasm-bindgen has declared, as sources: both sides then have the same numbers.
 *
 * @param {string} declarations
 */
function abiOf(declarations) {
  const enums =
    declarations.match(/\/\*\*(?:(?!\*\/)[\s\S])*\*\/\nexport enum \w+ \{[^}]*\}/g) ?? [];
  if (enums.length === 0) fail("wasm-bindgen has declared no enums");
  const head = "/** What both sides of the boundary agree on: crate/boundary/src/abi.rs. */";
  const text = `${[head, ...enums].join("\n\n").replaceAll("    ", "  ")}\n`;
  // Links of rustdoc are none in TypeScript.
  return text.replace(/\[`(\w+)(?:::(\w+))?`\]/g, (_, name, member) =>
    member ? `\`${name}.${member}\`` : `\`${name}\``,
  );
}

/** @param {Buffer} wasm */
function assertFitToShip(wasm) {
  const imports = WebAssembly.Module.imports(new WebAssembly.Module(new Uint8Array(wasm)));
  if (imports.length > 0) fail(`the module imports ${JSON.stringify(imports)}`);
  if (countVectorFunctions(wasm) === 0) fail("the module has no SIMD instructions");
  for (const path of [process.cwd(), cargoHome, homedir()]) {
    if (wasm.includes(path)) fail(`the module names a path of this machine: ${path}`);
  }
}

/** @param {NodeJS.ProcessEnv} env */
function describeToolchain(env) {
  /** @param {string} command @param {string[]} args */
  const ask = (command, ...args) => execFileSync(command, args, { env, encoding: "utf8" }).trim();
  /** @param {string} tool */
  const version = (tool) => ask(tool, "--version").split(" ")[1];

  const [rustc, ...details] = ask("rustc", "-vV").split("\n");
  const std = `${ask("rustc", "--print", "sysroot")}/lib/rustlib/wasm32-unknown-unknown/lib`;
  const rlibs = readdirSync(std).filter((name) => name.endsWith(".rlib"));
  return {
    rustc,
    host: details.find((line) => line.startsWith("host: "))?.slice(6),
    std: digestOf(std, rlibs),
    "wasm-bindgen": version("wasm-bindgen"),
    "wasm-pack": version("wasm-pack"),
    binaryen: JSON.parse(readFileSync(`${binaryen}/package.json`, "utf8")).version,
  };
}

/**
 * @typedef {{
 *   sources: string,
 *   toolchain: Record<string, string | undefined>,
 *   kernel: { sha256: string, bytes: number, gzip: number },
 * }} KernelRecord
 */

/** @param {Buffer} wasm @param {KernelRecord} made */
function conclude(wasm, made) {
  const { bytes, gzip, sha256 } = made.kernel;
  const simd = countVectorFunctions(wasm);
  console.log(
    `kernel: ${bytes} bytes, ${gzip} gzipped, SIMD in ${simd} functions, imports nothing`,
  );
  writeFileSync(`${built}/kernel.json`, `${JSON.stringify(made, null, 2)}\n`);

  if (options.force || (!upToDate && !options.check)) {
    mkdirSync(committed, { recursive: true });
    for (const name of ["kernel.wasm", "kernel.d.ts", "abi.ts", "kernel.json"]) {
      copyFileSync(`${built}/${name}`, `${committed}/${name}`);
    }
    console.log(`kernel: ${upToDate ? "forced" : "the sources have changed"}: wrote ${committed}`);
    return;
  }
  if (!record || !upToDate) fail(`${committed} is stale, its sources have changed`);
  for (const name of ["kernel.d.ts", "abi.ts"]) {
    const theirs = readFileSync(`${built}/${name}`);
    if (!readFileSync(`${committed}/${name}`).equals(theirs))
      fail(`${committed}/${name} is not what the sources make`);
  }

  const { toolchain } = made;
  const other = Object.keys(toolchain).filter((key) => toolchain[key] !== record.toolchain[key]);
  const before = hashOf(readFileSync(`${committed}/kernel.wasm`));
  const same = sha256 === before;
  if (other.length > 0) {
    console.log(
      `kernel: same sources, other toolchain (${other.join(", ")}), ${same ? "same" : "other"} ` +
        `bytes: ${committed} stays, this build is in ${built}`,
    );
  } else if (same) {
    console.log("kernel: same sources, same toolchain, same bytes as committed");
  } else {
    fail(
      "same sources, same toolchain, but other bytes\n" +
        `  committed ${before}\n  built     ${sha256}`,
    );
  }
}

/** @param {Buffer} bytes */
function hashOf(bytes) {
  return createHash("sha256").update(bytes).digest("hex");
}

/** @param {string} path @returns {KernelRecord | undefined} */
function readRecord(path) {
  return existsSync(path) ? JSON.parse(readFileSync(path, "utf8")) : undefined;
}
