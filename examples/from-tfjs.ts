/**
 * Weights of a model that TensorFlow.js has saved, and quantized and sharded ones that its converter
 * wrote; checked by what TensorFlow.js infers and decodes. `docs/from-tfjs.md` tells the rest, and
 * `test/fixtures/weights/make_tfjs.mjs` has the model.
 *
 *     npx tsx examples/from-tfjs.ts
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import {
  BatchNormalization,
  LayerNormalization,
  loadStateDict,
  scope,
  Tensor,
} from "batchnorm-wasm";
import { fromLayersModel } from "batchnorm-wasm/weights";

const weights = new URL("../test/fixtures/weights/", import.meta.url);
const read = (path: string) => readFileSync(new URL(path, weights));
const told = JSON.parse(`${read("tfjs.json")}`);

// Names as the layers have them there. How many channels there are, they learn from the weights.
const model = {
  batch_normalization_BatchNormalization1: new BatchNormalization({ epsilon: 1e-3 }),
  layer_normalization_LayerNormalization1: new LayerNormalization({ epsilon: 1e-3 }),
};
loadStateDict(model, fromLayersModel(`${read("tfjs/model.json")}`, read("tfjs/model.weights.bin")));

const out = scope(() => {
  const input = Tensor.from(told.x, told.shape);
  return Object.values(model)
    .reduce((tensor, norm) => norm.forward(tensor), input)
    .toFloat32Array();
});
const error = Math.max(...out.map((value, i) => Math.abs(value - told.y[i])));
assert.ok(error < 5e-6);
console.log(`model.json: off by ${error.toExponential(1)} after two layers`);

// Weights in groups, each in files that are cut anywhere, and packed into 8 and 16 bits.
const manifest = JSON.parse(`${read("tfjs_converter/weights_manifest.json")}`);
const paths: string[] = manifest.flatMap((group: { paths: string[] }) => group.paths);
const files = new Map(paths.map((path) => [path, read(`tfjs_converter/${path}`)] as const));
for (const prefix of ["plain/", "bytes/", "words/", "halves/"]) {
  const dict = fromLayersModel(manifest, files, { prefix });
  for (const [name, { data }] of Object.entries(dict)) {
    assert.deepEqual(Array.from(data, Number), told.decoded[prefix + name].values);
  }
  const bn = new BatchNormalization();
  bn.loadStateDict(dict);
  console.log(`${prefix}: ${bn.numFeatures} channels, as TensorFlow.js decodes them`);
}
