/** `.safetensors`: files of the reference, files that lie, and files of our own. */
import { runInNewContext } from "node:vm";
import { BatchNorm, BatchNormError as MainError, Tensor } from "batchnorm-wasm";
import {
  BatchNormError,
  fromSafetensors,
  inspectSafetensors,
  toSafetensors,
  type WeightDict,
  type WritableEntry,
} from "batchnorm-wasm/weights";
import { describe, expect, test } from "vitest";
import { decodeUtf8, encodeUtf8 } from "../ts/weights/bytes.js";
import { fileOf, fixture, numbers, partsOf, refusal, told } from "./weight-files.js";

const F32 = { dtype: "F32", shape: [1], data_offsets: [0, 4] };
const DTYPES: Record<string, string> = {
  "torch.float32": "F32",
  "torch.float16": "F16",
  "torch.bfloat16": "BF16",
  "torch.float64": "F64",
  "torch.int64": "I64",
  "torch.int32": "I32",
};

function wrong<T>(value: unknown): T {
  return value as T;
}

describe("a file that PyTorch's safetensors wrote", () => {
  const { networks, float8 } = told("torch.json");

  test.each(Object.keys(networks))(
    "%s has each value, type and shape that PyTorch reads",
    (name) => {
      const file = fixture(`${name}.safetensors`);
      const { metadata, entries } = inspectSafetensors(file);
      expect(metadata).toEqual({ format: "pt" });
      const { state } = networks[name];
      expect(Object.keys(entries).sort()).toEqual(Object.keys(state).sort());
      const dicts = ["layer1.", "layer2.", "layer10."].map(
        (prefix) => [prefix, fromSafetensors(file, { prefix })] as const,
      );
      let compared = 0;
      for (const [prefix, dict] of dicts) {
        for (const [rest, { data, shape }] of Object.entries(dict)) {
          const one = state[prefix + rest];
          expect(entries[prefix + rest]).toEqual({ dtype: DTYPES[one.dtype], shape: one.shape });
          expect(shape).toEqual(one.shape);
          expect(Array.from<unknown>(data as never).map(Number)).toEqual(one.values);
          const kind = { "torch.float64": Float64Array, "torch.int64": BigInt64Array }[
            one.dtype as string
          ];
          expect(data).toBeInstanceOf(kind ?? Float32Array);
          compared++;
        }
      }
      // But position_ids.
      expect(compared).toBe(Object.keys(state).length - 1);
    },
  );

  test("an entry of another type is refused by name and type, and only behind the prefix", () => {
    const file = fixture("torch.safetensors");
    const { code, message } = refusal(() => fromSafetensors(file));
    expect(code).toBe("dtype");
    expect(message).toContain("position_ids is I32");
    expect(Object.keys(fromSafetensors(file, { prefix: "layer1.bn." })).sort()).toEqual([
      ...["bias", "num_batches_tracked", "running_mean", "running_var", "weight"],
    ]);
    expect(refusal(() => fromSafetensors(file, { prefix: "pos" })).code).toBe("dtype");
    for (const strict of [true, null, undefined]) {
      expect(refusal(() => fromSafetensors(file, { strict })).code).toBe("dtype");
    }
    expect(refusal(() => fromSafetensors(file, { strict: wrong("no") })).code).toBe(
      "invalid-option",
    );
    const names = Object.keys(inspectSafetensors(file).entries);
    const dict = fromSafetensors(file, { strict: false });
    expect(Object.keys(dict)).toEqual(names.filter((name) => name !== "position_ids"));
    expect(fromSafetensors(file, { strict: false, prefix: "pos" })).toEqual({});
  });

  test("every pattern of floats of eight bits is what PyTorch says", () => {
    const dict = fromSafetensors(fixture("float8.safetensors"));
    expect(Object.keys(dict).sort()).toEqual(Object.keys(float8).sort());
    for (const [name, values] of Object.entries<number[]>(float8)) {
      const { data, shape } = dict[name] as WeightDict[string];
      expect(shape).toEqual([256]);
      expect(data, name).toEqual(Float32Array.from(numbers(values)));
    }
  });

  test("is written again to the byte", () => {
    for (const name of [
      "torch",
      "torch_float16",
      "torch_bfloat16",
      "torch_float64",
      "float8",
      "numpy",
    ]) {
      const file = fixture(`${name}.safetensors`);
      const { metadata, entries } = inspectSafetensors(file);
      const { header, data } = partsOf(file);
      const raw = JSON.parse(header);
      // The other way round: the order is the writer's own.
      const dict = Object.entries(entries)
        .reverse()
        .map(([name, { dtype, shape }]) => {
          const bytes = data.slice(...raw[name].data_offsets);
          return [name, { data: bytes, dtype, shape }] as const;
        });
      const notes = "__metadata__" in raw ? { metadata } : null;
      const written = toSafetensors(Object.fromEntries(dict), notes);
      expect(Buffer.compare(written, file), name).toBe(0);
      expect(toSafetensors(new Map(dict), notes)).toEqual(written);
    }
  });
});

