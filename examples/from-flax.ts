/**
 * Weights of Flax: linen's variables, from a file and nested as they are, and an nnx module's state; each
 * checked by what Flax infers. `docs/from-flax.md` tells the rest, and
 * `test/fixtures/weights/make_flax.py` has the modules.
 *
 *     npx tsx examples/from-flax.ts
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import {
  BatchNorm,
  BatchNormError,
  GroupNorm,
  LayerNorm,
  loadStateDict,
  RMSNorm,
  scope,
  Tensor,
  train,
} from "batchnorm-wasm";
import { fromSafetensors } from "batchnorm-wasm/weights";

const weights = new URL("../test/fixtures/weights/", import.meta.url);
const told = JSON.parse(readFileSync(new URL("flax.json", weights), "utf8"));
const read = (name: string) => fromSafetensors(readFileSync(new URL(name, weights)));

const preset = "flax" as const;
const make = () => ({
  Block_0: {
    BatchNorm_0: new BatchNorm(6, { preset }),
    GroupNorm_0: new GroupNorm(3, 6, { preset }),
  },
  BatchNorm_0: new BatchNorm(6, { preset, scale: false }),
  LayerNorm_0: new LayerNorm(6, { preset }),
  RMSNorm_0: new RMSNorm(6, { preset }),
});

type Norms = readonly { forward(x: Tensor): Tensor }[];

function check(what: string, norms: Norms, y: readonly number[]): void {
  const out = scope(() => {
    const input = Tensor.from(told.x, told.shape);
    return norms.reduce((tensor, norm) => norm.forward(tensor), input).toFloat32Array();
  });
  const error = Math.max(...out.map((value, i) => Math.abs(value - (y[i] as number))));
  assert.ok(error < 5e-6);
  console.log(`${what}: off by ${error.toExponential(1)}`);
}

// Parameters and running statistics are in two collections, behind the same module's name.
for (const [what, variables] of [
  ["flax.safetensors, flattened", read("flax.safetensors")],
  ["variables, nested", told.variables],
] as const) {
  const model = make();
  loadStateDict(model, variables);
  // As `use_running_average` there, the mode has to be told.
  const { BatchNorm_0, GroupNorm_0 } = model.Block_0;
  assert.throws(() => BatchNorm_0.forward({ data: told.x, shape: told.shape }), BatchNormError);
  train(model, false);
  const norms = [BatchNorm_0, GroupNorm_0, model.BatchNorm_0, model.LayerNorm_0, model.RMSNorm_0];
  check(what, norms, told.y);
}

const nnx = { bn: new BatchNorm(6, { preset }), ln: new LayerNorm(6, { preset }) };
loadStateDict(nnx, read("flax_nnx.safetensors"));
train(nnx, false);
check("flax_nnx.safetensors", Object.values(nnx), told.nnx_y);
