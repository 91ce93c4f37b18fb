/** Commands that end or are ended: in a group of their own, with all that they start. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:net";
import { delimiter, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { within } from "./within.mjs";

/**
 * Runs a command of a folder's packages to its end.
 *
 * @param {string} folder @param {string} command
 * @param {{ seconds?: number }} [options]
 * @throws Error with what it printed last, where it fails or takes too long
 */
export async function run(folder, command, { seconds = 240 } = {}) {
  const started = spawnGroup(folder, command);
  try {
    const [code] = await within(seconds, command, started.ended);
    if (code !== 0) throw new Error(`${command}: exit code ${code}`);
  } catch (error) {
    throw new Error(`${error}\n${tail(started.output())}`, { cause: error });
  } finally {
    started.kill();
  }
}

/**
 * Starts a server, whose command has `PORT` where its port belongs, and waits until it
 * answers.
 *
 * @param {string} folder @param {string} command
 * @param {{ seconds?: number }} [options]
 */
export async function start(folder, command, { seconds = 60 } = {}) {
  const port = await freePort();
  const started = spawnGroup(folder, command.replace("PORT", `${port}`));
  const origin = `http://127.0.0.1:${port}`;
  const died = new AbortController();
  started.ended.then(
    ([code]) => died.abort(`exit code ${code}`),
    (error) => died.abort(error),
  );
  try {
    await answers(origin, AbortSignal.any([died.signal, AbortSignal.timeout(seconds * 1e3)]));
  } catch (error) {
    started.kill();
    throw new Error(`${command}: ${error}\n${tail(started.output())}`, { cause: error });
  }
  return { origin, lastWords: () => tail(started.output()), close: started.kill };
}

/** @param {string} folder @param {string} command */
function spawnGroup(folder, command) {
  const [program = "", ...args] = command.split(" ");
  const path = [join(folder, "node_modules/.bin"), process.env.PATH].join(delimiter);
  const child = spawn(program, args, {
    cwd: folder,
    env: { ...process.env, PATH: path, NO_COLOR: "1", NEXT_TELEMETRY_DISABLED: "1" },
    stdio: ["ignore", "pipe", "pipe"],
    detached: true,
  });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (text) => (output += text));
  return {
    /** Resolves to the exit code and the signal. */
    ended: once(child, "close"),
    output: () => output,
    kill() {
      try {
        if (child.pid) process.kill(-child.pid, "SIGKILL");
      } catch (error) {
        // All of the group have ended.
        if (/** @type {NodeJS.ErrnoException} */ (error).code !== "ESRCH") throw error;
      }
    },
  };
}

/** The lines that tell why it failed. @param {string} output */
function tail(output) {
  return output.trim().split("\n").slice(-15).join("\n");
}

export async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = /** @type {import("node:net").AddressInfo} */ (server.address());
  server.close();
  return port;
}

/** Waits until a server answers, or throws the signal's reason. @param {string} origin @param {AbortSignal} signal */
export async function answers(origin, signal) {
  for (;;) {
    try {
      await fetch(origin, { signal });
      return;
    } catch {
      signal.throwIfAborted();
      await sleep(100);
    }
  }
}