describe("a file that safetensors.numpy wrote", () => {
  const { arrays } = told("numpy.json");

  test("has each value that NumPy reads: names of any letters, empty arrays, NaN and infinities", () => {
    const file = fixture("numpy.safetensors");
    const { metadata, entries } = inspectSafetensors(file);
    expect(metadata).toEqual({});
    expect(Object.keys(entries).sort()).toEqual(Object.keys(arrays).sort());
    const readable = Object.keys(arrays).filter((name) => !["mask", "bytes"].includes(name));
    expect(readable.length).toBe(9);
    for (const name of readable) {
      const entry = fromSafetensors(file, { prefix: name })[""] as WeightDict[string];
      const { dtype, shape, values } = arrays[name];
      expect(entry.shape, name).toEqual(shape);
      if (dtype === "int64") expect(entry.data).toEqual(BigInt64Array.from(values.map(BigInt)));
      else expect(Array.from(entry.data as never), name).toEqual(numbers(values));
    }
    for (const name of ["mask", "bytes"]) {
      expect(refusal(() => fromSafetensors(file, { prefix: name })).code).toBe("dtype");
    }
  });
});

describe("fromSafetensors", () => {
  const file = fixture("torch.safetensors");

  test("takes bytes wherever they lie, and gives copies", () => {
    const larger = new Uint8Array(file.length + 6);
    larger.set(file, 3);
    const part = larger.subarray(3, 3 + file.length);
    const buffer = file.slice().buffer;
    const shared = new Uint8Array(new SharedArrayBuffer(file.length));
    shared.set(file);
    const prefix = { prefix: "layer2.0." };
    const expected = fromSafetensors(file, prefix);
    for (const bytes of [
      ...[part, buffer, Buffer.from(file), new DataView(larger.buffer, 3, file.length), shared],
      runInNewContext("Uint8Array.from(bytes)", { bytes: [...file] }),
      runInNewContext("Uint8Array.from(bytes).buffer", { bytes: [...file] }),
    ]) {
      expect(fromSafetensors(bytes, prefix)).toEqual(expected);
    }
    const before = fromSafetensors(part, prefix);
    larger.fill(0);
    expect(before).toEqual(expected);
  });

  test("reads nothing that a caller has put over a view", () => {
    const lying = Object.defineProperties(file.slice(), {
      length: { value: 3 },
      byteOffset: { value: 4 },
      buffer: { value: new ArrayBuffer(2 ** 20) },
      subarray: { value: () => new Uint8Array(2 ** 20) },
    });
    expect(inspectSafetensors(lying)).toEqual(inspectSafetensors(file));
  });

  test("refuses what is no bytes, with the argument's name", () => {
    const detached = file.slice();
    structuredClone(detached.buffer, { transfer: [detached.buffer] });
    const looks = { byteLength: 9, byteOffset: 0, buffer: new ArrayBuffer(9), length: 9 };
    const proxy = new Proxy(file, {});
    for (const bytes of [
      ...[null, undefined, 5, "{}", [1, 2], {}, looks, proxy, new Float32Array(9), detached],
      ...[detached.buffer, new Uint16Array(9), () => file, Symbol("x"), Promise.resolve(file)],
    ]) {
      expect(refusal(() => fromSafetensors(wrong(bytes))).code).toBe("dtype");
      expect(refusal(() => inspectSafetensors(wrong(bytes))).message).toContain(
        "inspectSafetensors",
      );
    }
  });

  test("gives entries without the prefix, and says what there is where it stands before nothing", () => {
    const made = fileOf({ "a.b": F32 }, 4);
    expect(Object.keys(fromSafetensors(made, { prefix: "a." }))).toEqual(["b"]);
    for (const prefix of [null, undefined, ""]) {
      expect(Object.keys(fromSafetensors(made, { prefix }))).toEqual(["a.b"]);
    }
    const { code, message } = refusal(() => fromSafetensors(made, { prefix: "b." }));
    expect([code, message]).toEqual([
      "state-dict",
      'fromSafetensors: no name begins with "b."; there are: a.b',
    ]);
    expect(refusal(() => fromSafetensors(made, { prefix: wrong(5) })).code).toBe("invalid-option");
    expect(refusal(() => fromSafetensors(made, wrong({ prefx: "" }))).code).toBe("unknown-option");
  });

  test("names that mean something to JavaScript are names like any other", () => {
    const names = ["__proto__", "constructor", "toString", "hasOwnProperty", "0", ""];
    const text = names.map((name, i) => {
      return `${JSON.stringify(name)}:{"dtype":"F32","shape":[],"data_offsets":[${4 * i},${4 * i + 4}]}`;
    });
    const notes = `"__metadata__":{"__proto__":"a"}`;
    const made = fileOf(
      `{${notes},${text}}`,
      new Uint8Array(Float32Array.from(names.keys()).buffer),
    );
    const dict = fromSafetensors(made);
    expect(Object.getPrototypeOf(dict)).toBe(Object.prototype);
    expect(Object.keys(dict).sort()).toEqual([...names].sort());
    for (const [i, name] of names.entries()) {
      expect(Object.getOwnPropertyDescriptor(dict, name)?.value.data).toEqual(Float32Array.of(i));
    }
    expect(Object.keys(inspectSafetensors(made).metadata)).toEqual(["__proto__"]);
    expect(({} as { data?: unknown }).data).toBeUndefined();
    expect(fromSafetensors(toSafetensors(dict))).toEqual(dict);
  });

  test("takes what the reference takes: spaces, escapes, any order, no entries, gaps of none", () => {
    const spaced = ` \n\t{ "a" : \r{"shape" : [ 1 ] , "data_offsets":[0, 4], "dtype": "F\\u0033\\u0032"}}  `;
    expect(fromSafetensors(fileOf(spaced.trimStart(), 4))).toHaveProperty("a.shape", [1]);
    expect(fromSafetensors(fileOf("{}"))).toEqual({});
    expect(fromSafetensors(fileOf("{}     \n"))).toEqual({});
    const empty = { dtype: "F32", shape: [3, 0], data_offsets: [4, 4] };
    const dict = fromSafetensors(
      fileOf({ z: empty, y: { ...F32, data_offsets: [4, 8] }, x: F32 }, 8),
    );
    expect(Object.keys(dict)).toEqual(["x", "z", "y"]);
    const unknown = { dtype: "F5_E9", shape: [7], data_offsets: [0, 3] };
    const other = { ...F32, data_offsets: [3, 7] };
    expect(fromSafetensors(fileOf({ unknown, other }, 7), { prefix: "oth" })).toHaveProperty("er");
  });

  test("what is on Object.prototype is in no file, and no entry's", () => {
    const everything = Object.prototype as Record<string, unknown>;
    const made = fileOf({ a: F32 }, 4);
    const dict = fromSafetensors(made);
    const written = toSafetensors(dict);
    for (const name of ["shape", "data_offsets", "dtype", "strides", "offset", "metadata"]) {
      everything[name] = [1];
      try {
        expect(fromSafetensors(made), name).toEqual(dict);
        expect(toSafetensors(dict), name).toEqual(written);
      } finally {
        delete everything[name];
      }
    }
  });

  test("errors are those of the main entry", () => {
    expect(BatchNormError).toBe(MainError);
  });
});

