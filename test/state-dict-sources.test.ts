/** State dicts as people have them: other names, other shapes, other types, and parts of them. */
import {
  BatchNorm,
  BatchNormalization,
  GroupNorm,
  InstanceNorm2d,
  LayerNorm,
  LayerNormalization,
  type LoadOptions,
  RMSNorm,
  RMSNormalization,
  type SampleNorm,
  type StateDictSource,
  Tensor,
} from "batchnorm-wasm";
import { describe, expect, test } from "vitest";
import { expectError, loaded, values, wrong } from "./call-helpers.js";

/** What every dict here holds. */
const [WEIGHT, BIAS, MEAN, VAR] = [
  [1.5, -2],
  [0.25, 3],
  [-1, 8],
  [0.5, 4],
] as const;
const ALL = [WEIGHT, BIAS, MEAN, VAR].map((one) => [...one]);
const [weight, bias, running_mean, running_var] = ALL as [number[], number[], number[], number[]];
const torch = { weight, bias, running_mean, running_var };
const nothing = { missing: [], unexpected: [], converted: [] };

type Layer = BatchNorm | SampleNorm;

/** What a layer of batch norm has. */
const stateOf = (bn: BatchNorm) =>
  [bn.weight, bn.bias, bn.runningMean, bn.runningVar].map((one) => one && values(one));

/** Expects that a layer of each preset reads the dict, and has nothing to tell of it. */
function expectRead(dict: unknown, options?: LoadOptions): void {
  for (const preset of ["torch", "keras", "onnx", "flax"] as const) {
    for (const size of [2, null]) {
      const bn = new BatchNorm(size, { preset });
      expect(bn.loadStateDict(wrong(dict), options)).toEqual(nothing);
      expect(stateOf(bn)).toEqual(ALL);
      bn.dispose();
    }
  }
}

/** Expects that nothing of the layer has changed. */
function expectRefused(
  code: "state-dict" | "dtype" | "invalid-option" | "unknown-option" | "invalid-shape",
  words: readonly string[],
  dict: unknown,
  options?: unknown,
  layer: Layer = loaded(new BatchNorm(2), torch),
): void {
  expectError(code, words, () => layer.loadStateDict(wrong(dict), wrong(options)), [layer]);
}

