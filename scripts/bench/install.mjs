/** The rivals are installed when they are first needed, and when the lock file has changed. */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const folder = new URL(".", import.meta.url);

export function ensureInstalled() {
  const lock = readFileSync(new URL("package-lock.json", folder));
  const digest = createHash("sha256").update(lock).digest("hex");
  const stamp = new URL("node_modules/.installed-lock", folder);
  if (existsSync(stamp) && readFileSync(stamp, "utf8") === digest) return;

  console.error("installing the rivals (scripts/bench/package.json), 600 MB, once");
  // Without scripts: they would download GPU libraries, or nothing that is used here.
  const { status } = spawnSync("npm", ["ci", "--ignore-scripts", "--no-audit", "--no-fund"], {
    cwd: fileURLToPath(folder),
    stdio: ["ignore", "inherit", "inherit"],
    shell: process.platform === "win32",
  });
  if (status !== 0) throw new Error("npm ci failed in scripts/bench");
  writeFileSync(stamp, digest);
}
