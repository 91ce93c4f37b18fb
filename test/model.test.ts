/** All layers of a network at once. */
import {
  BatchNorm,
  freeze,
  GroupNorm,
  InstanceNorm2d,
  LayerNorm,
  loadStateDict,
  type Model,
  parameters,
  RMSNorm,
  type StateDict,
  stateDict,
  Tensor,
  train,
} from "batchnorm-wasm";
import { describe, expect, test } from "vitest";
import { expectError, loaded, values, type Watched, wrong } from "./call-helpers.js";

const torch = (value: number) => ({
  weight: [value, value + 1],
  bias: [value + 2, value + 3],
  running_mean: [value + 4, value + 5],
  running_var: [value + 6, value + 7],
});

/** Entries behind a prefix. */
const behind = (prefix: string, dict: object): StateDict =>
  Object.fromEntries(Object.entries(dict).map(([name, entry]) => [prefix + name, entry]));

/** A small network's norms: of each kind one, one in a list, and a place without. */
function network() {
  const stem = new BatchNorm(2);
  const block = new GroupNorm(1, 2);
  const head = new LayerNorm(2);
  const last = new RMSNorm(2);
  const model = { stem: { bn: stem, downsample: null }, "layer1.gn": block, heads: [head, last] };
  return { stem, block, head, last, model, all: [stem, block, head, last] as Watched[] };
}

const WHOLE: StateDict = {
  ...behind("stem.bn.", { ...torch(1), num_batches_tracked: 9 }),
  ...behind("layer1.gn.", { weight: [10, 11], bias: [12, 13] }),
  ...behind("heads.0.", { weight: [20, 21], bias: [22, 23] }),
  ...behind("heads.1.", { weight: [30, 31] }),
};