/** What a header can say, and no file may: by what the message is to say of it. */
const HOSTILE: Record<string, [file: Uint8Array, message: string][]> = {
  "the size of the header": [
    [new Uint8Array(0), "0 bytes are no .safetensors file"],
    [new Uint8Array(7), "7 bytes are no .safetensors file"],
    [new Uint8Array(8), "it must begin with {"],
    [fileOf("", 0), "it must begin with {"],
    [fileOf("{}", 0, 3n), "there are 2: the file is cut off"],
    [fileOf("{}", 0, 1n), "got the header's end"],
    [fileOf("{}", 0, 100_000_000n), "there are 2: the file is cut off"],
    [fileOf("{}", 0, 100_000_001n), "100000000 at most"],
    [fileOf("{}", 0, 2n ** 31n), "100000000 at most"],
    [fileOf("{}", 0, 2n ** 32n + 2n), "100000000 at most"],
    [fileOf("{}", 0, 2n ** 53n + 1n), "100000000 at most"],
    [fileOf("{}", 0, 2n ** 63n), "100000000 at most"],
    [fileOf("{}", 0, 2n ** 64n - 1n), "100000000 at most"],
    [
      new TextEncoder().encode("PK\u0003\u0004 a zip file, as PyTorch's own are"),
      "is it a .safetensors",
    ],
  ],
  "its text": [
    [fileOf(" {}"), "it must begin with {"],
    [fileOf("[]"), "it must begin with {"],
    [fileOf("null"), "it must begin with {"],
    [fileOf("\ufeff{}"), "it must begin with {"],
    [fileOf("{"), "the header's end"],
    [fileOf("{} {}"), 'got "{"'],
    [fileOf("{}\0"), "expected the header's end"],
    [fileOf("{,}"), 'expected "\\"", got ","'],
    [fileOf('{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},}', 4), 'expected "\\""'],
    [fileOf('{"a":{"dtype":"F32","shape":[1,],"data_offsets":[0,4]}}', 4), "a whole number"],
    [fileOf('{"a":{"dtype":"F32","shape":[1]"data_offsets":[0,4]}}', 4), 'expected "}"'],
    [fileOf('{"a" {}}'), 'expected ":"'],
    [fileOf("{'a':{}}"), 'expected "\\""'],
    [fileOf("{a:{}}"), 'expected "\\""'],
    [fileOf('{"a'), "the header's end"],
    [fileOf('{"a\\'), "the header's end"],
    [fileOf('{"\\x61":1}'), "no string of JSON"],
    [fileOf('{"a\nb":1}'), "no string of JSON"],
    [fileOf('{"\\ud800":1}'), "no string of JSON"],
    [fileOf('{"\\u12":1}'), "no string of JSON"],
    [fileOf(`{"a":${"[".repeat(100_000)}`), 'expected "{", got "["'],
    [fileOf(`{"a":{"shape":${"[".repeat(100_000)}`), "a whole number"],
    [fileOf(`{"a":${'{"dtype":'.repeat(10_000)}`), 'expected "\\"", got "{"'],
    [fileOf(`{"__metadata__":${'{"a":'.repeat(10_000)}`), 'expected "\\"", got "{"'],
  ],
  UTF8: [
    ...[
      ...[[0xff], [0x80], [0xc0, 0xaf], [0xc1, 0xbf], [0xe0, 0x80, 0x80], [0xed, 0xa0, 0x80]],
      ...[
        [0xf0, 0x80, 0x80, 0x80],
        [0xf4, 0x90, 0x80, 0x80],
        [0xf8, 0x88, 0x80, 0x80, 0x80],
      ],
      ...[[0xc3], [0xe2, 0x82], [0xf0, 0x9f, 0x99], [0xc3, 0x28]],
    ].map((wrong): [Uint8Array, string] => [
      fileOf(Uint8Array.of(0x7b, 0x22, ...wrong, 0x22, 0x3a)),
      "byte 10 is not UTF-8",
    ]),
  ],
  "an entry's fields": [
    ...["1", "null", "[]", '"F32"', "true"].map((entry): [Uint8Array, string] => [
      fileOf(`{"a":${entry}}`),
      'expected "{"',
    ]),
    ...["dtype", "shape", "data_offsets"].map((key): [Uint8Array, string] => [
      fileOf({ a: { ...F32, [key]: undefined } }, 4),
      "an entry needs each of dtype, shape, data_offsets",
    ]),
    [fileOf({ a: {} }), "an entry needs each of"],
    [fileOf({ a: { ...F32, strides: [1] } }, 4), '"strides" is none of dtype, shape'],
    [fileOf('{"a":{"__proto__":{},"dtype":"F32"}}'), '"__proto__" is none of dtype'],
    [fileOf({ a: { ...F32, dtype: 5 } }, 4), 'expected "\\"", got "5"'],
    [fileOf({ a: { ...F32, dtype: null } }, 4), 'expected "\\"", got "n"'],
    [fileOf({ a: { ...F32, shape: 1 } }, 4), 'expected "[", got "1"'],
    [fileOf({ a: { ...F32, shape: [[1]] } }, 4), "a whole number"],
    [fileOf({ a: { ...F32, shape: new Array(65).fill(1) } }, 4), "more than 64 numbers"],
    [fileOf({ a: { ...F32, shape: new Array(100_000).fill(1) } }, 4), "more than 64 numbers"],
    [fileOf({ a: { ...F32, data_offsets: [] } }, 4), "data_offsets are two numbers, got 0"],
    [fileOf({ a: { ...F32, data_offsets: [0] } }, 4), "data_offsets are two numbers, got 1"],
    [fileOf({ a: { ...F32, data_offsets: [0, 4, 4] } }, 4), "data_offsets are two numbers, got 3"],
  ],
  numbers: [
    ...[
      "-1",
      "-0",
      "+1",
      "1.0",
      "1e0",
      "0x1",
      "01",
      "00",
      "1n",
      "NaN",
      "Infinity",
      '"1"',
      "null",
      "1 1",
    ].map((number): [Uint8Array, string] => [
      fileOf(`{"a":{"dtype":"F32","shape":[${number}],"data_offsets":[0,4]}}`, 4),
      /^0\d/.test(number) ? "begins with 0" : number === "1 1" ? 'expected "]"' : "a whole number",
    ]),
    ...["9007199254740992", "18446744073709551616", "9".repeat(400)].flatMap(
      (number): [Uint8Array, string][] => [
        [fileOf(`{"a":{"dtype":"F32","shape":[${number}],"data_offsets":[0,4]}}`, 4), "too large"],
        [fileOf(`{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,${number}]}}`, 4), "too large"],
      ],
    ),
    [fileOf('{"a":{"dtype":"F32","shape":[1],"data_offsets":[-4,0]}}', 4), "a whole number"],
    [fileOf('{"a":{"dtype":"F32","shape":[1],"data_offsets":[0.5,4.5]}}', 8), "a whole number"],
  ],
  "names that come twice": [
    [
      fileOf(
        '{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}',
      ),
      '"a" comes twice',
    ],
    [
      fileOf('{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"\\u0061":{}}'),
      '"a" comes twice',
    ],
    [fileOf('{"a":{"dtype":"F32","dtype":"F64"}}'), '"dtype" comes twice'],
    [fileOf('{"a":{"dtype":"","dtype":"F64"}}'), '"dtype" comes twice'],
    [fileOf('{"a":{"shape":[],"shape":[]}}'), '"shape" comes twice'],
    [fileOf('{"a":{"data_offsets":[],"data_offsets":[]}}'), '"data_offsets" comes twice'],
    [fileOf('{"__metadata__":{},"__metadata__":{}}'), '"__metadata__" comes twice'],
    [fileOf('{"__metadata__":{"a":"1","a":"2"}}'), '"a" comes twice'],
    [
      fileOf('{"__proto__":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"__proto__":{}}'),
      '"__proto__" comes twice',
    ],
  ],
  metadata: [
    ...["1", "null", "[]", '"a"'].map((notes): [Uint8Array, string] => [
      fileOf(`{"__metadata__":${notes}}`),
      'expected "{"',
    ]),
    ...["1", "null", "[]", "{}", "true"].map((note): [Uint8Array, string] => [
      fileOf(`{"__metadata__":{"a":${note}}}`),
      'expected "\\""',
    ]),
  ],
  offsets: [
    [fileOf({ a: F32, b: F32 }, 4), "b: data_offsets [0, 4] overlap what ends at 4"],
    [fileOf({ a: F32, b: F32 }, 8), "b: data_offsets [0, 4] overlap what ends at 4"],
    [
      fileOf(
        { a: { ...F32, shape: [2], data_offsets: [0, 8] }, b: { ...F32, data_offsets: [4, 8] } },
        8,
      ),
      "b: data_offsets [4, 8] overlap",
    ],
    [
      fileOf(
        { a: { ...F32, shape: [3], data_offsets: [0, 12] }, b: { ...F32, data_offsets: [4, 8] } },
        12,
      ),
      "b: data_offsets [4, 8] overlap",
    ],
    [
      fileOf({ a: { ...F32, data_offsets: [4, 8] } }, 8),
      "a: data_offsets [4, 8] leave a gap behind 0",
    ],
    [
      fileOf({ a: F32, b: { ...F32, data_offsets: [5, 9] } }, 9),
      "b: data_offsets [5, 9] leave a gap behind 4",
    ],
    [
      fileOf({ a: { ...F32, data_offsets: [4, 0] } }, 4),
      "a: data_offsets [4, 0] end before they begin",
    ],
    [
      fileOf({ a: { ...F32, shape: [0], data_offsets: [4, 0] }, b: F32 }, 4),
      "a: data_offsets [4, 0] end before",
    ],
    [
      fileOf({ a: { ...F32, shape: [0], data_offsets: [2, 2] }, b: F32 }, 4),
      "a: data_offsets [2, 2] overlap",
    ],
    [fileOf({ a: F32 }, 3), "data of 3 bytes, the header has 4: the file is cut off"],
    [fileOf({ a: F32 }, 0), "data of 0 bytes, the header has 4: the file is cut off"],
    [fileOf({ a: F32 }, 5), "data of 5 bytes, the header has 4: there is more behind its end"],
    [fileOf({}, 1), "data of 1 bytes, the header has 0: there is more behind its end"],
    [
      fileOf({ a: { ...F32, shape: [2 ** 40], data_offsets: [0, 2 ** 42] } }, 4),
      "the file is cut off",
    ],
    [
      fileOf({ a: { dtype: "NEW", shape: [1], data_offsets: [0, 2 ** 52] } }, 4),
      "the file is cut off",
    ],
  ],
  "sizes that don't fit type and shape": [
    [
      fileOf({ a: { ...F32, shape: [2] } }, 4),
      "a: data_offsets [0, 4] are 4 bytes, and [2] of F32 has 8 bytes",
    ],
    [
      fileOf({ a: { ...F32, shape: [], data_offsets: [0, 0] } }),
      "data_offsets [0, 0] are 0 bytes, and [] of F32 has 4 bytes",
    ],
    [fileOf({ a: { ...F32, shape: [0] } }, 4), "[0] of F32 has 0 bytes"],
    [fileOf({ a: { ...F32, dtype: "F16" } }, 4), "[1] of F16 has 2 bytes"],
    [fileOf({ a: { ...F32, dtype: "F64" } }, 4), "[1] of F64 has 8 bytes"],
    [fileOf({ a: { ...F32, dtype: "I64" } }, 4), "[1] of I64 has 8 bytes"],
    [fileOf({ a: { ...F32, dtype: "F8_E4M3" } }, 4), "[1] of F8_E4M3 has 1 bytes"],
    [
      fileOf({ a: { dtype: "F4", shape: [3], data_offsets: [0, 1] } }, 1),
      "[3] of F4 has 1.5 bytes",
    ],
    [
      fileOf({ a: { dtype: "F4", shape: [3], data_offsets: [0, 2] } }, 2),
      "[3] of F4 has 1.5 bytes",
    ],
    [fileOf({ a: { dtype: "F6_E2M3", shape: [1], data_offsets: [0, 1] } }, 1), "has 0.75 bytes"],
    [fileOf({ a: { ...F32, shape: [2 ** 52, 2 ** 52] } }, 4), "more elements than can be counted"],
    [
      fileOf({ a: { ...F32, shape: [2 ** 30, 2 ** 30, 2 ** 30, 2 ** 30] } }, 4),
      "than can be counted",
    ],
    [
      fileOf({ a: { ...F32, shape: [2 ** 40, 2 ** 40, 0], data_offsets: [0, 0] } }),
      "than can be counted",
    ],
    // Of 32 bits it would be 1.
    [
      fileOf({ a: { ...F32, shape: [65536, 65536, 1] } }, 4),
      "[65536, 65536, 1] of F32 has 17179869184 bytes",
    ],
    [fileOf({ a: { ...F32, shape: [2 ** 32 + 1] } }, 4), "has 17179869188 bytes"],
  ],
};

