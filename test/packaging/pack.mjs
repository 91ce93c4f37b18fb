/** What a user has: the packed tarball, installed into a fresh folder, and the program. */
import { execFileSync } from "node:child_process";
import { copyFileSync, mkdtempSync, realpathSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { golden } from "./golden.mjs";

export const root = fileURLToPath(new URL("../..", import.meta.url));

const MAIN = `import * as library from "batchnorm-wasm";
import * as weights from "batchnorm-wasm/weights";
import golden from "./golden.mjs";
import { runWhole } from "./program.mjs";

export const main = () => runWhole(library, weights, golden);
`;

/** Builds the JavaScript and packs it. @returns {string} the tarball's path */
export function pack(into = temporaryFolder()) {
  npm(root, "run", "build:js");
  npm(root, "run", "build:types");
  const listing = npm(root, "pack", "--ignore-scripts", "--json", "--pack-destination", into);
  return join(into, JSON.parse(listing)[0].filename);
}

/**
 * A folder with the package in `node_modules`, and `main.mjs`, whose `main()` runs the
 * program, and gives a promise.
 *
 * @param {string} tarball
 */
export function install(tarball, folder = temporaryFolder()) {
  const manifest = { name: "consumer", private: true, type: "module" };
  writeFileSync(join(folder, "package.json"), JSON.stringify(manifest));
  npm(folder, "install", "--no-audit", "--no-fund", "--prefer-offline", tarball);
  for (const name of ["program.mjs", "threads.mjs", "refuse-bytes.mjs"]) {
    copyFileSync(new URL(name, import.meta.url), join(folder, name));
  }
  writeFileSync(join(folder, "main.mjs"), MAIN);

  const write = (/** @type {object} */ values) =>
    writeFileSync(join(folder, "golden.mjs"), `export default ${JSON.stringify(values)};\n`);
  write(golden(undefined));
  const print = `import { main } from "./main.mjs"; console.log((await main()).fingerprint);`;
  const node = ["--input-type=module", "--eval", print];
  write(golden(execFileSync(process.execPath, node, { cwd: folder, encoding: "utf8" }).trim()));
  return folder;
}

export function temporaryFolder() {
  return realpathSync(mkdtempSync(join(tmpdir(), "batchnorm-packaging-")));
}

/** @param {string} cwd @param {string[]} args */
function npm(cwd, ...args) {
  return execFileSync("npm", ["--silent", ...args], { cwd, encoding: "utf8" });
}
