/** Cargo for WebAssembly, as the kernel is built: its tools and its flags. */
import { spawnSync } from "node:child_process";
import { homedir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { rustFlags } from "./recipe.mjs";

export const cargoHome = process.env.CARGO_HOME ?? join(homedir(), ".cargo");

/** What to put in front of PATH, or the reason why there is nothing. */
export function findToolchain() {
  const { status, stdout, stderr } = spawnSync("bash", ["scripts/toolchain.sh", "--path"], {
    encoding: "utf8",
  });
  if (status === 0) return { path: stdout.trim() };
  return { reason: stderr?.trim() || "toolchain: bash is missing" };
}

/**
 * Cargo's environment in the root of the checkout.
 *
 * @param {string} path what {@link findToolchain} has found
 * @returns {NodeJS.ProcessEnv}
 */
export function environmentOf(path) {
  const [bin = ""] = path.split(":");
  const env = {
    ...process.env,
    PATH: `${path}:${process.env.PATH}`,
    RUSTC: join(bin, "rustc"),
    // For clippy, which doesn't ask rustc where the target's std is.
    SYSROOT: dirname(bin),
    CARGO_TARGET_DIR: resolve("target"),
  };
  // Fetched first, because the flags name the folders of the unpacked crates.
  run("cargo", ["fetch", "--locked"], env);
  const flags = rustFlags(resolve("."), join(cargoHome, "registry/src"));
  return { ...env, CARGO_ENCODED_RUSTFLAGS: flags.join("\x1f"), RUSTC_BOOTSTRAP: "1" };
}

/** @param {string} command @param {string[]} args @param {NodeJS.ProcessEnv} env */
export function run(command, args, env) {
  const { status, error } = spawnSync(command, args, { env, stdio: "inherit" });
  if (status !== 0) fail(`${command} failed${error ? `: ${error.message}` : ""}`);
}

/** @param {string} message @returns {never} */
export function fail(message) {
  console.error(`kernel: ${message}`);
  process.exit(1);
}