describe("a dict is read by the names of whoever wrote it", () => {
  test("PyTorch's, with a count or as its loader takes it without", () => {
    expectRead(torch);
    expectRead({ ...torch, num_batches_tracked: 7 });
    expectRead({ ...torch, num_batches_tracked: BigInt64Array.of(7n) });
    expectRead({ ...torch, num_batches_tracked: { data: BigInt64Array.of(7n), shape: [] } });
  });

  test("what DataParallel and whole checkpoints have before each name is a prefix", () => {
    const whole = Object.fromEntries(
      Object.entries(torch).map(([name, entry]) => [`module.layer1.0.bn1.${name}`, entry]),
    );
    const other = { "module.layer1.0.conv1.weight": [1, 2, 3], epoch: 3 };
    expectRead({ ...whole, ...other }, { prefix: "module.layer1.0.bn1." });
    const fits = 'fit with prefix "module.layer1.0.bn1."';
    expectRefused("state-dict", [fits], whole);
  });

  test("Keras's, of layers, of files with groups and with the ends of TensorFlow's variables", () => {
    const [gamma, beta, moving_mean, moving_variance] = ALL;
    const keras = { gamma, beta, moving_mean, moving_variance };
    expectRead(keras);
    const behind = (before: string, end: string) =>
      Object.fromEntries(
        Object.entries(keras).map(([name, entry]) => [before + name + end, entry]),
      );
    expectRead(behind("", ":0"));
    expectRead(behind("batch_normalization/", ":0"), { prefix: "batch_normalization/" });
    expectRead(behind("batch_normalization/", ":0"), { prefix: "batch_normalization." });
    expectRead(behind("model/bn_1/", ""), { prefix: "model/bn_1/" });
    const fits = 'fit with prefix "batch_normalization."';
    expectRefused("state-dict", [fits], behind("batch_normalization/", ":0"));
  });

  test("Keras's get_weights(), an array in its order", () => {
    expectRead(ALL);
    expectRead(ALL.map((one) => Float32Array.from(one)));
    expectRead({ bn: ALL }, { prefix: "bn." });
    const [, beta, mean, variance] = ALL;
    const scaleless = new BatchNormalization({ scale: false });
    expect(scaleless.loadStateDict(wrong([beta, mean, variance]))).toEqual(nothing);
    expect(stateOf(scaleless)).toEqual([null, beta, mean, variance]);
    const bare = new BatchNormalization({ scale: false, center: false });
    expect(bare.loadStateDict(wrong([mean, variance]))).toEqual(nothing);
    expect(stateOf(bare)).toEqual([null, null, mean, variance]);
    // Of another layer's order nothing can be told.
    const words = ["missing: gamma", "not expected: 0, 1, 2"];
    const keras = () => loaded(new BatchNorm(2, { preset: "keras" }), torch);
    expectRefused("state-dict", words, [beta, mean, variance], {}, keras());
    expectRefused("state-dict", ["not expected: 0, 1, 2, 3, 4"], [...ALL, beta], {}, keras());
    const partly = keras();
    const left = partly.loadStateDict(wrong([beta, mean, variance]), { strict: false });
    expect(left).toEqual({
      missing: ["gamma", "beta", "moving_mean", "moving_variance"],
      unexpected: ["0", "1", "2"],
      converted: [],
    });
    expect(stateOf(partly)).toEqual(ALL);
  });

  test("Keras's renorm, whose averages come behind the running statistics", () => {
    const bn = new BatchNormalization({ renorm: true });
    const seven = [...ALL, [0.5, 2], [7, 8], [1, 3]];
    bn.loadStateDict(wrong(seven));
    expect(Object.values(bn.stateDict())).toEqual(seven.map((one) => Float32Array.from(one)));
  });

  test("Keras 3's files, by place", () => {
    const flat = Object.fromEntries(ALL.map((entry, i) => [`layers/bn/vars/${i}`, entry]));
    expectRead(flat, { prefix: "layers/bn/" });
    expectRead(flat, { prefix: "layers.bn." });
    expectRead(flat, { prefix: "layers/bn/vars/" });
    expectRead({ layers: { bn: { vars: { ...ALL } } } }, { prefix: "layers.bn." });
    expectRead({ vars: ALL });
    const more = { ...flat, "layers/dense/vars/0": [1] };
    expectRead(more, { prefix: "layers/bn/" });
    expectRefused("state-dict", ["missing: weight", "not expected: layers/bn/vars/0"], flat);
  });

  test("ONNX's", () => {
    const [scale, B, input_mean, input_var] = ALL;
    expectRead({ scale, B, input_mean, input_var });
  });

  test("Flax's, nested in collections, flat with slashes, and in Maps", () => {
    const [scale, bias, mean, variance] = ALL;
    const own = { params: { scale, bias }, batch_stats: { mean, var: variance } };
    expectRead(own);
    const variables = {
      params: { BatchNorm_0: own.params, Dense_0: { kernel: [1], bias: [2] } },
      batch_stats: { BatchNorm_0: own.batch_stats },
    };
    expectRead(variables, { prefix: "BatchNorm_0." });
    expectRead(variables, { prefix: "BatchNorm_0/" });
    const map = new Map([
      ["params", new Map([["BatchNorm_0", new Map(Object.entries(own.params))]])],
      ["batch_stats", new Map([["BatchNorm_0", new Map(Object.entries(own.batch_stats))]])],
    ]);
    expectRead(map, { prefix: "BatchNorm_0." });
    const flat = {
      "params/BatchNorm_0/scale": scale,
      "params/BatchNorm_0/bias": bias,
      "batch_stats/BatchNorm_0/mean": mean,
      "batch_stats/BatchNorm_0/var": variance,
    };
    expectRead(flat, { prefix: "BatchNorm_0." });
    expectRefused("state-dict", ['fit with prefix "BatchNorm_0."'], flat);
    const words = ["missing: weight", "not expected: params.BatchNorm_0, params.Dense_0"];
    expectRefused("state-dict", words, variables);
    // nnx has the same names without collections.
    expectRead({ scale, bias, mean, var: variance });
    // A module may have such a name itself, beside another layer.
    const beside = {
      ...new BatchNorm(2).stateDict(),
      ...loaded(new BatchNorm(2), torch).stateDict({ prefix: "params." }),
    };
    expectRead(beside, { prefix: "params." });
  });

  test("names of several frameworks at once, as MXNet mixes them", () => {
    const [gamma, beta] = ALL;
    expectRead({ gamma, beta, running_mean, running_var });
  });

  test("a Map of names", () => {
    expectRead(new Map(Object.entries(torch)));
    const wrongType = new Map(Object.entries({ ...torch, weight: "1, 2" }));
    expectRefused("dtype", ["weight"], wrongType);
  });

  test("the same of the other norms", () => {
    const cases: [Layer, unknown][] = [
      [new GroupNorm(1, 2), { gamma: weight, beta: bias }],
      [new GroupNorm(1, 2, { preset: "keras" }), { "norm/gamma:0": weight, "norm/beta:0": bias }],
      [new LayerNorm(2), [weight, bias]],
      [new LayerNorm(2), { Scale: weight, B: bias }],
      [new LayerNormalization(), { vars: { 0: weight, 1: bias } }],
      [new LayerNorm(2, { preset: "flax" }), { params: { scale: weight, bias } }],
      // As BERT's first checkpoints have it.
      [
        new LayerNorm(2, { preset: "torch" }),
        new Map([
          ["gamma", weight],
          ["beta", bias],
        ]),
      ],
      [new RMSNorm(2), { scale: weight }],
      [new RMSNormalization(), { gamma: weight }],
      [new RMSNorm(2, { preset: "flax" }), { weight }],
      [new InstanceNorm2d(2, { affine: true, trackRunningStats: true }), torch],
    ];
    for (const [layer, dict] of cases) {
      const norm = wrong(dict) as Record<string, unknown>;
      const prefix = Object.keys(norm)[0]?.startsWith("norm/") ? "norm/" : "";
      if (layer instanceof LayerNormalization) layer.forward(Tensor.zeros([1, 2]));
      if (layer instanceof RMSNormalization) layer.forward(Tensor.zeros([1, 2]));
      expect(layer.loadStateDict(wrong(dict), { prefix })).toEqual(nothing);
      expect(values(layer.weight as Tensor)).toEqual(weight);
      if (layer.bias) expect(values(layer.bias)).toEqual(bias);
    }
  });

  test("names tells what an entry is called, and nothing else is tried for it then", () => {
    const dict = { g: weight, b: bias, running_mean, running_var, n: 9 };
    const names = { weight: "g", bias: "b", num_batches_tracked: "n" };
    const bn = new BatchNorm(2);
    expect(bn.loadStateDict(dict, { names })).toEqual(nothing);
    expect(stateOf(bn)).toEqual(ALL);
    expect(bn.numBatchesTracked).toBe(9);
    const keras = new BatchNorm(2, { preset: "keras" });
    const kerasNames = { gamma: "bn/g:0", beta: "b", num_batches_tracked: null };
    const given = { "m/bn/g:0": weight, "m/b": bias, "m/running_mean": MEAN, "m/var": VAR };
    expect(keras.loadStateDict(wrong(given), { prefix: "m/", names: kerasNames })).toEqual(nothing);
    expect(stateOf(keras)).toEqual(ALL);
    const wordsOf = ["missing: g", "not expected: weight"];
    expectRefused("state-dict", wordsOf, torch, { names: { weight: "g" } });
    expectRefused("state-dict", ["missing: g"], ALL, { names: { weight: "g" } });
    expectRefused("unknown-option", ["names", '"wieght"', '"weight"'], torch, {
      names: { wieght: "g" },
    });
    for (const one of [5, false, {}, ["g"], Symbol("g")]) {
      expectRefused("invalid-option", ["names.weight must be a string"], torch, {
        names: { weight: one },
      });
    }
    for (const one of ["torch", 5, ["weight"], new Map([["weight", "g"]])]) {
      expectRefused("invalid-option", ["names"], torch, { names: one });
    }
  });

  test("two entries that may each be the same one are refused, unless one has the own name", () => {
    const two = { gamma: weight, scale: bias, bias, running_mean, running_var };
    expectRefused("state-dict", ["gamma, scale may each be weight", "names"], two);
    const bn = new BatchNorm(2);
    expect(bn.loadStateDict(two, { names: { weight: "gamma" }, strict: false })).toEqual({
      ...nothing,
      unexpected: ["scale"],
    });
    expect(stateOf(bn)).toEqual(ALL);
    const both = { ...torch, gamma: [9, 9] };
    expectRefused("state-dict", ["not expected: gamma"], both);
    bn.loadStateDict(both, { strict: false });
    expect(stateOf(bn)).toEqual(ALL);
    const twice = { ...torch, "weight:0": weight };
    expectRefused("state-dict", ["weight, weight:0 may each be weight"], twice);
  });
});

