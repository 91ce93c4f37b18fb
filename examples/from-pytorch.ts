/**
 * Weights of a network that PyTorch has saved, in float32 and in bfloat16: read, loaded at once, and
 * checked by what PyTorch infers. `docs/from-pytorch.md` tells the rest, and
 * `test/fixtures/weights/make_torch.py` has the network.
 *
 *     npx tsx examples/from-pytorch.ts
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import {
  BatchNorm1d,
  BatchNorm2d,
  GroupNorm,
  InstanceNorm2d,
  LayerNorm,
  loadStateDict,
  RMSNorm,
  scope,
  stateDict,
  Tensor,
  train,
} from "batchnorm-wasm";
import { fromSafetensors, inspectSafetensors, toSafetensors } from "batchnorm-wasm/weights";

const weights = new URL("../test/fixtures/weights/", import.meta.url);
const { networks } = JSON.parse(readFileSync(new URL("torch.json", weights), "utf8"));

for (const name of ["torch", "torch_bfloat16"]) {
  const file = readFileSync(new URL(`${name}.safetensors`, weights));

  // The network's norms by the names that they have there.
  const model = {
    layer1: {
      bn: new BatchNorm2d(6, { eps: 1e-3, momentum: 0.3 }),
      gn: new GroupNorm(3, 6),
      inorm: new InstanceNorm2d(6, { affine: true, trackRunningStats: true }),
    },
    layer2: [new BatchNorm2d(6), new LayerNorm([2, 3]), new RMSNorm(3, { eps: 1e-6 })],
    layer10: new BatchNorm1d(3, { affine: false }),
  };
  // One of its buffers is int32, which no norm has.
  const dict = fromSafetensors(file, { strict: false });
  const { missing, unexpected } = loadStateDict(model, dict);
  assert.deepEqual([missing, unexpected], [[], []]);
  train(model, false);

  const { x, y, shape } = networks[name];
  const out = scope(() => {
    const { bn, gn, inorm } = model.layer1;
    const norms = [bn, gn, inorm, ...model.layer2];
    const last = norms.reduce((tensor, norm) => norm.forward(tensor), Tensor.from(x, shape));
    return last.toFloat32Array();
  });
  const error = Math.max(...out.map((value, i) => Math.abs(value - y[i])));
  assert.ok(error < 5e-6);
  const { dtype } = inspectSafetensors(file).entries["layer1.bn.weight"] ?? {};
  console.log(`${name}: weights in ${dtype}, off by ${error.toExponential(1)} after six layers`);

  // And back, for PyTorch's `load_state_dict(load_file(…), strict=False)`.
  const written = toSafetensors(stateDict(model), { metadata: { format: "pt" } });
  assert.deepEqual(inspectSafetensors(written).entries["layer1.bn.num_batches_tracked"], {
    dtype: "I64",
    shape: [],
  });
}
