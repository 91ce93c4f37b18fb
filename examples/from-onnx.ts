/**
 * Weights of an ONNX model: its initializers, by what the operators' inputs are called, and by the names
 * that an exporter gave them; checked by what ONNX infers. `docs/from-onnx.md` tells the rest, and
 * `test/fixtures/weights/make_onnx.py` has the model.
 *
 *     npx tsx examples/from-onnx.ts
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import {
  BatchNorm,
  GroupNorm,
  InstanceNorm,
  LayerNorm,
  loadStateDict,
  scope,
  Tensor,
} from "batchnorm-wasm";
import { fromSafetensors } from "batchnorm-wasm/weights";

const weights = new URL("../test/fixtures/weights/", import.meta.url);
const told = JSON.parse(readFileSync(new URL("onnx.json", weights), "utf8"));

/** The model's nodes by their names, with their attributes. */
const make = () => ({
  bn: new BatchNorm(6, { preset: "onnx", eps: 1e-3 }),
  gn: new GroupNorm(3, 6, { preset: "onnx" }),
  inorm: new InstanceNorm(6, { preset: "onnx" }),
  ln: new LayerNorm(3, { preset: "onnx", eps: 1e-6 }),
});

function check(what: string, model: ReturnType<typeof make>): void {
  const out = scope(() => {
    const input = Tensor.from(told.x, told.shape);
    return Object.values(model)
      .reduce((tensor, norm) => norm.forward(tensor), input)
      .toFloat32Array();
  });
  const error = Math.max(...out.map((value, i) => Math.abs(value - told.y[i])));
  assert.ok(error < 5e-6);
  console.log(`${what}: off by ${error.toExponential(1)} after four layers`);
}

const byInput = make();
loadStateDict(byInput, fromSafetensors(readFileSync(new URL("onnx.safetensors", weights))));
check("onnx.safetensors", byInput);

// As the nodes' `input` lists have them, in the order of the operator's inputs.
const byName = make();
const { bn, gn, inorm, ln } = byName;
for (const [layer, names] of [
  [
    bn,
    {
      scale: "layer1.bn.weight",
      B: "layer1.bn.bias",
      input_mean: "layer1.bn.running_mean",
      input_var: "layer1.bn.running_var",
    },
  ],
  [gn, { scale: "onnx::Mul_12", bias: "onnx::Add_13" }],
  [inorm, { scale: "14", B: "15" }],
  [ln, { Scale: "ln_w", B: "ln_b" }],
] as const) {
  // All initializers are in one list: those of other nodes are not this layer's.
  const { missing } = layer.loadStateDict(told.initializers, { names, strict: false });
  assert.deepEqual(missing, []);
}
check("initializers by their names", byName);