describe("strict: false", () => {
  test("keeps what is missing, and tells what is missing and what is unknown", () => {
    const bn = loaded(new BatchNorm(2), { ...torch, num_batches_tracked: 5 });
    const dict = { "a.weight": [7, 7], "a.other": [1], "b.bias": [9, 9] };
    const options = { prefix: "a.", strict: false };
    expect(bn.loadStateDict(dict, options)).toEqual({
      missing: ["a.bias", "a.running_mean", "a.running_var"],
      unexpected: ["a.other"],
      converted: [],
    });
    expect(stateOf(bn)).toEqual([[7, 7], ...ALL.slice(1)]);
    expect(bn.numBatchesTracked).toBe(5);
    expect(bn.loadStateDict({}, { strict: false }).missing).toHaveLength(4);
    expectRefused("state-dict", ["missing: a.bias"], dict, { prefix: "a." });
    expectRefused("state-dict", ["missing: a.bias"], dict, { prefix: "a.", strict: true });
    expectRefused("state-dict", ["missing: a.bias"], dict, { prefix: "a.", strict: null });
    for (const strict of [0, 1, "no", {}]) {
      expectRefused("invalid-option", ["strict"], torch, { strict });
    }
  });

  test("is all or nothing, too", () => {
    const bad = { weight: [7, 7], running_var: [1, -1] };
    expectRefused("state-dict", ["running_var[1] is -1"], bad, { strict: false });
    expectRefused("state-dict", ["[3]"], { weight: [7, 7], bias: [7, 7, 7] }, { strict: false });
  });

  test("builds a layer from what there is, the rest as it begins", () => {
    const bn = new BatchNorm(null);
    expect(bn.loadStateDict({ running_mean }, { strict: false }).missing).toHaveLength(3);
    expect(stateOf(bn)).toEqual([[1, 1], [0, 0], running_mean, [1, 1]]);
    const none = new BatchNorm(null);
    none.loadStateDict({}, { strict: false });
    expect(none.numFeatures).toBe(null);
  });
});

