import { BatchNorm, type PresetName, presets, type StateDict, Tensor } from "batchnorm-wasm";
import { describe, expect, test } from "vitest";

const names: Record<PresetName, string[]> = {
  torch: ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"],
  keras: ["gamma", "beta", "moving_mean", "moving_variance"],
  onnx: ["scale", "B", "input_mean", "input_var"],
  flax: ["scale", "bias", "mean", "var"],
};
const presetNames = Object.keys(presets) as PresetName[];

/** A layer that has been trained for two steps. */
function trained(preset: PresetName = "torch"): BatchNorm {
  const bn = new BatchNorm(2, { preset });
  bn.weight?.data.set([1.5, -2]);
  bn.bias?.data.set([0.1, 1e-7]);
  for (const data of [
    [1, 2, 3, 5],
    [8, -1, 4, 0.5],
  ]) {
    bn.forward({ data, shape: [2, 2] });
  }
  return bn;
}

describe("stateDict", () => {
  for (const preset of presetNames) {
    test(`has the names of ${preset}, in its order`, () => {
      expect(Object.keys(trained(preset).stateDict())).toEqual(names[preset]);
    });
  }

  test("has only what the layer has", () => {
    const keys = (options: object) => Object.keys(new BatchNorm(2, options).stateDict());
    expect(keys({ affine: false })).toEqual(names.torch.slice(2));
    expect(keys({ trackRunningStats: false })).toEqual(["weight", "bias"]);
    expect(keys({ scale: false, preset: "keras" })).toEqual(names.keras.slice(1));
    expect(keys({ affine: false, trackRunningStats: false })).toEqual([]);
  });

  test("is a copy that no kernel memory backs: training on doesn't change it", () => {
    const bn = trained();
    const dict = bn.stateDict();
    const { weight, running_mean: mean } = dict as Record<string, Float32Array>;
    const before = [...(mean as Float32Array)];
    bn.forward({ data: [9, 9, 9, 8], shape: [2, 2] });
    bn.weight?.data.fill(7);
    expect([...(mean as Float32Array)]).toEqual(before);
    expect([...(weight as Float32Array)]).toEqual([1.5, -2]);
    expect((mean as Float32Array).buffer.byteLength).toBe(8);
    expect(dict.num_batches_tracked).toBe(2);
  });
});

