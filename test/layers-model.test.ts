/** Layers models of TensorFlow.js: files that it and its converter wrote, and files that lie. */
import { runInNewContext } from "node:vm";
import { fromLayersModel, type WeightDict, type WeightSpec } from "batchnorm-wasm/weights";
import { describe, expect, test } from "vitest";
import { fixture, numbers, refusal, told } from "./weight-files.js";

type Told = Record<string, { dtype: string; shape: number[]; values: (number | string)[] }>;

function wrong<T>(value: unknown): T {
  return value as T;
}

function expectTold(dict: WeightDict, expected: Told): void {
  expect(Object.keys(dict).sort()).toEqual(Object.keys(expected).sort());
  for (const [name, { shape, values }] of Object.entries(expected)) {
    expect(dict[name]?.shape, name).toEqual(shape);
    expect(dict[name]?.data, name).toEqual(Float32Array.from(numbers(values)));
  }
}

describe("a model that TensorFlow.js saved", () => {
  const { weights } = told("tfjs.json");
  const model = told("tfjs/model.json");
  const file = fixture("tfjs/model.weights.bin");

  test("has each weight, however the manifest and the file are handed over", () => {
    const text = JSON.stringify(model);
    for (const given of [model, text, model.weightsManifest]) {
      for (const files of [
        ...[file, file.buffer, new DataView(file.buffer), [file], [file.buffer]],
        { "model.weights.bin": file },
        { "./model.weights.bin": file, other: new Uint8Array(3) },
        new Map([["model.weights.bin", file]]),
        runInNewContext("new Map([['model.weights.bin', file]])", { file }),
      ]) {
        expectTold(fromLayersModel(given, files), weights);
      }
    }
  });

  test("gives what is behind the prefix, without it", () => {
    const prefix = "layer_normalization_LayerNormalization1/";
    const dict = fromLayersModel(model, file, { prefix });
    expect(Object.keys(dict).sort()).toEqual(["beta", "gamma"]);
    const { code, message } = refusal(() => fromLayersModel(model, file, { prefix: "ln/" }));
    expect(code).toBe("state-dict");
    expect(message).toContain('no name begins with "ln/"; there are: batch_normalization_Batch');
  });
});

describe("what TensorFlow.js's converter wrote", () => {
  const { decoded } = told("tfjs.json") as { decoded: Told };
  const manifest = told("tfjs_converter/weights_manifest.json");
  const paths: string[] = manifest.flatMap(({ paths }: { paths: string[] }) => paths);
  const files = paths.map((path) => fixture(`tfjs_converter/${path}`));
  const behind = (prefix: string) =>
    Object.fromEntries(
      Object.entries(decoded)
        .filter(([name]) => name.startsWith(prefix))
        .map(([name, one]) => [name.slice(prefix.length), one]),
    );

  test("is quantized in each way, and cut within values", () => {
    expect(paths.length).toBe(6);
    const packed = manifest.flatMap(({ weights }: { weights: WeightSpec[] }) =>
      weights.map(({ quantization }) => quantization?.dtype),
    );
    expect(new Set(packed)).toEqual(new Set([undefined, "uint8", "uint16", "float16"]));
  });

  test.each(["plain/", "bytes/", "words/", "halves/", "constant/", "dense/"])(
    "%s is to the bit what TensorFlow.js decodes",
    (prefix) => {
      expectTold(fromLayersModel(manifest, files, { prefix }), behind(prefix));
      const byPath = new Map(paths.map((path, i) => [path, files[i] as Uint8Array]));
      expectTold(fromLayersModel(manifest, byPath, { prefix }), behind(prefix));
    },
  );

  test("int32 and bool are refused by name and type, only behind the prefix, and left out if told", () => {
    const all = fromLayersModel(manifest, files, { strict: false });
    const { "step/count": count, "step/mask": mask, ...rest } = decoded;
    expect([count?.dtype, mask?.dtype]).toEqual(["int32", "bool"]);
    expectTold(all, rest);
    const { code, message } = refusal(() => fromLayersModel(manifest, files));
    expect([code, message]).toEqual([
      "dtype",
      "fromLayersModel: step/count is int32, which no norm has; a prefix or strict: false would leave it out",
    ]);
    expect(refusal(() => fromLayersModel(manifest, files, { prefix: "step/mask" })).code).toBe(
      "dtype",
    );
  });
});