describe("loadStateDict of a network", () => {
  test("gives each layer its own, and tells what is nobody's", () => {
    const { model, stem, block, head, last } = network();
    const others = { "stem.conv.weight": [1, 2, 3], "fc.bias": [4] };
    expect(loadStateDict(model, { ...others, ...WHOLE })).toEqual({
      missing: [],
      unexpected: ["stem.conv.weight", "fc.bias"],
      converted: [],
    });
    expect(stem.numBatchesTracked).toBe(9);
    expect(values(stem.runningVar as Tensor)).toEqual([7, 8]);
    expect(values(block.bias as Tensor)).toEqual([12, 13]);
    expect(values(head.weight as Tensor)).toEqual([20, 21]);
    expect(values(last.weight as Tensor)).toEqual([30, 31]);
    const dict = stateDict(model);
    for (const saved of [dict, JSON.parse(JSON.stringify(dict))]) {
      const copy = network();
      const nothing = { missing: [], unexpected: [], converted: [] };
      expect(loadStateDict(copy.model, saved)).toEqual(nothing);
      expect(stateDict(copy.model)).toEqual(dict);
    }
  });

  test("is that of a single layer where the model is one", () => {
    const bn = new BatchNorm(2);
    const dict = behind("bn.", torch(1));
    const options = { prefix: "bn." };
    const other = { ...dict, "fc.weight": [1] };
    expect(loadStateDict(bn, other, options).unexpected).toEqual(["fc.weight"]);
    expect(stateDict(bn, options)).toEqual(bn.stateDict(options));
    expect(values(bn.bias as Tensor)).toEqual([3, 4]);
  });

  test("takes Maps and modules of layers, and what Flax's and Keras's networks save", () => {
    const [first, second] = [new BatchNorm(null, { preset: "flax" }), new BatchNorm(null)];
    const model = new Map([
      ["BatchNorm_0", first],
      ["block", new Map([["BatchNorm_1", second]])],
    ] as [string, Model][]);
    const [scale, bias, mean, variance] = Object.values(torch(1));
    const params = { scale, bias };
    const stats = { mean, var: variance };
    const variables = {
      params: { BatchNorm_0: params, block: { BatchNorm_1: params, Conv_0: { kernel: [1] } } },
      batch_stats: { BatchNorm_0: stats, block: { BatchNorm_1: stats } },
    };
    const report = loadStateDict(model, wrong(variables));
    expect(report).toEqual({
      missing: [],
      unexpected: ["params.block.Conv_0"],
      converted: [],
    });
    for (const bn of [first, second]) expect(values(bn.runningVar as Tensor)).toEqual([7, 8]);
    const keras = {
      "bn_1/gamma:0": scale,
      "bn_1/beta:0": bias,
      "bn_1/moving_mean:0": mean,
      "bn_1/moving_variance:0": variance,
      "dense/kernel:0": [1],
    };
    const bn_1 = new BatchNorm(null, { preset: "keras" });
    expect(loadStateDict({ bn_1 }, wrong(keras)).unexpected).toEqual(["dense/kernel:0"]);
    expect(values(bn_1.weight as Tensor)).toEqual([1, 2]);
    const module = Object.freeze(
      Object.defineProperty({ bn_1 }, Symbol.toStringTag, { value: "Module" }),
    );
    expect(loadStateDict(module, wrong(keras)).missing).toEqual([]);
  });

  test("is all or nothing over all layers: an error of the last leaves the first as it was", () => {
    const { model, all } = network();
    const { last } = network();
    last.dispose();
    for (const [code, words, dict] of [
      ["state-dict", ["heads.1.weight", "expected the shape [2]"], { "heads.1.weight": [1] }],
      ["state-dict", ["heads.1.weight[0] is NaN"], { "heads.1.weight": [Number.NaN, 1] }],
      ["dtype", ["heads.1.weight[0] is 1e-60"], { "heads.1.weight": [1e-60, 1] }],
      ["state-dict", ["not expected: heads.1.bias"], { "heads.1.bias": [1, 1] }],
    ] as const) {
      const whole = { ...WHOLE, ...dict } as StateDict;
      expectError(code, ["loadStateDict", ...words], () => loadStateDict(model, whole), all);
    }
    const { "heads.1.weight": _, ...torn } = WHOLE;
    const words = ["missing: heads.1.weight"];
    expectError("state-dict", words, () => loadStateDict(model, torn), all);
    expectError("disposed", ["RMSNorm"], () => loadStateDict({ model, last }, WHOLE), all);
  });

  test("leaves no layer built where another can't be", () => {
    const [first, second] = [new BatchNorm(null), new GroupNorm(3, null)];
    const { weight, bias } = torch(1);
    const dict = { ...behind("first.", torch(1)), ...behind("second.", { weight, bias }) };
    const call = () => loadStateDict({ first, second }, dict);
    expectError("state-dict", ["numGroups 3"], call, [first, second]);
    expect([first.numFeatures, second.numChannels]).toEqual([null, null]);
  });

  test("a getter in the dict that changes a layer, even a later one, leads to an error", () => {
    const { model, last, stem, block, head } = network();
    const dict = Object.defineProperty({ ...WHOLE }, "stem.bn.weight", {
      enumerable: true,
      get: () => {
        last.dispose();
        return [1, 2];
      },
    });
    expect(() => loadStateDict(model, dict)).toThrow("reading the dict has changed the layer");
    for (const layer of [stem, block, head]) expect(values(layer.weight as Tensor)).toEqual([1, 1]);
  });

  test("with strict: false keeps what is missing, and tells it of all layers", () => {
    const { model, stem, last } = network();
    const dict = { "stem.bn.weight": [5, 6], "heads.1.other": [1], "x.weight": [2] };
    const report = loadStateDict(model, dict, { strict: false });
    expect(report.missing).toHaveLength(8);
    expect(report.missing.slice(-2)).toEqual(["heads.0.bias", "heads.1.weight"]);
    expect(report.unexpected).toEqual(["heads.1.other", "x.weight"]);
    expect(values(stem.weight as Tensor)).toEqual([5, 6]);
    expect(values(last.weight as Tensor)).toEqual([1, 1]);
    const converted = loadStateDict(model, { "heads.1.weight": [0.1, 1] }, { strict: false });
    expect(converted.converted).toEqual([
      { name: "heads.1.weight", from: "float64", to: "float32", exact: false },
    ]);
  });

  test("with a prefix reads the network behind it", () => {
    const { model, stem } = network();
    const dict = { ...behind("module.", WHOLE), epoch: 3 };
    expect(loadStateDict(model, dict, { prefix: "module." }).unexpected).toEqual(["epoch"]);
    expect(values(stem.weight as Tensor)).toEqual([1, 2]);
    expect(Object.keys(stateDict(model, { prefix: "module." }))).toEqual(
      Object.keys(WHOLE).map((name) => `module.${name}`),
    );
    const words = ["missing: stem.bn.weight", "and"];
    expectError("state-dict", words, () => loadStateDict(model, dict));
  });

  test("gives what is behind two layers' names to that of the longer one", () => {
    const [outer, inner] = [new BatchNorm(2), new BatchNorm(2)];
    const model = { head: outer, "head.norm": inner };
    const dict = { ...behind("head.", torch(1)), ...behind("head.norm.", torch(2)) };
    expect(loadStateDict(model, dict)).toEqual({ missing: [], unexpected: [], converted: [] });
    expect(values(outer.weight as Tensor)).toEqual([1, 2]);
    expect(values(inner.weight as Tensor)).toEqual([2, 3]);
  });

  test("takes a layer that is in a network twice, with the entries of both places", () => {
    const shared = new BatchNorm(2);
    const model = { a: shared, b: shared };
    const dict = { ...behind("a.", torch(1)), ...behind("b.", torch(1)) };
    expect(loadStateDict(model, dict).missing).toEqual([]);
    expect(values(shared.weight as Tensor)).toEqual([1, 2]);
    expect(Object.keys(stateDict(model))).toHaveLength(10);
    expect(parameters(model)).toEqual([shared.weight, shared.bias]);
    // Two places may tell two sizes.
    const unbuilt = new BatchNorm(null);
    const call = () => loadStateDict({ a: unbuilt, b: unbuilt }, dict);
    expectError("not-built", ['"b."', "twice"], call, [unbuilt]);
  });

  test("reads a dict of thousands of entries into hundreds of layers at once", () => {
    const layers = Array.from({ length: 300 }, () => new RMSNorm(2));
    const names = layers.map((_, i) => `layers.${i}.weight`);
    const others = Array.from({ length: 5000 }, (_, i) => `layers.${i % 300}.attn${i}.kernel`);
    const dict = Object.fromEntries(
      [...names, ...others].map((name) => [name, [1, 2]] as [string, number[]]),
    );
    // What is behind a layer's own name is the layer's.
    expectError("state-dict", ["not expected: layers.0.attn0.kernel"], () =>
      loadStateDict({ layers }, dict),
    );
    const start = performance.now();
    const { unexpected } = loadStateDict({ layers }, dict, { strict: false });
    expect(performance.now() - start).toBeLessThan(5000);
    expect(unexpected).toHaveLength(5000);
    expect(values(layers[299]?.weight as Tensor)).toEqual([1, 2]);
  });
});

