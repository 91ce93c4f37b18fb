import {
  BatchNorm,
  BatchNormalization,
  BatchNormError,
  type BatchNormErrorCode,
  createKernel,
  type LoadOptions,
  memoryUsage,
  type Parameter,
  type PresetName,
  presets,
  type StateDict,
  Tensor,
} from "batchnorm-wasm";
import { describe, expect, test } from "vitest";
import { counting, kernelBytes, loaded, replaced, values, wrong } from "./call-helpers.js";

const names: Record<PresetName, string[]> = {
  torch: ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"],
  keras: ["gamma", "beta", "moving_mean", "moving_variance"],
  onnx: ["scale", "B", "input_mean", "input_var"],
  flax: ["scale", "bias", "mean", "var"],
};
const presetNames = Object.keys(presets) as PresetName[];

/** A layer that has been trained for two steps. */
function trained(preset: PresetName = "torch"): BatchNorm {
  const bn = new BatchNorm(2, { preset }).train();
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
    test(`makes an equal layer of ${preset}'s dict, and has nothing to tell`, () => {
      const bn = trained(preset);
      const copy = new BatchNorm(2, { preset });
      const nothing = { missing: [], unexpected: [], converted: [] };
      expect(copy.loadStateDict(bn.stateDict())).toEqual(nothing);
      expect(copy.stateDict()).toEqual(bn.stateDict());
      if (preset === "torch") expect(copy.numBatchesTracked).toBe(2);
      const x = { data: [1, 2, 3, 4], shape: [2, 2] };
      expect(copy.eval().forward(x)).toEqual(bn.eval().forward(x));
      expect(copy.train().forward(x)).toEqual(bn.train().forward(x));
      expect(copy.stateDict()).toEqual(bn.stateDict());
    });

    test(`survives JSON, as it is or with Array.from, bit for bit, in ${preset}`, () => {
      const bn = trained(preset);
      const [weight] = Object.values(presets[preset].names);
      // All that float32 has: subnormal, the largest, with all digits.
      const dict = {
        ...bn.stateDict(),
        [weight as string]: Float32Array.of(1.4e-45, 3.4028235e38),
      };
      bn.loadStateDict(dict);
      const arrays = (_: string, value: unknown) =>
        value instanceof Float32Array ? Array.from(value) : value;
      for (const replace of [undefined, arrays]) {
        const json = JSON.stringify(bn.stateDict(), replace);
        const copy = new BatchNorm(null, { preset });
        const nothing = { missing: [], unexpected: [], converted: [] };
        expect(copy.loadStateDict(JSON.parse(json))).toEqual(nothing);
        expect(copy.stateDict()).toEqual(dict);
      }
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
    const column = Tensor.from([1, 2, 3, 4], [2, 2]).slice(1, 1, 2);
    expect(column.contiguous).toBe(false);
    expect([...(loaded(new BatchNorm(2), { ...own, bias: column }).bias as Tensor).data]).toEqual([
      2, 4,
    ]);
    const square = Tensor.from([1, 2, 3, 4], [2, 2]);
    expectRefused("state-dict", ["bias", "expected the shape [2]", "[2, 2]"], {
      ...own,
      bias: square,
    });
    const bias = { data: [1, 2, 3, 4], shape: [2], strides: [2], offset: 1 };
    const bn = loaded(new BatchNorm(2), { ...own, bias });
    expect([...(bn.bias as Tensor).data]).toEqual([2, 4]);
  });

  test("takes the batch count from every kind of source", () => {
    const own = trained().stateDict();
    const sources = [7, 7n, [7], BigInt64Array.of(7n), Float32Array.of(7), Tensor.from([7])];
    for (const count of [...sources, { data: [7], shape: [1] }]) {
      const bn = loaded(new BatchNorm(2), { ...own, num_batches_tracked: count });
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
    const network: StateDict = {
      ...one.stateDict({ prefix: "net.bn1." }),
      ...two.stateDict({ prefix: "net.bn10." }),
      "net.fc.weight": [1, 2, 3],
    };
    expect(Object.keys(network)).toContain("net.bn1.running_mean");
    const copy = loaded(new BatchNorm(2), network, { prefix: "net.bn1." });
    expect(copy.stateDict()).toEqual(one.stateDict());
    copy.loadStateDict(network, { prefix: "net.bn10." });
    expect(copy.stateDict()).toEqual(two.stateDict());
    delete network["net.bn10.bias"];
    expect(() => copy.loadStateDict(network, { prefix: "net.bn10." })).toThrow(
      "missing: net.bn10.bias",
    );
    const own = { ...two.stateDict({ prefix: "net." }), "net.fc.weight": [1, 2, 3] };
    expect(() => copy.loadStateDict(own, { prefix: "net." })).toThrow("net.fc.weight");
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
      { weight: [9, 9], bias: [9, 9], running_mean: [9, 9] },
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
      const bn = loaded(new BatchNorm(null), ordered);
      expect(bn.numFeatures).toBe(2);
      expect(bn.stateDict()).toEqual(dict);
    }
    const plain = { ...dict, weight: { data: [1, 2], shape: [2] } };
    expect(loaded(new BatchNorm(null), plain).numFeatures).toBe(2);
    const behind = trained().stateDict({ prefix: "bn." });
    expect(loaded(new BatchNorm(null), behind, { prefix: "bn." }).numFeatures).toBe(2);
    const bare = new BatchNorm(null, { affine: false });
    bare.loadStateDict({ running_mean: [1, 2], running_var: [1, 1], num_batches_tracked: [5] });
    expect(bare.numFeatures).toBe(2);
  });

  test("accepts what another preset's layer holds once the names are changed", () => {
    const { gamma, beta, moving_mean, moving_variance } = trained("keras").stateDict();
    const onnx = loaded(new BatchNorm(2, { preset: "onnx", eps: presets.keras.eps }), {
      scale: gamma as Float32Array,
      B: beta as Float32Array,
      input_mean: moving_mean as Float32Array,
      input_var: moving_variance as Float32Array,
    });
    const x = { data: [1, 2, 3, 4], shape: [2, 2] };
    expect(onnx.eval().forward(x)).toEqual(trained("keras").eval().forward(x));
  });
});