describe("a model that lies is refused, and the message says where and why:", () => {
  const one: WeightSpec = { name: "a", shape: [2], dtype: "float32" };
  const model = (weights: unknown, paths: unknown = ["f"]) => ({
    weightsManifest: [{ paths, weights }],
  });
  const packed = (quantization: unknown, more = {}) => model([{ ...one, ...more, quantization }]);
  const eight = new Uint8Array(8);
  /** A Proxy of an array that says it had another length, all of whose elements are one. */
  const saying = (length: unknown, one: unknown) =>
    new Proxy([one], {
      get: (array, key) =>
        key === "length" ? length : Reflect.get(array, /^\d/.test(String(key)) ? "0" : key),
    });

  const HOSTILE: Record<string, [model: unknown, files: unknown, words: string][]> = {
    text: [
      ["", eight, "model.json is no JSON"],
      ["{", eight, "model.json is no JSON"],
      ["[".repeat(1e6), eight, "model.json is no JSON"],
      ["null", eight, "weightsManifest must be an array, got undefined"],
    ],
    groups: [
      ...[{}, null, undefined, 5, () => [], { weightsManifest: null }, { weightsManifest: {} }].map(
        (model): [unknown, unknown, string] => [model, eight, "weightsManifest must be an array"],
      ),
      [[null], eight, "weightsManifest[0].paths must be an array, got undefined"],
      [[{ paths: "f", weights: [] }], eight, "weightsManifest[0].paths must be an array"],
      [[{ paths: [5], weights: [] }], eight, "weightsManifest[0].paths[0] must be a string, got 5"],
      [[{ paths: ["f"], weights: {} }], eight, "weightsManifest[0].weights must be an array"],
      [[{ paths: ["f"] }], eight, "weights must be an array, got undefined"],
      [new Array(2 ** 32 - 1), eight, "weightsManifest must be an array"],
      [[{ paths: new Array(2 ** 32 - 1), weights: [] }], eight, "paths must be an array"],
      [saying(Infinity, { paths: [], weights: [] }), eight, "weightsManifest must be an array"],
      [[{ paths: saying(Symbol(), "f"), weights: [] }], eight, "paths must be an array"],
      [[{ paths: [], weights: saying(2n, one) }], eight, "weights must be an array"],
      [model([{ ...one, shape: saying(Infinity, 1) }]), eight, "a: shape must be an array"],
    ],
    "names and files that come twice": [
      [model([one, one]), new Uint8Array(16), '"a" comes twice'],
      [
        [
          { paths: ["f"], weights: [one] },
          { paths: ["g"], weights: [one] },
        ],
        [eight, eight],
        '"a" comes twice',
      ],
      [model([one], ["f", "f"]), [eight, new Uint8Array(0)], 'paths[1]: "f" comes twice'],
      [model([one], ["f", "./f"]), [eight, new Uint8Array(0)], 'paths[1]: "f" comes twice'],
      [
        [
          { paths: ["f"], weights: [one] },
          { paths: ["f"], weights: [{ ...one, name: "b" }] },
        ],
        { f: eight },
        '"f" comes twice',
      ],
    ],
    files: [
      [model([one]), new Uint8Array(7), "a group's weights take 8 bytes, it has f of 7 bytes"],
      [model([one]), new Uint8Array(9), "it has f of 9 bytes"],
      [model([one]), new Uint8Array(0), "it has f of 0 bytes"],
      [model([], ["f"]), new Uint8Array(1), "a group's weights take 0 bytes, it has f of 1 bytes"],
      [model([one], []), [], "a group's weights take 8 bytes, it has no files of 0 bytes"],
      [model([one], ["f", "g"]), [eight], 'the file "g" is not there'],
      [model([one], ["f", "g"]), { f: eight }, 'the file "g" is not there'],
      [model([one]), {}, 'the file "f" is not there'],
      [model([one]), new Map(), 'the file "f" is not there'],
      [model([one], ["__proto__"]), {}, 'the file "__proto__" is not there'],
      [model([one], ["toString"]), {}, 'the file "toString" is not there'],
      [model([one]), Object.create({ f: eight }), 'the file "f" is not there'],
      [model([one]), [eight, eight], "2 files for the manifest's 1 paths"],
      [model([one]), [null], 'the file "f" is not there'],
      [model([one]), saying(Symbol(), eight), "files must be an array"],
      [model([one]), saying({ toString: () => "1" }, eight), "files must be an array"],
      [model([], []), eight, "1 files for the manifest's 0 paths"],
    ],
    shapes: [
      ...[-1, 0.5, Number.NaN, Infinity, "2", null, 2 ** 53].map(
        (size): [unknown, unknown, string] => [
          model([{ ...one, shape: [size] }]),
          eight,
          "weights[0], a: shape[0] must be a whole number from 0 on",
        ],
      ),
      [model([{ ...one, shape: null }]), eight, "a: shape must be an array"],
      [model([{ ...one, shape: new Array(65).fill(1) }]), eight, "65 axes, 64 at most"],
      [model([{ ...one, shape: [3] }]), eight, "take 12 bytes"],
      [model([{ ...one, shape: [0] }]), eight, "take 0 bytes"],
      [model([{ ...one, shape: [2 ** 52] }]), eight, "take 18014398509481984 bytes"],
      [model([{ ...one, shape: [2 ** 40, 2 ** 40] }]), eight, "take Infinity bytes"],
      [model([{ ...one, shape: [65536, 65536] }]), eight, "take 17179869184 bytes"],
      [
        model([
          { ...one, shape: [2 ** 31] },
          { ...one, name: "b", shape: [2 ** 31] },
        ]),
        eight,
        "take 17179869184 bytes",
      ],
    ],
    weights: [
      [model([null]), eight, "weights[0].name must be a string, got undefined"],
      [model([{ ...one, name: 5 }]), eight, "weights[0].name must be a string, got 5"],
      [model([{ ...one, dtype: undefined }]), eight, "a: dtype must be a string"],
      [model([{ ...one, dtype: ["float32"] }]), eight, "a: dtype must be a string"],
    ],
    quantization: [
      [
        packed({}),
        eight,
        "quantization.dtype must be one of uint8, uint16, float16, got undefined",
      ],
      [packed(true), eight, "quantization.dtype must be one of"],
      [packed({ dtype: "float32" }), eight, 'got "float32"'],
      [packed({ dtype: "int8", scale: 1, min: 0 }), eight, 'got "int8"'],
      [
        packed({ dtype: "uint8" }),
        new Uint8Array(2),
        "quantization.scale must be a finite number, got undefined",
      ],
      [
        packed({ dtype: "uint8", scale: 1 }),
        new Uint8Array(2),
        "quantization.min must be a finite number",
      ],
      [
        packed({ dtype: "uint8", scale: "1", min: 0 }),
        new Uint8Array(2),
        'scale must be a finite number, got "1"',
      ],
      [
        packed({ dtype: "uint16", scale: Infinity, min: 0 }),
        new Uint8Array(4),
        "scale must be a finite number",
      ],
      [
        packed({ dtype: "uint16", scale: 1, min: Number.NaN }),
        new Uint8Array(4),
        "min must be a finite number",
      ],
      [packed({ dtype: "uint16", scale: 1, min: 0 }), new Uint8Array(2), "take 4 bytes"],
      [packed({ dtype: "float16" }), new Uint8Array(8), "take 4 bytes"],
    ],
  };

  for (const [kind, cases] of Object.entries(HOSTILE)) {
    test(`${kind} (${cases.length})`, () => {
      for (const [model, files, words] of cases) {
        const { code, message } = refusal(() => fromLayersModel(wrong(model), wrong(files)));
        expect({ code, message }).toEqual({
          code: "invalid-file",
          message: expect.stringContaining(words),
        });
        expect(message.length).toBeLessThan(250);
      }
    });
  }

  test("types that have no size, and what is no bytes, are of the code dtype", () => {
    const codeOf = (model: unknown, files: unknown, options?: unknown) =>
      refusal(() => fromLayersModel(wrong(model), wrong(files), wrong(options))).code;
    for (const dtype of ["string", "float64", "int64", "toString", ""]) {
      expect(codeOf(model([{ ...one, dtype }]), eight, { prefix: "x" })).toBe("dtype");
    }
    for (const files of [
      null,
      undefined,
      5,
      "f",
      () => eight,
      new Float32Array(2),
      [new Float32Array(2)],
      { f: "a" },
      ["12345678"],
    ]) {
      expect(codeOf(model([one]), files)).toBe("dtype");
    }
    expect(codeOf(model([one]), eight, { prefix: 5 })).toBe("invalid-option");
    expect(codeOf(model([one]), eight, { strict: 0 })).toBe("invalid-option");
    expect(codeOf(model([one]), eight, { pre: "" })).toBe("unknown-option");
  });

  test("a file that goes while the manifest is read is missed, not read", () => {
    const first = new Uint8Array(8);
    const weights = {
      get f() {
        return first;
      },
      get g() {
        structuredClone(first.buffer, { transfer: [first.buffer] });
        return new Uint8Array(0);
      },
    };
    const { code } = refusal(() => fromLayersModel(wrong(model([one], ["f", "g"])), weights));
    expect(code).toBe("dtype");
    // One that is its group's only one, and whose weights have no elements.
    const file = new Uint8Array(8);
    const spec = {
      ...one,
      get shape() {
        structuredClone(file.buffer, { transfer: [file.buffer] });
        return [0];
      },
    };
    expect(refusal(() => fromLayersModel(wrong(model([spec])), { f: file })).code).toBe("dtype");
  });

  test("what is on Object.prototype is nobody's quantization", () => {
    const everything = Object.prototype as { quantization?: unknown };
    everything.quantization = { dtype: "uint8", scale: 1, min: 0 };
    try {
      expect(fromLayersModel(wrong(model([one])), eight).a?.data).toEqual(new Float32Array(2));
    } finally {
      delete everything.quantization;
    }
  });

  test("names that mean something to JavaScript are names like any other, nullish means absent", () => {
    const weights = ["__proto__", "constructor"].map((name) => ({
      ...one,
      name,
      quantization: null,
    }));
    const dict = fromLayersModel(wrong(model(weights)), new Uint8Array(16), null);
    expect(Object.keys(dict)).toEqual(["__proto__", "constructor"]);
    expect(Object.getPrototypeOf(dict)).toBe(Object.prototype);
  });
});