describe("a model", () => {
  const bn = () => new BatchNorm(2);

  test("is layers by their names: all else is refused, by its name", () => {
    const calls = [
      (model: unknown) => loadStateDict(wrong(model), {}),
      (model: unknown) => stateDict(wrong(model)),
      (model: unknown) => freeze(wrong(model)),
      (model: unknown) => train(wrong(model)),
      (model: unknown) => parameters(wrong(model)),
    ];
    for (const call of calls) {
      for (const [value, word] of [
        [5, "5"],
        ["bn", '"bn"'],
        [Tensor.zeros([2]), "Tensor"],
        [new Float32Array(2), "Float32Array"],
        [new Proxy(bn(), {}), "Proxy"],
        [() => bn(), "a function"],
        [new Set([bn()]), "Set"],
      ] as const) {
        expectError("invalid-option", ["model must be a layer", word], () => call(value));
        const inside = { a: [bn(), value] };
        expectError("invalid-option", ['model\'s "a.1" must be a layer', word], () => call(inside));
      }
      for (const value of [null, undefined]) {
        expectError("invalid-option", ["model must be"], () => call(value));
      }
      const twice = { "a.b": bn(), a: { b: bn() } };
      expectError("invalid-option", ['two layers are "a.b."'], () => call(twice));
      const itself: Record<string, unknown> = { bn: bn() };
      itself.more = [itself];
      expectError("invalid-option", ["more.0", "in itself"], () => call(itself));
      const disposed = bn();
      disposed.dispose();
      expectError("disposed", ["BatchNorm"], () => call({ disposed }));
    }
    expect(stateDict({})).toEqual({});
    expect(parameters([null, undefined])).toEqual([]);
    expect(loadStateDict({}, { weight: [1] }).unexpected).toEqual(["weight"]);
  });

  test("has its layers' order, however they are nested", () => {
    const { model } = network();
    expect(Object.keys(stateDict(model))).toEqual(Object.keys(WHOLE));
  });

  test("has names like any others", () => {
    const layers = JSON.parse('{ "__proto__": null, "constructor": null }');
    Object.defineProperty(layers, "__proto__", { value: bn(), enumerable: true });
    layers.constructor = bn();
    const dict = stateDict(layers);
    expect(Object.keys(dict)[0]).toBe("__proto__.weight");
    expect(loadStateDict(layers, dict).unexpected).toEqual([]);
  });
});