/** Expects the dict to be refused with the words, and the layer and memory to stay as they were. */
function expectRefused(
  code: BatchNormErrorCode,
  words: readonly string[],
  dict: unknown,
  options?: LoadOptions,
  bn: BatchNorm = trained(),
): string {
  const state = () => ({
    dict: bn.numFeatures === null ? null : bn.stateDict(),
    liveBytes: memoryUsage().liveBytes,
  });
  const before = state();
  let error: unknown;
  try {
    bn.loadStateDict(wrong(dict), options);
  } catch (thrown) {
    error = thrown;
  }
  expect(error).toBeInstanceOf(BatchNormError);
  const { message, code: got } = error as BatchNormError;
  expect(got, message).toBe(code);
  for (const word of words) expect(message).toContain(word);
  expect(message.length).toBeLessThan(1000);
  expect(state()).toEqual(before);
  return message;
}

/** A dict of [9, 9] and a count of 9, with a change. */
function nines(change: Record<string, unknown> = {}): Record<string, unknown> {
  const vector = [9, 9];
  const vectors = { weight: vector, bias: vector, running_mean: vector, running_var: vector };
  return { ...vectors, num_batches_tracked: 9, ...change };
}

function transferred<T extends ArrayBufferView>(view: T): T {
  structuredClone(view.buffer, { transfer: [view.buffer as ArrayBuffer] });
  return view;
}