test("num_batches_tracked that a dict lacks stays as it is, as PyTorch's loader has it", () => {
  const bn = new BatchNorm(2);
  expect(bn.loadStateDict(torch)).toEqual(nothing);
  expect(bn.numBatchesTracked).toBe(0);
  bn.loadStateDict({ ...torch, num_batches_tracked: 7 });
  bn.loadStateDict(torch);
  expect(bn.numBatchesTracked).toBe(7);
  // Keras counts nothing; of a layer that does, what PyTorch's file says.
  const keras = new BatchNorm(2, { preset: "keras" });
  keras.loadStateDict({ ...torch, num_batches_tracked: 7 });
  expect(keras.numBatchesTracked).toBe(7);
  const untracked = new BatchNorm(2, { trackRunningStats: false });
  const words = ["not expected: num_batches_tracked"];
  expectRefused("state-dict", words, { weight, bias, num_batches_tracked: 7 }, {}, untracked);
});

describe("a vector's shape", () => {
  test("may have it along any axis, as images do", () => {
    for (const shape of [[2], [1, 2], [2, 1], [1, 2, 1, 1], [2, 1, 1], [1, 1, 1, 2]]) {
      expectRead({ ...torch, weight: { data: weight, shape }, bias: Tensor.from(bias, shape) });
    }
    for (const shape of [[2, 2], [1, 3], [4], [1], [0], [2, 1, 2]]) {
      const data = new Array(shape.reduce((a, b) => a * b)).fill(1);
      const words = ["weight", "expected the shape [2]", `got [${shape.join(", ")}]`];
      expectRefused("state-dict", words, { ...torch, weight: { data, shape } });
    }
    const short = { ...torch, weight: { data: [1], shape: [1, 2, 1, 1] } };
    expectRefused("state-dict", ["expected the shape [2]", "of 1 values"], short);
    const more = { ...torch, weight: { data: [1, 2], shape: [1, 3] } };
    expectRefused("state-dict", ["expected the shape [2]", "got [1, 3] of 2 values"], more);
    const one = new BatchNorm(1);
    const entry = { data: [3], shape: [1, 1, 1, 1] };
    one.loadStateDict({ weight: entry, bias: entry, running_mean: entry, running_var: entry });
    expect(stateOf(one)).toEqual([[3], [3], [3], [3]]);
  });

  test("of layer norm is its own or flat", () => {
    const data = [1, 2, 3, 4, 5, 6];
    for (const shape of [[2, 3], [6]]) {
      const ln = new LayerNorm([2, 3]);
      ln.loadStateDict({ weight: { data, shape }, bias: data });
      expect(ln.weight?.shape).toEqual([2, 3]);
      expect(values(ln.weight as Tensor)).toEqual(data);
    }
    for (const shape of [
      [3, 2],
      [1, 6],
      [1, 2, 3],
    ]) {
      const dict = { weight: { data, shape }, bias: data };
      expectRefused(
        "state-dict",
        ["[2, 3]", `[${shape.join(", ")}]`],
        dict,
        {},
        new LayerNorm([2, 3]),
      );
    }
    const row = new LayerNorm(6);
    row.loadStateDict({ weight: { data, shape: [1, 1, 6] }, bias: data });
    expect(values(row.weight as Tensor)).toEqual(data);
  });
});