describe("train, freeze and parameters", () => {
  test("train switches all layers, and back", () => {
    const { model, stem, head } = network();
    train(model, false);
    expect([stem.training, head.training]).toEqual([false, false]);
    train(model);
    expect([stem.training, head.training]).toEqual([true, true]);
    const flax = new BatchNorm(2, { preset: "flax" });
    train([flax]);
    expect(flax.training).toBe(true);
    for (const mode of [1, "eval", null]) {
      expectError("invalid-option", ["mode"], () => train(model, wrong(mode)), [stem, head]);
    }
  });

  test("freeze keeps running statistics and gathers no gradients in training, until it is undone", () => {
    const stem = loaded(new BatchNorm(2), torch(1));
    const untracked = new BatchNorm(2, { trackRunningStats: false });
    const instance = new InstanceNorm2d(2, { affine: true, trackRunningStats: true });
    const head = new LayerNorm(2);
    const model = { stem, untracked, instance, head };
    const x = Tensor.from([1, 2, 5, 9], [2, 2]);
    const frozen = values(stem.eval().forward(x));
    train(model);
    const free = values(stem.forward(x));
    loadStateDict({ stem }, behind("stem.", torch(1)));
    freeze(model);
    const switches = () => [stem.statistics, stem.updateRunningStats, stem.requiresGrad];
    expect(switches()).toEqual(["running", false, false]);
    const before = stem.stateDict();
    expect(values(stem.forward(x))).toEqual(frozen);
    expect(stem.stateDict()).toEqual(before);
    for (const layer of [stem, untracked, head]) {
      layer.forward(x);
      (layer as BatchNorm).backward(x);
    }
    expect(parameters(model).map(({ grad }) => grad)).toEqual(new Array(8).fill(null));
    expect([untracked.statistics, instance.requiresGrad]).toEqual(["auto", false]);
    freeze(model, false);
    expect(switches()).toEqual(["auto", "auto", true]);
    expect(values(stem.forward(x))).toEqual(free);
    expect(stem.stateDict()).not.toEqual(before);
    stem.backward(x);
    expect(stem.weight?.grad).not.toBe(null);
    expect(instance.requiresGrad).toBe(true);
    for (const value of [0, "yes", null]) {
      expectError("invalid-option", ["frozen"], () => freeze(model, wrong(value)), [stem, head]);
    }
  });

  test("parameters are those of all layers, each once, in their order", () => {
    const { model, stem, block, head, last } = network();
    const none = new BatchNorm(2, { affine: false });
    expect(parameters([model, none, new BatchNorm(null)])).toEqual([
      ...[stem.weight, stem.bias, block.weight, block.bias],
      ...[head.weight, head.bias, last.weight],
    ]);
  });
});