describe("what is no float32 vector", () => {
  const bytes = new Uint8Array(Float32Array.of(1, 2).buffer);

  test("bytes are refused, with how to view them: nobody knows of what they are", () => {
    const sources = [bytes, Buffer.from(bytes), new DataView(bytes.buffer), bytes.buffer];
    for (const source of [...sources, Uint8Array.of(1, 2), new SharedArrayBuffer(8)]) {
      const words = ["weight", "new Float32Array(buffer, byteOffset, length)"];
      expectRefused("dtype", words, nines({ weight: source }));
      expectRefused("dtype", words, nines({ weight: { data: source, shape: [2] } }));
    }
    const keras = { gamma: bytes, beta: bytes, moving_mean: bytes, moving_variance: bytes };
    const learning = new BatchNormalization();
    expectRefused("dtype", ["gamma", "Uint8Array"], keras, {}, learning);
    expect(learning.numFeatures).toBeNull();
  });

  test("a count in bytes is refused, with how to view them", () => {
    const count = new Uint8Array(BigInt64Array.of(7n).buffer);
    for (const source of [count, new DataView(count.buffer), count.buffer, Uint8Array.of(7)]) {
      const words = ["num_batches_tracked", "new BigInt64Array(buffer, byteOffset, length)"];
      expectRefused("dtype", words, nines({ num_batches_tracked: source }));
    }
  });

  test("the remedy is one that gives the right numbers", () => {
    const remedy = (weight: unknown) => expectRefused("dtype", ["weight"], nines({ weight }));
    expect(remedy(Int32Array.of(1, 2))).toContain("Float32Array.from(data)");
    expect(remedy(BigInt64Array.of(1n, 2n))).toContain("Float32Array.from(data, Number)");
    expect(remedy(BigUint64Array.of(1n, 2n))).toContain("Float32Array.from(data, Number)");
    expect(remedy(Uint16Array.of(0x3c00, 0x4000))).toContain("float16");
    for (const weight of [Uint16Array.of(1, 2), new DataView(bytes.buffer), new Set([1, 2])]) {
      expect(remedy(weight)).not.toContain("from(");
    }
    expect(remedy([[1], [2]])).toContain(".flat()");
    const row = ["expected the shape [2], got [1]", ".flat()"];
    expectRefused("state-dict", row, nines({ weight: [[1, 2]] }));
  });

  test("data that say that they lie otherwise than end to end are walked so, or refused", () => {
    const data = [1, 0, 2, 0];
    for (const layout of [{ stride: [2] }, { strides: [2] }, { offset: 2, stride: [-2] }]) {
      const entry = { data, shape: [2], ...layout };
      const bn = loaded(trained(), wrong(nines({ bias: entry })));
      expect([...(bn.bias as Tensor).data]).toEqual(layout.offset ? [2, 1] : [1, 2]);
      const short = { ...entry, data: data.slice(0, 2) };
      expectRefused("invalid-shape", ["bias", "leave the data"], nines({ bias: short }));
    }
    const npy = { data: Float32Array.of(3, 4), shape: [2], fortranOrder: false };
    const bn = loaded(trained(), wrong(nines({ bias: npy })));
    expect([...(bn.bias as Tensor).data]).toEqual([3, 4]);
  });

  test("a shape that is no array is refused", () => {
    for (const shape of [undefined, null, 2, "2", { length: 1, 0: 2 }]) {
      expectRefused("invalid-shape", ["bias"], nines({ bias: { data: [1, 2], shape } }));
    }
  });

  test("a view of what is gone is refused: transferred, shrunk or outgrown", () => {
    const shrunk = () => {
      // lib.es2024, but in every engine since 2023.
      const Resizable = ArrayBuffer as unknown as new (
        size: number,
        options: { maxByteLength: number },
      ) => ArrayBuffer & { resize(size: number): void };
      const buffer = new Resizable(16, { maxByteLength: 16 });
      const view = new Float32Array(buffer, 8, 2);
      buffer.resize(8);
      return view;
    };
    for (const gone of [transferred(Float32Array.of(1, 2)), shrunk()]) {
      expectRefused("dtype", ["running_mean", "detached"], nines({ running_mean: gone }));
      const count = { num_batches_tracked: gone };
      expectRefused("dtype", ["num_batches_tracked", "detached"], nines(count));
      const keras = { gamma: gone, beta: gone, moving_mean: gone, moving_variance: gone };
      expectRefused("dtype", ["gamma", "detached"], keras, {}, new BatchNormalization());
    }
    const counts = transferred(BigInt64Array.of(7n));
    expectRefused("dtype", ["detached"], nines({ num_batches_tracked: counts }));
    const empty = { weight: new Float32Array(0), bias: [], running_mean: [], running_var: [] };
    const bn = loaded(new BatchNorm(0), { ...empty, num_batches_tracked: 1 });
    expect(bn.numBatchesTracked).toBe(1);
  });

  test("a count of a hundred million values is refused without a look at them", () => {
    const counts = new Float32Array(1.2e8);
    expectRefused("state-dict", ["whole number"], nines({ num_batches_tracked: counts }));
    expectRefused("state-dict", ["got [4294967295]"], nines({ bias: new Array(2 ** 32 - 1) }));
    const learning = new BatchNorm(null);
    const sparse = nines({ weight: new Array(2 ** 30) });
    expectRefused("dtype", ["weight: data[0]", "undefined"], sparse, {}, learning);
    const huge = nines({ weight: new Array(2 ** 32 - 1) });
    expectRefused("shape-overflow", ["weight"], huge, {}, learning);
  });

  test("a negative variance is refused by its index, also where values needn't be finite", () => {
    for (const allowNonFinite of [false, true]) {
      const refused = (value: number, word: string) => {
        const words = [`running_var[1] is ${word}`, "negative"];
        expectRefused("state-dict", words, nines({ running_var: [1, value] }), { allowNonFinite });
      };
      refused(-9, "-9");
      refused(-9e-6, "-0.000009");
    }
    const infinite = nines({ running_var: [1, Number.NEGATIVE_INFINITY] });
    expectRefused("state-dict", ["running_var[1]"], infinite, { allowNonFinite: true });
    const bn = loaded(trained(), wrong(nines({ running_mean: [-1, -2], running_var: [0, -0] })));
    expect([...(bn.runningVar as Tensor).data]).toEqual([0, -0]);
    const keras = { gamma: [1], beta: [-1], moving_mean: [-1], moving_variance: [-1] };
    const learning = new BatchNormalization();
    expectRefused("state-dict", ["moving_variance[0]", "negative"], keras, {}, learning);
  });
});