describe("a vector's type", () => {
  /** Bytes of numbers, one byte further than they could be viewed. */
  const bytes = (view: ArrayBufferView) => {
    const all = new Uint8Array(view.byteLength + 1);
    all.set(new Uint8Array(view.buffer, view.byteOffset, view.byteLength), 1);
    return all.subarray(1);
  };
  const F16 = Uint16Array.of(0x3e00, 0xc000); // 1.5, -2
  const BF16 = Uint16Array.of(0x3fc0, 0xc000);
  const sources: [unknown, string | null][] = [
    [Float64Array.from(WEIGHT), "float64"],
    [{ data: Float64Array.from(WEIGHT), shape: [2] }, "float64"],
    [{ data: bytes(F16), dtype: "F16" }, "F16"],
    [{ data: bytes(F16), dtype: "float16", shape: [1, 2, 1, 1] }, "float16"],
    [{ data: F16, dtype: "F16", shape: [2] }, "F16"],
    [{ data: F16.buffer, dtype: "F16", shape: [2] }, "F16"],
    [{ data: new DataView(F16.buffer), dtype: "float16" }, "float16"],
    [{ data: bytes(BF16), dtype: "BF16", shape: [2] }, "BF16"],
    [{ data: BF16, dtype: "bfloat16" }, "bfloat16"],
    [{ data: bytes(Float32Array.from(WEIGHT)), dtype: "F32", shape: [2] }, null],
    [{ data: bytes(Float32Array.from(WEIGHT)), dtype: "float32" }, null],
    [{ data: Buffer.from(bytes(Float64Array.from(WEIGHT))), dtype: "F64" }, "F64"],
    // What says itself what it is needs nobody to, as ndarray's and npyjs's types do not.
    [{ data: Float32Array.from(WEIGHT), dtype: "float32", shape: [2] }, null],
    [{ data: [...WEIGHT], dtype: "array", shape: [2] }, null],
    [{ data: [...WEIGHT], dtype: null, shape: [2] }, null],
    // Every second.
    [{ data: Float64Array.of(1.5, 9, -2, 9), shape: [2], strides: [2] }, "float64"],
    [
      {
        data: Uint16Array.of(9, 0xc000, 0x3e00),
        dtype: "F16",
        shape: [2],
        strides: [-1],
        offset: 2,
      },
      "F16",
    ],
  ];

  test("is widened, or narrowed where nothing is lost, and told", () => {
    for (const [entry, from] of sources) {
      const bn = new BatchNorm(2);
      const { converted, ...rest } = bn.loadStateDict(wrong({ ...torch, weight: entry }));
      expect(rest).toEqual({ missing: [], unexpected: [] });
      const told = [{ name: "weight", from, to: "float32", exact: true }];
      expect(converted).toEqual(from === null ? [] : told);
      expect(stateOf(bn)).toEqual(ALL);
    }
  });

  test("that had to be rounded is told: of float64, and of JavaScript's numbers", () => {
    const exact = [1.5, Math.fround(0.1)];
    const cases: [unknown, unknown][] = [
      [
        Float64Array.of(1.5, 0.1),
        { name: "a.weight", from: "float64", to: "float32", exact: false },
      ],
      [[1.5, 0.1], { name: "a.weight", from: "float64", to: "float32", exact: false }],
      [
        { data: [0.1, 1.5], shape: [2], strides: [-1], offset: 1 },
        { name: "a.weight", from: "float64", to: "float32", exact: false },
      ],
      [exact, null],
      [Float32Array.from(exact), null],
    ];
    for (const [entry, told] of cases) {
      const bn = new BatchNorm(2);
      const dict = { "a.weight": entry };
      const { converted } = bn.loadStateDict(wrong(dict), { prefix: "a.", strict: false });
      expect(converted).toEqual(told ? [told] : []);
      expect(values(bn.weight as Tensor)).toEqual(exact);
    }
  });

  test("that would lose values is refused: finite ones as infinite, others as zero", () => {
    for (const value of [1e39, -1e39, 3.5e38, 1e-46, -1e-60, 5e-324]) {
      const word = `weight[1] is ${value}, which float32 has as`;
      const entries = [
        Float64Array.of(1, value),
        [1, value],
        { data: bytes(Float64Array.of(1, value)), dtype: "F64" },
        { data: [1, 0, value], shape: [2], strides: [2] },
      ];
      for (const entry of entries) {
        for (const allowNonFinite of [true, false]) {
          expectRefused("dtype", [word], { ...torch, weight: entry }, { allowNonFinite });
        }
      }
    }
    // The largest and the smallest that there are, which are only rounded.
    const least = Float64Array.of(3.4028235e38, 1.4e-45);
    const bn = loaded(new BatchNorm(2), { ...torch, weight: least });
    expect(values(bn.weight as Tensor)).toEqual([...Float32Array.from(least)]);
    const zeros = loaded(new BatchNorm(2), { ...torch, weight: Float64Array.of(0, -0) });
    expect(values(zeros.weight as Tensor)).toEqual([0, -0]);
  });

  test("NaN and infinite values are no loss, and taken where they are asked for", () => {
    const data = Uint16Array.of(0x7e00, 0xfc00);
    const dict = { ...torch, weight: { data, dtype: "F16" as const } };
    expectRefused("state-dict", ["weight[0] is NaN", "allowNonFinite"], dict);
    const bn = loaded(new BatchNorm(2), dict, { allowNonFinite: true });
    expect(values(bn.weight as Tensor)).toEqual([Number.NaN, Number.NEGATIVE_INFINITY]);
  });

  test("that is wrong or missing is refused", () => {
    const data = new Uint8Array(8);
    const refused = (words: readonly string[], entry: object) =>
      expectRefused("dtype", ["weight", ...words], { ...torch, weight: entry });
    refused(["dtype", '"F8"', '"bfloat16"'], { data, dtype: "F8", shape: [2] });
    refused(["dtype must be one of"], { data, dtype: 16 });
    refused(["new Float32Array(buffer, byteOffset, length)"], { data, shape: [2] });
    refused(["new Float32Array(buffer, byteOffset, length)"], { data, dtype: null, shape: [2] });
    refused(["BigInt64Array", "Float32Array.from(data, Number)"], {
      data,
      dtype: "I64",
      shape: [1],
    });
    refused(["3 bytes are no whole number of F16"], { data: data.subarray(5), dtype: "F16" });
    refused(["Int32Array"], { data: new Int32Array(2), dtype: "F32", shape: [2] });
    refused(["data[1]", "JSON has no NaN"], [1, null]);
    const gone = new Uint8Array(8);
    structuredClone(gone.buffer, { transfer: [gone.buffer] });
    refused(["detached"], { data: gone, dtype: "F32" });
    refused(["detached"], { data: gone.buffer, dtype: "F32" });
    const words = ["weight", "expected the shape [2]", "of 4 values"];
    expectRefused("state-dict", words, { ...torch, weight: { data, dtype: "F16", shape: [2] } });
  });

  test("of the count may be bytes of whole numbers", () => {
    const count = (data: ArrayBufferView, dtype: string) => ({
      data: bytes(data),
      dtype,
      shape: [],
    });
    for (const entry of [
      count(BigInt64Array.of(7n), "I64"),
      count(Float32Array.of(7), "F32"),
      count(Float64Array.of(7), "float64"),
      count(Uint16Array.of(0x4700), "F16"),
    ]) {
      const bn = new BatchNorm(2);
      expect(bn.loadStateDict(wrong({ ...torch, num_batches_tracked: entry }))).toEqual(nothing);
      expect(bn.numBatchesTracked).toBe(7);
    }
    for (const [entry, words] of [
      [count(BigInt64Array.of(-7n), "I64"), ["num_batches_tracked", "-7"]],
      [count(Float32Array.of(7.5), "F32"), ["num_batches_tracked", "7.5"]],
      [count(BigInt64Array.of(7n, 7n), "I64"), ["num_batches_tracked"]],
    ] as const) {
      expectRefused("state-dict", words, { ...torch, num_batches_tracked: entry });
    }
  });
});

