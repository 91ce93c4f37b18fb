/** Programs that print what they found as their last line. */
import { spawn } from "node:child_process";

/**
 * Runs a command to its end and reads the JSON of its last line.
 *
 * @param {string[]} command @param {{ cwd: string, seconds?: number, env?: object }} options
 * @returns {Promise<any>}
 */
export async function runForJson(command, options) {
  const { stdout, stderr } = await run(command, options);
  // A warning in a user's terminal is a fault too.
  if (stderr.trim()) throw new Error(`wrote to stderr: ${stderr.trim().slice(0, 500)}`);
  return JSON.parse(stdout.trim().split("\n").at(-1) ?? "");
}

/**
 * @param {string[]} command @param {{ cwd: string, seconds?: number, env?: object }} options
 * @returns {Promise<{ stdout: string, stderr: string }>}
 */
export function run([file = "", ...args], { cwd, seconds = 60, env }) {
  const timeout = seconds * 1000;
  const child = spawn(file, args, { cwd, timeout, env: { ...process.env, NO_COLOR: "1", ...env } });
  let [stdout, stderr] = ["", ""];
  child.stdout.setEncoding("utf8").on("data", (chunk) => {
    stdout += chunk;
  });
  child.stderr.setEncoding("utf8").on("data", (chunk) => {
    stderr += chunk;
  });
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code, signal) => {
      if (code === 0) resolve({ stdout, stderr });
      else
        reject(
          new Error(`${file} ended with ${signal ?? code}: ${(stderr || stdout).slice(-800)}`),
        );
    });
  });
}