describe("a dict whose names don't fit", () => {
  test("is refused with the prefix that would fit", () => {
    const behind = (...prefixes: string[]) =>
      Object.assign({ other: [1] }, ...prefixes.map((prefix) => trained().stateDict({ prefix })));
    const fits =
      'expected weight, bias, running_mean, running_var; the entries fit with prefix "layer1.bn."';
    expectRefused("state-dict", [fits], behind("layer1.bn."));
    const dotless = { prefix: "layer1.bn" };
    expectRefused("state-dict", ['fit with prefix "layer1.bn."'], behind("layer1.bn."), dotless);
    const unprefixed = { prefix: "bn." };
    expectRefused("state-dict", ['fit with prefix ""'], behind(""), unprefixed);
    expectRefused("state-dict", ['fit with prefix "a.", "b."'], behind("a.", "b."));
    const many = behind(...Array.from({ length: 100 }, (_, i) => `bn${i}.`));
    expectRefused("state-dict", ['"bn7." and 92 more'], many);
    const torn = behind("a.");
    delete torn["a.bias"];
    expect(expectRefused("state-dict", ["missing"], torn)).not.toContain("fit");
  });

  test("is refused with the names that a layer expects that would learn its count", () => {
    const words = ["expected weight", "missing: weight", "running_var", "not expected: g, b"];
    const other = { g: [1], b: [0], moving_mean: [0], moving_variance: [1] };
    expectRefused("state-dict", words, other, {}, new BatchNorm(null));
    const keras = { gamma: [1], beta: [0], moving_mean: [0], moving_variance: [1] };
    expectRefused("state-dict", ["missing: gamma"], {}, {}, new BatchNormalization());
    const bare = new BatchNorm(null, { affine: false, trackRunningStats: false });
    // Of its own dict, which is empty, there is nothing to load.
    expect(loaded(bare, bare.stateDict()).numFeatures).toBe(null);
    expectRefused("state-dict", ["expected no entries", "gamma"], keras, {}, bare);
  });

  test("is refused in few words, however many and long its names are", () => {
    const names = Array.from({ length: 1e5 }, (_, i) => `layer${i}.${"x".repeat(100)}.end${i}`);
    const dict = Object.fromEntries(names.map((name) => [name, [1]]));
    const rest = ["layer0.xxx", "xxx.end0", "and 99992 more"];
    expectRefused("state-dict", rest, { ...nines(), ...dict });
    const prefix = "p".repeat(1e6);
    expectRefused("state-dict", ["p.weight", "p.bias"], nines(), { prefix: `${prefix}.` });
  });

  test("that is no object of entries is refused, and a Map whose keys are no names", () => {
    const numbered = new Map<unknown, unknown>([...Object.entries(nines()), [{}, [1, 2]], [7, 7]]);
    expectRefused("state-dict", ["not expected: Object, 7"], numbered);
    for (const dict of [new Float32Array(1e7), () => nines(), "weight"]) {
      expectRefused("state-dict", ["expected an object of entries"], dict);
    }
    class Listless extends Map {
      override forEach(): void {
        throw new Error("forEach");
      }
    }
    for (const Kind of [Map, Listless]) {
      const map = new Kind(Object.entries(nines()));
      expect(loaded(trained(), wrong(map)).numBatchesTracked).toBe(9);
    }
  });

  test("hostile names are names like others", () => {
    const hostile = JSON.parse('{ "__proto__": [1, 2], "constructor": [1, 2] }');
    const extra = Object.assign(Object.create(null), nines());
    for (const name of Object.keys(hostile)) {
      Object.defineProperty(extra, name, { value: [1, 2], enumerable: true });
    }
    expectRefused("state-dict", ["not expected: __proto__, constructor"], extra);
    expectRefused("state-dict", ["missing: weight"], Object.create(nines()));
    for (const prefix of ["__proto__", "__proto__.", "constructor.", "toString"]) {
      const bn = trained();
      const dict = bn.stateDict({ prefix });
      expect(Object.keys(dict)).toEqual(names.torch.map((name) => prefix + name));
      expect(loaded(new BatchNorm(2), dict, { prefix }).stateDict()).toEqual(bn.stateDict());
    }
  });

  test("names are own: what is on Object.prototype is neither read nor written", () => {
    let written = 0;
    const setter = { configurable: true, set: () => (written += 1), get: () => [1, 2] };
    Object.defineProperty(Object.prototype, "weight", setter);
    try {
      const dict = trained().stateDict();
      expect(Object.keys(dict)).toEqual(names.torch);
      expect(written).toBe(0);
      delete dict.weight;
      expectRefused("state-dict", ["missing: weight"], dict);
    } finally {
      delete (Object.prototype as { weight?: unknown }).weight;
    }
  });
});

