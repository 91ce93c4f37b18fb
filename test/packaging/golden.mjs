/**
 * The golden values that the program takes: a channels-first case of batch norm and a
 * channels-last one, one of each of its variants, and one of each other norm.
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
    ghost: variant("ghost", [7, 4]),
    renorm: variant("renorm", [6, 2, 5]),
    weights: variant("weights", [7, 4]),
    activation: variant("activation", [5, 3, 2, 3]),
    fingerprint,
  };
}

/** The first step of a case. @param {string} name @param {number[]} shape */
function variant(name, shape) {
  const { steps, ...one } = pick("torch_variants", name, shape);
  return { ...one, step: steps[0] };
}

/** @param {string} file @param {string} norm @param {number[]} shape */
function pick(file, norm, shape) {
  const path = new URL(`../fixtures/${file}.json`, import.meta.url);
  const { cases } = JSON.parse(readFileSync(path, "utf8"));
  const found = cases.find(
    (/** @type {any} */ { op, layer, variant, shape: its }) =>
      (op ?? layer ?? variant) === norm && `${its}` === `${shape}`,
  );
  if (!found) throw new Error(`${path} has no ${norm} of [${shape}]`);
  return found;
}