describe("loadStateDict", () => {
  for (const preset of presetNames) {
    test(`makes an equal layer of ${preset}'s dict, and returns it`, () => {
      const bn = trained(preset);
      const copy = new BatchNorm(2, { preset });
      expect(copy.loadStateDict(bn.stateDict())).toBe(copy);
      expect(copy.stateDict()).toEqual(bn.stateDict());
      if (preset === "torch") expect(copy.numBatchesTracked).toBe(2);
      const x = { data: [1, 2, 3, 4], shape: [2, 2] };
      expect(copy.eval().forward(x)).toEqual(bn.eval().forward(x));
      expect(copy.train().forward(x)).toEqual(bn.train().forward(x));
      expect(copy.stateDict()).toEqual(bn.stateDict());
    });

    test(`survives JSON with Array.from, bit for bit, in ${preset}`, () => {
      const bn = trained(preset);
      const json = JSON.stringify(
        Object.fromEntries(
          Object.entries(bn.stateDict()).map(([name, value]) => [
            name,
            typeof value === "number" ? value : Array.from(value),
          ]),
        ),
      );
      const copy = new BatchNorm(2, { preset }).loadStateDict(JSON.parse(json));
      expect(copy.stateDict()).toEqual(bn.stateDict());
    });
  }

  test("takes vectors from every kind of source", () => {
    const own = trained().stateDict();
    const bn = new BatchNorm(2);
    const values = Tensor.from([0, 0, 3, 4, 5, 6]);
    const sources: [StateDict[string], number[]][] = [
      [Float32Array.of(1, 2), [1, 2]],
      [
        [1, 0.1],
        [1, Math.fround(0.1)],
      ],
      [Uint8Array.of(1, 255), [1, 255]],
      [{ data: [1, 2], shape: [2] }, [1, 2]],
      [{ data: Float32Array.of(1, 2), shape: [2] }, [1, 2]],
      [Tensor.from([1, 2]), [1, 2]],
      [values.slice(0, 2, 4), [3, 4]],
      [values.reshape([3, 2]).slice(0, 2).reshape([2]), [5, 6]],
    ];
    for (const [source, expected] of sources) {
      for (const name of names.torch.slice(0, 4)) {
        bn.loadStateDict({ ...own, [name]: source });
        expect([...(bn.stateDict()[name] as Float32Array)]).toEqual(expected);
      }
    }
  });

  test("takes the layer's own tensors, also swapped", () => {
    const bn = trained();
    const [weight, bias] = [bn.weight as Tensor, bn.bias as Tensor];
    bn.loadStateDict({ ...bn.stateDict(), weight: bias, bias: weight });
    expect([...bias.data]).toEqual([1.5, -2]);
    expect([...weight.data]).toEqual([Math.fround(0.1), Math.fround(1e-7)]);
  });

  test("takes a strided vector, such as a column", () => {
    const own = trained().stateDict();
    const column = new Tensor(Tensor.from([1, 2, 3, 4]).storage, [2], [2], 1);
    expect(column.contiguous).toBe(false);
    const bn = new BatchNorm(2).loadStateDict({ ...own, bias: column });
    expect([...(bn.bias as Tensor).data]).toEqual([2, 4]);
  });

  test("takes the batch count from every kind of source", () => {
    const own = trained().stateDict();
    const sources = [7, 7n, [7], BigInt64Array.of(7n), Float32Array.of(7), Tensor.from([7])];
    for (const count of [...sources, { data: [7], shape: [1] }]) {
      const bn = new BatchNorm(2).loadStateDict({ ...own, num_batches_tracked: count });
      expect(bn.numBatchesTracked).toBe(7);
    }
  });

  test("a loaded batch count weighs in the cumulative average", () => {
    const bn = new BatchNorm(1, { momentum: null });
    const running = { running_mean: [10], running_var: [0], num_batches_tracked: 3 };
    bn.loadStateDict({ weight: [1], bias: [0], ...running });
    bn.forward({ data: [2, 2], shape: [2, 1] });
    expect([...(bn.runningMean as Tensor).data]).toEqual([8]);
    expect(bn.numBatchesTracked).toBe(4);
  });

  test("with a prefix reads the entries behind it alone, and stateDict writes them", () => {
    const [one, two] = [trained(), new BatchNorm(2)];
    const network = {
      ...one.stateDict({ prefix: "net.bn1." }),
      ...two.stateDict({ prefix: "net.bn10." }),
      "net.fc.weight": [1, 2, 3],
    };
    expect(Object.keys(network)).toContain("net.bn1.running_mean");
    const copy = new BatchNorm(2).loadStateDict(network, { prefix: "net.bn1." });
    expect(copy.stateDict()).toEqual(one.stateDict());
    copy.loadStateDict(network, { prefix: "net.bn10." });
    expect(copy.stateDict()).toEqual(two.stateDict());
    expect(() => copy.loadStateDict(network, { prefix: "net." })).toThrow("net.fc.weight");
    expect(() => copy.loadStateDict(network)).toThrow("net.fc.weight");
  });

  test("is all or nothing: a bad last entry leaves the first ones as they were", () => {
    const bn = trained();
    const before = bn.stateDict();
    const good = { weight: [9, 9], bias: [9, 9], running_mean: [9, 9], running_var: [9, 9] };
    for (const bad of [
      { ...good, num_batches_tracked: -1 },
      { ...good, running_var: [9], num_batches_tracked: 1 },
      { ...good, running_var: [9, Number.NaN], num_batches_tracked: 1 },
      { ...good, num_batches_tracked: 1, extra: [1] },
      good,
    ]) {
      expect(() => bn.loadStateDict(bad)).toThrow(expect.objectContaining({ code: "state-dict" }));
      expect(bn.stateDict()).toEqual(before);
    }
  });

  test("keeps the parameters themselves: references and gradients stay", () => {
    const bn = trained();
    const { weight } = bn;
    bn.backward({ data: [1, 2, 3, 4], shape: [2, 2] });
    const grad = weight?.grad;
    bn.loadStateDict(new BatchNorm(2).stateDict());
    expect(bn.weight).toBe(weight);
    expect(bn.weight?.grad).toBe(grad);
    expect([...(weight as Tensor).data]).toEqual([1, 1]);
  });

  test("teaches a layer its feature count, whichever entry comes first", () => {
    const dict = trained().stateDict();
    const orders = [Object.keys(dict), Object.keys(dict).reverse()];
    for (const order of orders) {
      const ordered = Object.fromEntries(order.map((name) => [name, dict[name] ?? 0]));
      const bn = new BatchNorm(null).loadStateDict(ordered);
      expect(bn.numFeatures).toBe(2);
      expect(bn.stateDict()).toEqual(dict);
    }
    const plain = { ...dict, weight: { data: [1, 2], shape: [2] } };
    expect(new BatchNorm(null).loadStateDict(plain).numFeatures).toBe(2);
    const behind = trained().stateDict({ prefix: "bn." });
    expect(new BatchNorm(null).loadStateDict(behind, { prefix: "bn." }).numFeatures).toBe(2);
    const bare = new BatchNorm(null, { affine: false });
    bare.loadStateDict({ running_mean: [1, 2], running_var: [1, 1], num_batches_tracked: [5] });
    expect(bare.numFeatures).toBe(2);
  });

  test("accepts what another preset's layer holds once the names are changed", () => {
    const { gamma, beta, moving_mean, moving_variance } = trained("keras").stateDict();
    const onnx = new BatchNorm(2, { preset: "onnx", eps: presets.keras.eps }).loadStateDict({
      scale: gamma as Float32Array,
      B: beta as Float32Array,
      input_mean: moving_mean as Float32Array,
      input_var: moving_variance as Float32Array,
    });
    const x = { data: [1, 2, 3, 4], shape: [2, 2] };
    expect(onnx.eval().forward(x)).toEqual(trained("keras").eval().forward(x));
  });
});