describe("JSON", () => {
  test("of a state dict is read to the bit, of every layer", () => {
    const layers: [Layer, () => Layer][] = [
      [new BatchNorm(3), () => new BatchNorm(null)],
      [new BatchNormalization({ renorm: true }), () => new BatchNormalization({ renorm: true })],
      [new GroupNorm(1, 3), () => new GroupNorm(1, 3)],
      [new LayerNorm([3, 1]), () => new LayerNorm([3, 1])],
      [new RMSNorm(3), () => new RMSNorm(3)],
      [new BatchNorm(0), () => new BatchNorm(0)],
    ];
    for (const [layer, make] of layers) {
      if (layer instanceof BatchNormalization) layer.forward(Tensor.zeros([1, 3]));
      layer.weight?.set([0.1, 1 / 3, 1e-40].slice(0, layer.weight.size));
      const json = JSON.stringify(layer.stateDict());
      const copy = make();
      expect(copy.loadStateDict(JSON.parse(json))).toEqual(nothing);
      expect(copy.stateDict()).toEqual(layer.stateDict());
    }
  });

  test("of { data, shape }, as averageStateDicts gives it, is read, too", () => {
    const entry = { data: Float32Array.from(WEIGHT), shape: [1, 2, 1, 1] };
    const dict = JSON.parse(JSON.stringify({ ...torch, weight: entry }));
    expectRead(dict);
  });

  test("of something else is refused", () => {
    for (const entry of [{ 0: 1, 2: 2 }, { 1: 1, 2: 2 }, { a: 1 }, { 0: 1, 1: 2, length: 2 }]) {
      expectRefused("dtype", ["weight", "got Object"], { ...torch, weight: entry });
    }
    expectRefused("state-dict", ["expected the shape [2], got [0]"], { ...torch, weight: {} });
    expectRefused("dtype", ["data[1]"], { ...torch, weight: { 0: 1, 1: "2" } });
  });
});

