/** The golden values that the program takes: a channels-first case, and a channels-last one. */
import { readFileSync } from "node:fs";

/** What the program compares with; `fingerprint` are the bits that another run gave. */
export function golden(/** @type {string | undefined} */ fingerprint) {
  return { torch: pick("torch", [4, 3, 7]), keras: pick("keras", [4, 7, 3]), fingerprint };
}

/** @param {string} framework @param {number[]} shape */
function pick(framework, shape) {
  const path = new URL(`../fixtures/${framework}.json`, import.meta.url);
  const { cases } = JSON.parse(readFileSync(path, "utf8"));
  const found = cases.find(
    (/** @type {any} */ { op, shape: its }) => op === "batch_norm" && `${its}` === `${shape}`,
  );
  if (!found) throw new Error(`${path} has no batch norm of [${shape}]`);
  return found;
}
