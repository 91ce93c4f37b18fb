/** Where commands are: for tests and benchmarks that start browsers. */
import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";

/** Where a command is, or undefined. @param {string} command */
export function findCommand(command) {
  return process.env.PATH?.split(delimiter)
    .map((folder) => join(folder, command))
    .find(isExecutable);
}

/** Chromium or Chrome on the PATH, or where CHROME_PATH says. */
export function findChromium() {
  if (process.env.CHROME_PATH) return process.env.CHROME_PATH;
  const names = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"];
  const found = names.map(findCommand).find((path) => path !== undefined);
  if (found) return found;
  throw new Error(
    "no Chromium or Chrome on the PATH: install one (Debian: apt-get install chromium), " +
      "or set CHROME_PATH to its program",
  );
}

/** @param {string} path */
function isExecutable(path) {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
