/**
 * Weights of a Keras model: from a file with its variables' paths, by the names of a `.weights.h5` file,
 * and as the arrays of `get_weights()`; each checked by what Keras infers. `docs/from-keras.md` tells
 * the rest, and `test/fixtures/weights/make_keras.py` has the model.
 *
 *     npx tsx examples/from-keras.ts
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import {
  BatchNormalization,
  GroupNormalization,
  LayerNormalization,
  loadStateDict,
  RMSNormalization,
  scope,
  Tensor,
} from "batchnorm-wasm";
import { fromSafetensors } from "batchnorm-wasm/weights";

const weights = new URL("../test/fixtures/weights/", import.meta.url);
const { x, y, shape, layers } = JSON.parse(readFileSync(new URL("keras.json", weights), "utf8"));

/** The model's layers by their names; how many channels they have, they learn from the weights. */
const make = () => ({
  batch_normalization: new BatchNormalization(),
  group_normalization: new GroupNormalization({ groups: 3 }),
  batch_normalization_1: new BatchNormalization({ scale: false, epsilon: 1e-5 }),
  layer_normalization: new LayerNormalization(),
  rms_normalization: new RMSNormalization(),
});

/** New layers infer, as Keras's do. */
function check(what: string, model: ReturnType<typeof make>): void {
  const out = scope(() => {
    const input = Tensor.from(x, shape);
    return Object.values(model)
      .reduce((tensor, norm) => norm.forward(tensor), input)
      .toFloat32Array();
  });
  const error = Math.max(...out.map((value, i) => Math.abs(value - y[i])));
  assert.ok(error < 5e-6);
  console.log(`${what}: off by ${error.toExponential(1)} after five layers`);
}

const byPath = make();
const file = readFileSync(new URL("keras.safetensors", weights));
loadStateDict(byPath, fromSafetensors(file, { prefix: "sequential/" }));
check("paths of variables", byPath);

const byPlace = make();
const vars = readFileSync(new URL("keras_vars.safetensors", weights));
loadStateDict(byPlace, fromSafetensors(vars, { prefix: "layers/" }));
check("names of .weights.h5", byPlace);

const inOrder = make();
for (const [name, layer] of Object.entries(inOrder)) {
  layer.loadStateDict(layers[name].get_weights);
}
check("get_weights()", inOrder);