describe("options of loadStateDict and stateDict", () => {
  test("are checked: a prefix is a string, allowNonFinite a boolean", () => {
    const own = trained().stateDict();
    for (const prefix of [5, false, {}, ["bn."], Symbol("bn.")]) {
      expectRefused("invalid-option", ["prefix must be a string"], own, { prefix: wrong(prefix) });
      expect(() => trained().stateDict({ prefix: wrong(prefix) })).toThrow(
        expect.objectContaining({ code: "invalid-option" }),
      );
    }
    for (const allowNonFinite of [1, 0, "yes", {}]) {
      const options = { allowNonFinite: wrong(allowNonFinite) };
      expectRefused("invalid-option", ["allowNonFinite"], own, options);
    }
    const absent = { prefix: wrong(null), allowNonFinite: wrong(null) };
    expect(loaded(trained(), own, absent).stateDict()).toEqual(own);
    expect(trained().stateDict({ prefix: wrong(null) })).toEqual(own);
  });

  test("are read once: a second answer of a getter counts for nothing", () => {
    const prefixes = ["bn.", "other."];
    const options = {
      get prefix() {
        return prefixes.shift();
      },
    };
    const dict = { ...new BatchNorm(2).stateDict({ prefix: "bn." }), other: [1] };
    expect([...(loaded(trained(), dict, options).weight as Tensor).data]).toEqual([1, 1]);
    expect(prefixes).toEqual(["other."]);
  });
});

