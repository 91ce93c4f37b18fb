/** What the committed kernel was built from, as one digest. */
import { createHash } from "node:crypto";
import { readdirSync, readFileSync, statSync } from "node:fs";
import { basename, join } from "node:path";

/** All that decides the kernel's bytes, but for the toolchain itself. */
const sources = [
  "Cargo.lock",
  "Cargo.toml",
  "crate",
  "rust-toolchain.toml",
  "scripts/kernel/package.json",
  "scripts/kernel/recipe.mjs",
  "scripts/kernel/sections.mjs",
  "scripts/kernel/shared-memory.mjs",
];

/** Native tests and the like never reach the module; dot files are an editor's. */
const excluded = /^(\..*|tests|benches|examples)$/;

/**
 * SHA-256 over paths and contents, in the order of the paths.
 *
 * @param {string} root
 * @param {string[]} paths files, relative to `root` and with slashes
 */
export function digestOf(root, paths) {
  const hash = createHash("sha256");
  for (const path of paths.toSorted()) {
    const content = readFileSync(join(root, path));
    hash.update(`${path}\n${content.length}\n`).update(content);
  }
  return hash.digest("hex");
}

/**
 * The digest of the kernel's sources.
 *
 * @param {string} root the checkout
 */
export function digestOfSources(root) {
  return digestOf(
    root,
    sources.flatMap((path) => filesUnder(root, path)),
  );
}

/**
 * @param {string} root
 * @param {string} path
 * @returns {string[]}
 */
function filesUnder(root, path) {
  if (excluded.test(basename(path))) return [];
  if (statSync(join(root, path)).isFile()) return [path];
  return readdirSync(join(root, path)).flatMap((name) => filesUnder(root, `${path}/${name}`));
}
