/**
 * The golden values that the program takes: a channels-first case of batch norm and a
 * channels-last one, and one of each other norm.
 */
import { readFileSync } from "node:fs";

/** What the program compares with; `fingerprint` are the bits that another run gave. */
export function golden(/** @type {string | undefined} */ fingerprint) {
  return {
    torch: pick("torch", "batch_norm", [4, 3, 7]),
    keras: pick("keras", "batch_norm", [4, 7, 3]),
    group: pick("torch", "group_norm", [3, 6, 4, 5]),
    instance: pick("torch", "instance_norm", [3, 4, 5, 6]),
    layer: pick("torch", "layer_norm", [3, 5, 7]),
    rms: pick("torch", "rms_norm", [3, 5, 7]),
    unit: pick("keras_layers", "UnitNormalization", [4, 6]),
    fingerprint,
  };
}

/** @param {string} file @param {string} norm @param {number[]} shape */
function pick(file, norm, shape) {
  const path = new URL(`../fixtures/${file}.json`, import.meta.url);
  const { cases } = JSON.parse(readFileSync(path, "utf8"));
  const found = cases.find(
    (/** @type {any} */ { op, layer, shape: its }) =>
      (op ?? layer) === norm && `${its}` === `${shape}`,
  );
  if (!found) throw new Error(`${path} has no ${norm} of [${shape}]`);
  return found;
}