describe("code of the caller's that runs while a dict is read", () => {
  /** A dict one of whose entries is a getter. */
  function getting(name: string, get: () => unknown): Record<string, unknown> {
    return Object.defineProperty(nines(), name, { get, enumerable: true });
  }

  test("no iterator or method of an array's own runs", () => {
    class Endless extends Array<number> {
      override *[Symbol.iterator](): ArrayIterator<number> {
        for (let i = 0; i < 1000; i++) yield i;
      }
      override findIndex(): number {
        throw new Error("findIndex");
      }
    }
    class View extends Float32Array {
      override *[Symbol.iterator](): ArrayIterator<number> {
        yield 5;
      }
    }
    const dict = nines({
      weight: Endless.of(1, 2),
      bias: View.of(3, 4),
      running_var: { data: Endless.of(5, 6), shape: [2] },
      num_batches_tracked: Endless.of(7),
    });
    const bn = loaded(trained(), wrong(dict));
    const own = bn.stateDict();
    expect([...(own.weight as Float32Array)]).toEqual([1, 2]);
    expect([...(own.bias as Float32Array)]).toEqual([3, 4]);
    expect([...(own.running_var as Float32Array)]).toEqual([5, 6]);
    expect(own.num_batches_tracked).toBe(7);
  });

  test("each entry, its data and its values are read once", () => {
    const reads: Record<string, number> = {};
    const counted = (name: string, object: object): never =>
      new Proxy(object, {
        get(target, key) {
          const place = `${name}.${String(key)}`;
          reads[place] = (reads[place] ?? 0) + 1;
          return Reflect.get(target, key);
        },
      }) as never;
    const shape = counted("shape", [2]);
    const dict = nines({
      weight: counted("weight", { data: counted("data", [1, 2]), shape }),
      bias: counted("bias", [3, 4]),
      num_batches_tracked: counted("count", [5]),
    });
    const bn = loaded(trained(), counted("dict", dict));
    expect(bn.numBatchesTracked).toBe(5);
    expect(reads).toMatchObject({ "dict.weight": 1, "weight.data": 1, "bias.1": 1, "count.0": 1 });
    const twice = Object.entries(reads).filter(([, times]) => times > 1);
    expect(twice).toEqual([]);
  });

  test("a length that lies is not believed", () => {
    for (const [values, length] of [
      [[1, 2, 3], 2],
      [[1], 2],
      [[1], 2 ** 40],
    ] as const) {
      const lying = Object.defineProperty(Float32Array.from(values), "length", { value: length });
      expectRefused("state-dict", ["bias", `[${values.length}]`], nines({ bias: lying }));
    }
  });

  for (const victim of ["weight", "bias", "runningMean", "runningVar"] as const) {
    test(`a getter that disposes ${victim} leads to an error, and its memory is not written`, () => {
      const kernel = createKernel(kernelBytes);
      // Before the first tensor is a gap, which its memory would join.
      counting([16], 1, kernel);
      const nine = new Float32Array(16).fill(9);
      for (const name of names.torch) {
        const bn = new BatchNorm(16, { kernel });
        const kept = [bn.weight, bn.bias, bn.runningMean, bn.runningVar] as Tensor[];
        let successor: Tensor | undefined;
        const dict = Object.fromEntries(names.torch.map((name) => [name, nine as unknown]));
        dict.num_batches_tracked = 9;
        const get = () => {
          successor = replaced(bn[victim] as Tensor);
          return name === "num_batches_tracked" ? 9 : nine;
        };
        Object.defineProperty(dict, name, { get, enumerable: true });
        const before = kept.map((one) => one.toFloat32Array());
        expect(() => bn.loadStateDict(wrong(dict))).toThrow(
          expect.objectContaining({ code: "disposed" }),
        );
        expect(values(successor as Tensor)).toEqual(values(counting([16], 100)));
        kept.forEach((one, i) => {
          if (!one.disposed) expect(one.toFloat32Array()).toEqual(before[i]);
        });
        expect(kept.filter(({ disposed }) => disposed)).toHaveLength(1);
        expect(bn.numBatchesTracked).toBe(0);
      }
    });
  }

  test("a getter that disposes the layer leads to an error, and nothing is allocated again", () => {
    for (const bn of [trained(), new BatchNorm(null)]) {
      const dict = getting("running_var", () => {
        bn.dispose();
        return [9, 9];
      });
      const before = memoryUsage().liveStorages;
      expect(() => bn.loadStateDict(wrong(dict))).toThrow(
        expect.objectContaining({ code: "state-dict" }),
      );
      expect(bn.numFeatures).toBeNull();
      expect(memoryUsage().liveStorages).toBeLessThanOrEqual(before);
    }
  });

  test("a getter that has the layer learn another feature count leads to an error", () => {
    const bn = new BatchNorm(null);
    const dict = getting("running_var", () => {
      bn.forward({ data: [1, 2, 3, 4, 5, 6], shape: [2, 3] });
      return [9, 9];
    });
    expect(() => bn.loadStateDict(wrong(dict))).toThrow(
      expect.objectContaining({ code: "state-dict" }),
    );
    expect([...(bn.weight as Tensor).data]).toEqual([1, 1, 1]);
  });

  test("an error of a getter is passed through, and nothing is written", () => {
    const bn = trained();
    const before = bn.stateDict();
    const own = new Error("the caller's own");
    const dict = getting("num_batches_tracked", () => {
      throw own;
    });
    expect(() => bn.loadStateDict(wrong(dict))).toThrow(own);
    expect(bn.stateDict()).toEqual(before);
  });
});

describe("zeroGrad", () => {
  test("never writes beside a gradient: a strided one is refused, and the other stays", () => {
    const bn = trained();
    bn.backward({ data: [1, 2, 3, 4], shape: [2, 2] });
    const whole = Tensor.from([1, 2, 3, 4, 5, 6]);
    const strided = whole.reshape([3, 2]).slice(1, 0, 1);
    const gradient = (bn.weight as Parameter).grad as Tensor;
    const before = gradient.toFloat32Array();
    expect(() => {
      (bn.bias as Parameter).grad = strided;
      bn.zeroGrad();
    }).toThrow(BatchNormError);
    expect([...whole.data]).toEqual([1, 2, 3, 4, 5, 6]);
    expect(gradient.toFloat32Array()).toEqual(before);
  });
});