describe("what lies in a dict and is not asked for", () => {
  test("is not read: entries behind other prefixes, and other collections", () => {
    const unread = (name: string) => ({
      enumerable: true,
      get: () => {
        throw new Error(`${name} was read`);
      },
    });
    const collections = { bn: { ...torch }, other: {} };
    Object.defineProperties(collections, {
      lazy: unread("lazy"),
      "bn2.weight": unread("bn2.weight"),
    });
    expectRead(collections, { prefix: "bn." });
    const entries = Object.defineProperty({ ...torch }, "extra", unread("extra"));
    expect(new BatchNorm(2).loadStateDict(entries, { strict: false }).unexpected).toEqual([
      "extra",
    ]);
  });

  test("may be in itself", () => {
    const dict: Record<string, unknown> = { bn: torch };
    dict.bn2 = dict;
    expectRead(dict as StateDictSource, { prefix: "bn." });
    expectRead(dict as StateDictSource, { prefix: "bn2.bn2.bn." });
    dict.params = dict;
    expectRefused("state-dict", ["bn.weight, params.bn.weight may each be weight"], dict, {
      prefix: "bn.",
    });
    expectRefused("state-dict", ["missing"], dict, { prefix: `${"bn2.".repeat(20_000)}bn.x.` });
  });
});
