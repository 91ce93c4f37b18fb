/**
 * Builds the kernel: Rust, by wasm-pack (cargo, then wasm-bindgen) and binaryen's
 * wasm-opt, to ts/generated:
 *
 *   kernel.wasm           the module
 *   kernel-threads.wasm   the same with a memory that several instances share
 *   kernel.d.ts           the types of the module's exports
 *   abi.ts                the enums of crate/boundary/src/abi.rs
 *   kernel.json           the record: what it was built from, with which toolchain, the hashes
 *
 * wasm-bindgen's JavaScript is not kept. The module imports nothing, so all that it
 * would do is to hold one instance in a module-level variable; ts/core/instance.ts makes as
 * many as are asked for. That of several threads imports its memory and what leads to other
 * threads, which ts/threads has.
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
import { threads, wasmOptFlags } from "./recipe.mjs";
import { withSharedMemory } from "./shared-memory.mjs";

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

const KERNELS = /** @type {const} */ (["kernel", "kernel-threads"]);

/** What each may import. */
const IMPORTS = {
  kernel: [],
  "kernel-threads": ["./kernel_bg.js memory", "crew hands", "crew share"],
};

const path = toolchainPath();
if (path) {
  const env = compile(path);
  compileForThreads(env);
  const [kernel, ofThreads] = KERNELS.map((name) => {
    const wasm = readFileSync(`${built}/${name}.wasm`);
    assertFitToShip(wasm, IMPORTS[name]);
    const gzip = gzipSync(wasm, { level: 9 }).length;
    const simd = countVectorFunctions(wasm);
    console.log(`${name}: ${wasm.length} bytes, ${gzip} gzipped, SIMD in ${simd} functions`);
    return { sha256: hashOf(wasm), bytes: wasm.length, gzip };
  });
  if (!kernel || !ofThreads) throw new Error("two kernels");
  const toolchain = describeToolchain(env);
  conclude({ sources, toolchain, kernel, "kernel-threads": ofThreads });
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
 * Leaves kernel-threads.wasm in target/kernel: another link of the same.
 *
 * @param {NodeJS.ProcessEnv} env
 */
function compileForThreads(env) {
  const target = "wasm32-unknown-unknown";
  const what = `rustc --release --locked --lib --package batchnorm-boundary --target ${target}`;
  const links = threads.linkArguments.map((argument) => `-Clink-arg=${argument}`);
  run("cargo", [...what.split(" "), ...threads.cargoFlags, "--", ...links], env);

  const folder = resolve(built, "threads");
  mkdirSync(folder);
  const [raw, optimized] = [`${folder}/raw.wasm`, `${folder}/optimized.wasm`];
  const linked = readFileSync(`target/${target}/release/batchnorm_boundary.wasm`);
  writeFileSync(raw, withSharedMemory(linked, false));
  const how = "--target web --no-typescript --omit-default-module-path --out-name kernel";
  run("wasm-bindgen", [raw, ...how.split(" "), "--out-dir", folder], env);
  const flags = [...wasmOptFlags, ...threads.wasmOptFlags];
  const files = [`${folder}/kernel_bg.wasm`, "-o", optimized];
  run(process.execPath, [`${binaryen}/bin/wasm-opt`, ...flags, ...files], env);
  writeFileSync(`${built}/kernel-threads.wasm`, withSharedMemory(readFileSync(optimized), true));
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

/** @param {Buffer} wasm @param {string[]} allowed */
function assertFitToShip(wasm, allowed) {
  const imports = WebAssembly.Module.imports(new WebAssembly.Module(new Uint8Array(wasm)));
  const names = imports.map(({ module, name }) => `${module} ${name}`);
  if (`${names}` !== `${allowed}`) fail(`the module imports ${names}, and not ${allowed}`);
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
 * @typedef {{ sha256: string, bytes: number, gzip: number }} Made
 * @typedef {{
 *   sources: string,
 *   toolchain: Record<string, string | undefined>,
 *   kernel: Made,
 *   "kernel-threads": Made,
 * }} KernelRecord
 */

/** @param {KernelRecord} made */
function conclude(made) {
  writeFileSync(`${built}/kernel.json`, `${JSON.stringify(made, null, 2)}\n`);

  if (options.force || (!upToDate && !options.check)) {
    mkdirSync(committed, { recursive: true });
    for (const name of [
      "kernel.wasm",
      "kernel-threads.wasm",
      "kernel.d.ts",
      "abi.ts",
      "kernel.json",
    ]) {
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
  const differ = KERNELS.filter(
    (name) => made[name].sha256 !== hashOf(readFileSync(`${committed}/${name}.wasm`)),
  );
  const same = differ.length === 0;
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
        differ.map((name) => `  ${name}: built ${made[name].sha256}`).join("\n"),
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
