/**
 * Weights that frameworks wrote, in our layers: what these infer is what the framework says
 * (`fixtures/weights`, with the scripts that asked it).
 */
import {
  BatchNorm,
  BatchNormalization,
  GroupNorm,
  GroupNormalization,
  InstanceNorm,
  InstanceNorm2d,
  LayerNorm,
  LayerNormalization,
  RMSNorm,
  RMSNormalization,
  scope,
  Tensor,
} from "batchnorm-wasm";
import { fromLayersModel, fromSafetensors, inspectSafetensors } from "batchnorm-wasm/weights";
import { describe, expect, test } from "vitest";
import { fixture, told } from "./weight-files.js";

type Layer = {
  forward(x: Tensor): Tensor;
  dispose(): void;
};

/**
 * Spacings of float32 at the largest value that an output may be off, after up to five layers:
 * each rounds its outputs, and what it got already rounded it divides by deviations of about 1.
 */
const SPACINGS = 16;

function expectOutput(layers: readonly Layer[], x: number[], shape: number[], y: number[]): void {
  scope(() => {
    const out = layers.reduce((value, layer) => layer.forward(value), Tensor.from(x, shape));
    const got = out.toFloat32Array();
    expect(got.length).toBe(y.length);
    const bound = SPACINGS * 2 ** -23 * Math.max(...y.map(Math.abs));
    const worst = Math.max(...y.map((value, i) => Math.abs(value - (got[i] as number))));
    expect(worst).toBeLessThanOrEqual(bound);
  });
  for (const layer of layers) layer.dispose();
}

describe("PyTorch", () => {
  const { networks } = told("torch.json");

  test.each(Object.keys(networks))("%s.safetensors", (name) => {
    const { x, y, shape } = networks[name];
    const file = fixture(`${name}.safetensors`);
    const load = <L extends Layer & { loadStateDict: BatchNorm["loadStateDict"] }>(
      layer: L,
      prefix: string,
    ): L => {
      const { missing, unexpected } = layer.loadStateDict(fromSafetensors(file, { prefix }));
      expect([missing, unexpected]).toEqual([[], []]);
      return layer;
    };
    const bn = load(new BatchNorm(6, { eps: 1e-3, momentum: 0.3 }).eval(), "layer1.bn.");
    expect(bn.numBatchesTracked).toBe(3);
    const inorm = new InstanceNorm2d(6, { affine: true, trackRunningStats: true }).eval();
    const layers = [
      bn,
      load(new GroupNorm(3, 6), "layer1.gn."),
      load(inorm, "layer1.inorm."),
      load(new BatchNorm(6).eval(), "layer2.0."),
      load(new LayerNorm([2, 3]), "layer2.1."),
      load(new RMSNorm(3, { eps: 1e-6 }), "layer2.2."),
    ];
    expectOutput(layers, x, shape, y);
    const plain = load(new BatchNorm(3, { affine: false }), "layer10.");
    expect(plain.numBatchesTracked).toBe(3);
    plain.dispose();
  });
});

describe("Keras", () => {
  const { x, y, shape, layers: its } = told("keras.json");
  const make = () => ({
    batch_normalization: new BatchNormalization(),
    group_normalization: new GroupNormalization({ groups: 3 }),
    batch_normalization_1: new BatchNormalization({ scale: false, epsilon: 1e-5 }),
    layer_normalization: new LayerNormalization(),
    rms_normalization: new RMSNormalization(),
  });

  test.each([
    ["keras.safetensors, paths for names", "sequential/NAME/"],
    ["keras_vars.safetensors, names of .weights.h5", "layers/NAME/"],
  ])("%s", (what, prefix) => {
    const file = fixture(what.replace(/,.*/, ""));
    const layers = make();
    for (const [name, layer] of Object.entries(layers)) {
      layer.loadStateDict(fromSafetensors(file, { prefix: prefix.replace("NAME", name) }));
    }
    expectOutput(Object.values(layers), x, shape, y);
  });

  test("get_weights(), as arrays in its order", () => {
    const layers = make();
    for (const [name, layer] of Object.entries(layers)) {
      layer.loadStateDict(its[name].get_weights);
    }
    expectOutput(Object.values(layers), x, shape, y);
  });
});

describe("Flax", () => {
  const { x, y, shape, nnx_y, variables } = told("flax.json");
  const make = () => ({
    "Block_0/BatchNorm_0/": new BatchNorm(6, { preset: "flax" }).eval(),
    "Block_0/GroupNorm_0/": new GroupNorm(3, 6, { preset: "flax" }),
    "BatchNorm_0/": new BatchNorm(6, { preset: "flax", scale: false }).eval(),
    "LayerNorm_0/": new LayerNorm(6, { preset: "flax" }),
    "RMSNorm_0/": new RMSNorm(6, { preset: "flax" }),
  });

  test("flax.safetensors, of linen's variables, by their collections", () => {
    const dict = fromSafetensors(fixture("flax.safetensors"));
    const layers = make();
    for (const [prefix, layer] of Object.entries(layers)) layer.loadStateDict(dict, { prefix });
    expectOutput(Object.values(layers), x, shape, y);
  });

  test("the variables, nested as they are", () => {
    const layers = make();
    for (const [prefix, layer] of Object.entries(layers))
      layer.loadStateDict(variables, { prefix });
    expectOutput(Object.values(layers), x, shape, y);
  });

  test("flax_nnx.safetensors, of an nnx module's state", () => {
    const file = fixture("flax_nnx.safetensors");
    const bn = new BatchNorm(6, { preset: "flax" }).eval();
    bn.loadStateDict(fromSafetensors(file, { prefix: "bn/" }));
    const ln = new LayerNorm(6, { preset: "flax" });
    ln.loadStateDict(fromSafetensors(file, { prefix: "ln/" }));
    expectOutput([bn, ln], x, shape, nnx_y);
  });
});

describe("ONNX", () => {
  const { x, y, shape, weights } = told("onnx.json");

  test("onnx.safetensors, initializers by what the operators' inputs are called", () => {
    const file = fixture("onnx.safetensors");
    expect(Object.keys(inspectSafetensors(file).entries).sort()).toEqual(
      Object.keys(weights).sort(),
    );
    const layers = {
      bn: new BatchNorm(6, { preset: "onnx", eps: 1e-3 }),
      gn: new GroupNorm(3, 6, { preset: "onnx" }),
      inorm: new InstanceNorm(6, { preset: "onnx" }),
      ln: new LayerNorm(3, { preset: "onnx", eps: 1e-6 }),
    };
    for (const [name, layer] of Object.entries(layers)) {
      layer.loadStateDict(fromSafetensors(file, { prefix: `${name}.` }));
    }
    expectOutput(Object.values(layers), x, shape, y);
  });
});

describe("TensorFlow.js", () => {
  const { x, y, shape } = told("tfjs.json");

  test("tfjs/model.json", () => {
    const dict = fromLayersModel(told("tfjs/model.json"), fixture("tfjs/model.weights.bin"));
    const bn = new BatchNormalization();
    bn.loadStateDict(dict, { prefix: "batch_normalization_BatchNormalization1/" });
    const ln = new LayerNormalization();
    ln.loadStateDict(dict, { prefix: "layer_normalization_LayerNormalization1/" });
    expectOutput([bn, ln], x, shape, y);
  });
});