describe("a file that lies is refused, and the message says where and why:", () => {
  for (const [kind, files] of Object.entries(HOSTILE)) {
    test(`${kind} (${files.length})`, () => {
      for (const [file, words] of files) {
        for (const read of [fromSafetensors, inspectSafetensors]) {
          const { code, message } = refusal(() => read(file));
          expect({ code, message }).toEqual({
            code: "invalid-file",
            message: expect.stringContaining(words),
          });
          expect(message.length).toBeLessThan(250);
        }
        // Whatever is asked for.
        expect(refusal(() => fromSafetensors(file, { prefix: "x" })).code).toBe("invalid-file");
      }
    });
  }

  test("a header of 100 MB is the largest", () => {
    const most = new Uint8Array(8 + 100_000_000).fill(0x20);
    most.set(fileOf("{}", 0, 100_000_000n));
    expect(fromSafetensors(most)).toEqual({});
    // A name that takes all of it.
    most.fill(0x61, 8).set(fileOf('{"', 0, 100_000_000n));
    expect(refusal(() => fromSafetensors(most)).code).toBe("invalid-file");
  });
});

describe("UTF-8", () => {
  test("is read and written as TextDecoder and TextEncoder do, and refused as the former does", () => {
    const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
    const decoded = (read: () => string) => {
      try {
        return read();
      } catch {
        return null;
      }
    };
    const different: Uint8Array[] = [];
    let taken = 0;
    for (let lead = 0; lead < 0x1_0000; lead++) {
      for (const rest of [[], [0x80], [0xbf, 0x80], [0x7f]]) {
        const bytes = Uint8Array.of(lead >> 8, lead & 255, ...rest);
        const expected = decoded(() => strict.decode(bytes));
        const ours = decoded(() => decodeUtf8(bytes, 0, bytes.length, "f"));
        const back = ours === null ? bytes : encodeUtf8(ours);
        if (ours !== expected || Buffer.compare(back, bytes) !== 0) different.push(bytes);
        if (ours !== null) taken++;
      }
    }
    expect(different).toEqual([]);
    expect(taken).toBeGreaterThan(30_000);
    expect(refusal(() => decodeUtf8(Uint8Array.of(0x61, 0xff), 0, 2, "f"))).toEqual({
      code: "invalid-file",
      message: "f: byte 1 is not UTF-8",
    });
    // Longer than what becomes text at a time, with pairs at its seams.
    for (const letter of ["a", "é", "€", "🙂"]) {
      const text = `x${letter.repeat(10_000)}`;
      expect(decodeUtf8(encodeUtf8(text), 0, encodeUtf8(text).length, "f")).toBe(text);
      expect(Buffer.compare(encodeUtf8(text), Buffer.from(text))).toBe(0);
    }
  });
});

