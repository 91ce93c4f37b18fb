/**
 * `npm run bench:native-setup`: a virtual environment with PyTorch and JAX, for
 * `npm run bench -- --native` and `npm run bench:accuracy -- --native`.
 *
 * 6 GB: PyPI's PyTorch for Linux links NVIDIA's libraries, also where it computes on
 * the CPU, and doesn't load without them. Nothing is done where it is complete already.
 */
import { spawnSync } from "node:child_process";
import { copyFileSync, existsSync, readFileSync, rmSync } from "node:fs";
import { ENVIRONMENT, PYTHON, REQUIREMENTS, STAMP } from "./environment.mjs";

const host = process.env.PYTHON ?? "python3";
const wanted = readFileSync(REQUIREMENTS, "utf8");

if (existsSync(STAMP) && readFileSync(STAMP, "utf8") === wanted) {
  console.log(`complete: ${ENVIRONMENT}`);
} else {
  run(
    host,
    "-c",
    "import sys; sys.exit(sys.version_info < (3, 11) and 'Python 3.11 or later, please (PYTHON=…)')",
  );
  rmSync(ENVIRONMENT, { recursive: true, force: true });
  run(host, "-m", "venv", ENVIRONMENT);
  run(PYTHON, "-m", "pip", "install", "--disable-pip-version-check", "-r", REQUIREMENTS);
  copyFileSync(REQUIREMENTS, STAMP);
}
if (spawnSync(process.env.CXX ?? "g++", ["--version"]).status !== 0) {
  console.log("no C++ compiler: torch.compile will be absent (Debian: apt-get install g++)");
}

/** @param {string} command @param {string[]} args */
function run(command, ...args) {
  const { status, error } = spawnSync(command, args, { stdio: "inherit" });
  if (status === 0) return;
  // Otherwise the command itself has said why.
  if (error) console.error(error.message);
  process.exit(status ?? 1);
}
