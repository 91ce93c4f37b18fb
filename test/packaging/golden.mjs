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
    flax: flax(),
    tfjs: tfjs(),
    fingerprint,
  };
}

/** Files of weights with what the framework infers by them. */
function flax() {
  const { x, nnx_y: y, shape } = JSON.parse(readFileSync(weights("flax.json"), "utf8"));
  return { file: [...readFileSync(weights("flax_nnx.safetensors"))], x, y, shape };
}

function tfjs() {
  const { x, y_bn: y, shape } = JSON.parse(readFileSync(weights("tfjs.json"), "utf8"));
  const model = JSON.parse(readFileSync(weights("tfjs/model.json"), "utf8"));
  return { model, file: [...readFileSync(weights("tfjs/model.weights.bin"))], x, y, shape };
}

/** @param {string} name */
function weights(name) {
  return new URL(`../fixtures/weights/${name}`, import.meta.url);
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