describe("toSafetensors", () => {
  test("a layer's state comes back to the bit, also through a Map, and tensors as they lie", () => {
    const bn = new BatchNorm(3);
    bn.weight?.set([0.1, 2, -3]);
    bn.forward(Tensor.from([1, 2, 3, 4, 6, 9], [2, 3]));
    const state = bn.stateDict();
    const file = toSafetensors(state);
    const dict = fromSafetensors(file);
    for (const [name, value] of Object.entries(state)) {
      const data = typeof value === "number" ? BigInt64Array.of(BigInt(value)) : value;
      expect(dict[name]?.data).toEqual(data);
    }
    expect(inspectSafetensors(file).entries.num_batches_tracked).toEqual({
      dtype: "I64",
      shape: [],
    });
    expect(toSafetensors(new Map(Object.entries(state)))).toEqual(file);
    const x = Tensor.from([1, 2, 3, 4, 5, 6], [2, 3]);
    const tensors = fromSafetensors(toSafetensors({ x, part: x.slice(1, 1, 3) }));
    expect(tensors.x).toEqual({ data: Float32Array.of(1, 2, 3, 4, 5, 6), shape: [2, 3] });
    expect(tensors.part).toEqual({ data: Float32Array.of(2, 3, 5, 6), shape: [2, 2] });
  });

  test("names are in the order of their bytes", () => {
    const letters = [
      "a",
      "b",
      "é",
      "\ud7ff",
      "\ue000",
      "\uffff",
      "\u{10000}",
      "🙂",
      "\u{10ffff}",
      "",
    ];
    const names = letters.flatMap((one) => letters.map((two) => one + two));
    const unique = [...new Set(names)];
    const dict = Object.fromEntries(unique.map((name) => [name, Float32Array.of(1)]));
    const written = Object.keys(inspectSafetensors(toSafetensors(dict)).entries);
    expect(written).toEqual(unique.sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b))));
  });

  test("data begin at multiples of eight, larger types first, and then by name in bytes", () => {
    const file = toSafetensors({
      b: Float32Array.of(1),
      "\uffff": Float32Array.of(1),
      "🙂": Float32Array.of(1),
      a: { data: new Uint8Array(1), dtype: "BOOL", shape: [1] },
      c: Float64Array.of(1),
      d: 7n,
      e: { data: Uint16Array.of(1), dtype: "float16", shape: [1] },
    });
    expect(Number(new DataView(file.buffer).getBigUint64(0, true)) % 8).toBe(0);
    const entries = Object.entries(inspectSafetensors(file).entries);
    expect(entries.map(([name, { dtype }]) => `${name} ${dtype}`)).toEqual([
      ...["d I64", "c F64", "b F32", "\uffff F32", "🙂 F32", "e F16", "a BOOL"],
    ]);
  });

  test("notes are sorted, and an empty list of them is one", () => {
    const file = toSafetensors({}, { metadata: { b: "2", a: 'quote "', ä: "🙂" } });
    expect(partsOf(file).header.trimEnd()).toBe(
      '{"__metadata__":{"a":"quote \\"","b":"2","ä":"🙂"}}',
    );
    expect(partsOf(toSafetensors({}, { metadata: {} })).header.trimEnd()).toBe(
      '{"__metadata__":{}}',
    );
    expect(partsOf(toSafetensors({}, { metadata: null })).header.trimEnd()).toBe("{}");
  });

  const detached = new Float32Array(2);
  structuredClone(detached.buffer, { transfer: [detached.buffer] });
  const gone = Tensor.from([1]);
  gone.dispose();
  const bytes = new Uint8Array(4);
  test.each<[what: string, entry: unknown, code: string]>([
    ["null", null, "dtype"],
    ["undefined", undefined, "dtype"],
    ["text", "a", "dtype"],
    ["a fraction", 0.5, "state-dict"],
    ["a number that is too large", 2 ** 53, "state-dict"],
    ["NaN", Number.NaN, "state-dict"],
    ["2⁶³", 2n ** 63n, "state-dict"],
    ["an array of numbers, whose type isn't told", [1, 2], "dtype"],
    ["int32", Int32Array.of(1), "dtype"],
    ["uint64", BigUint64Array.of(1n), "dtype"],
    ["bytes without a type", bytes, "dtype"],
    ["bytes without a type, with a shape", { data: bytes, shape: [4] }, "dtype"],
    ["bytes of a type that isn't there", { data: bytes, dtype: "F33", shape: [1] }, "dtype"],
    [
      "bytes of a type that is a property's name",
      { data: bytes, dtype: "toString", shape: [1] },
      "dtype",
    ],
    [
      "float32 told to be float64",
      { data: Float32Array.of(1, 2), dtype: "F64", shape: [1] },
      "dtype",
    ],
    [
      "uint16 told to be float32",
      { data: Uint16Array.of(1, 2), dtype: "F32", shape: [1] },
      "dtype",
    ],
    ["an array with a shape", { data: [1], shape: [1] }, "dtype"],
    ["no data", { shape: [1] }, "dtype"],
    ["no shape", { data: Float32Array.of(1) }, "invalid-shape"],
    ["a shape that is too large", { data: Float32Array.of(1), shape: [2] }, "invalid-shape"],
    ["a negative shape", { data: Float32Array.of(1), shape: [-1, -1] }, "invalid-shape"],
    ["a shape of fractions", { data: Float32Array.of(1), shape: [0.5, 2] }, "invalid-shape"],
    ["a shape of text", { data: Float32Array.of(1), shape: ["1"] }, "invalid-shape"],
    ["65 axes", { data: Float32Array.of(1), shape: new Array(65).fill(1) }, "invalid-shape"],
    [
      "a shape without an end",
      { data: Float32Array.of(1), shape: new Array(2 ** 32 - 1) },
      "invalid-shape",
    ],
    ...[Symbol(), 2n, Number.NaN, -1, "x", Infinity].map((length): [string, unknown, string] => [
      `of a shape whose length is ${String(length)}`,
      {
        data: Float32Array.of(1),
        shape: new Proxy([1], {
          get: (array, key) => (key === "length" ? length : Reflect.get(array, key)),
        }),
      },
      "invalid-shape",
    ]),
    ["half a byte", { data: bytes, dtype: "F64", shape: [] }, "invalid-shape"],
    ["column-major", { data: Float32Array.of(1), shape: [1], fortranOrder: true }, "unsupported"],
    ["strides", { data: Float32Array.of(1), shape: [1], strides: [1] }, "unsupported"],
    ["detached", detached, "dtype"],
    ["detached, with a shape", { data: detached, shape: [2] }, "dtype"],
    ["disposed", gone, "disposed"],
    ["a Proxy of a tensor", new Proxy(Tensor.from([1]), {}), "dtype"],
    ["what calls itself a tensor", { [Symbol.toStringTag]: "Tensor", shape: [1] }, "dtype"],
  ])("an entry that is %s is refused by its name", (_, entry, code) => {
    const found = refusal(() => toSafetensors({ fine: Float32Array.of(1), entry: wrong(entry) }));
    expect(found).toEqual({ code, message: expect.stringMatching(/entry|Tensor/) });
  });

  test("names that no file can have, dicts and notes that are none, are refused", () => {
    const one = Float32Array.of(1);
    const codeOf = (dict: unknown, options?: unknown) =>
      refusal(() => toSafetensors(wrong(dict), wrong(options))).code;
    for (const dict of [
      ...[null, undefined, 5, "a", [one], one, () => one, new Map([[1, one]])],
      // A file of nothing is all that they would give.
      ...[Promise.resolve({ one }), new Set([one]), one.buffer, new DataView(one.buffer)],
      ...[[], new Uint8Array(0), new Date(0), new Proxy(new Map([["a", one]]), {})],
    ]) {
      expect(codeOf(dict)).toBe("state-dict");
    }
    for (const dict of [{}, Object.create(null), new Map(), runInNewContext("({})")]) {
      expect(fromSafetensors(toSafetensors(dict))).toEqual({});
    }
    expect(codeOf({ __metadata__: one })).toBe("state-dict");
    expect(codeOf({ "\ud800": one })).toBe("state-dict");
    for (const metadata of [
      5,
      "a",
      ["a"],
      new Map(),
      { a: 1 },
      { a: null },
      { a: "\udc00" },
      { "\ud800": "" },
    ]) {
      expect(codeOf({}, { metadata })).toBe("invalid-option");
    }
    expect(codeOf({}, { meta: {} })).toBe("unknown-option");
    expect(codeOf({ ["a".repeat(1e8)]: one })).toBe("state-dict");
    // As JSON it would be longer than a string can be.
    expect(codeOf({}, { metadata: { a: "\0".repeat(9e7) } })).toBe("state-dict");
  });

  test("each property of an entry is read once, before anything is written", () => {
    const reads: string[] = [];
    const data = Float32Array.of(1, 2);
    const target = { data, shape: [2], dtype: "F32" };
    const entry = new Proxy(target, {
      get(of, name) {
        reads.push(String(name));
        // What a getter does to what was read before is seen by the checks.
        if (name === "shape") structuredClone(data.buffer, { transfer: [data.buffer] });
        return Reflect.get(of, name);
      },
    });
    expect(refusal(() => toSafetensors({ entry })).code).toBe("dtype");
    expect(reads.filter((name) => ["data", "shape", "dtype"].includes(name)).sort()).toEqual([
      ...["data", "dtype", "shape"],
    ]);
    const own = new Error("the caller's own");
    const throwing = {
      get a(): WritableEntry {
        throw own;
      },
    };
    expect(() => toSafetensors(throwing)).toThrow(own);
  });
});
