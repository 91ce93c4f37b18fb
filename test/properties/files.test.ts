/**
 * Files of weights that were changed at random, and headers of anything: each is read or a typed
 * error, none makes more of a file than its bytes allow, and what is read can be written.
 */
import {
  BatchNormError,
  fromLayersModel,
  fromSafetensors,
  inspectSafetensors,
  toSafetensors,
  type WeightDict,
} from "batchnorm-wasm/weights";
import fc from "fast-check";
import { beforeEach, describe, expect, it } from "vitest";
import { fileOf, fixture, partsOf, told } from "../weight-files.js";
import { holds, properties, RUNS } from "./problems.js";

/** How often for each run of others: a file takes microseconds. */
const TIMES = 25;

const FILES = [
  ...["torch", "torch_bfloat16", "float8", "numpy"].map((name) => fixture(`${name}.safetensors`)),
  // So small that most changes meet a number or a name.
  ...["layer10.", "layer2.1."].map((prefix) =>
    toSafetensors(fromSafetensors(fixture("torch_float64.safetensors"), { prefix })),
  ),
];

/** How many of a property's files were read, and how many refused: where all were, nothing is shown. */
const counts = { read: 0, refused: 0 };
beforeEach(() => {
  Object.assign(counts, { read: 0, refused: 0 });
});

/** Few of either kind are many enough: most that is changed at random is wrong. */
function expectBoth(): void {
  if (process.env.FC_COUNTS) console.log(counts);
  expect(counts.read).toBeGreaterThan(RUNS / 20);
  expect(counts.refused).toBeGreaterThan(RUNS);
}

/** Of errors that bytes can be the reason of, and of what a caller can hand over. */
const FILE_CODES = ["invalid-file", "dtype", "state-dict"];
const CODES = [...FILE_CODES, "invalid-option", "unknown-option", "invalid-shape", "unsupported"];

/** What was read, or the code of the error; any other error than a typed one goes on. */
function read<T extends object>(call: () => T, codes = FILE_CODES): T | string {
  try {
    return call();
  } catch (error) {
    if (!(error instanceof BatchNormError)) throw error;
    expect(codes).toContain(error.code);
    expect(error.message.length).toBeLessThan(400);
    return error.code;
  }
}

/** Counts it. */
function wasRead<T extends object>(found: T | string): found is T {
  const isRead = typeof found !== "string";
  counts[isRead ? "read" : "refused"]++;
  return isRead;
}

function bytesOf(dict: WeightDict): number {
  return Object.values(dict).reduce((sum, { data, shape }) => {
    expect(data.length).toBe(shape.reduce((a, b) => a * b, 1));
    // Of its own: a view could hold more.
    expect(data.buffer.byteLength).toBe(data.byteLength);
    return sum + data.byteLength;
  }, 0);
}

function expectSafetensorsHolds(file: Uint8Array): void {
  const before = Buffer.from(file);
  const contents = read(() => inspectSafetensors(file));
  const dict = read(() => fromSafetensors(file));
  expect(before.equals(file)).toBe(true);
  // A type that no norm has is all that can be wrong of what can be looked into.
  if (!wasRead(contents)) expect(dict).toBe(contents);
  else if (typeof dict === "string") expect(dict).toBe("dtype");
  else {
    // Floats of eight bits become four bytes.
    expect(bytesOf(dict)).toBeLessThanOrEqual(4 * file.length);
    expect(fromSafetensors(toSafetensors(dict))).toEqual(dict);
    expect(Object.keys(contents.entries)).toEqual(Object.keys(dict));
  }
}

/** A change of a list of bytes, at a place from 0 to 1. */
const change = fc.record({
  kind: fc.constantFrom("set" as const, "flip", "insert", "remove", "copy", "cut"),
  at: fc.double({ min: 0, max: 1, noNaN: true }),
  // Mostly such that mean something.
  bytes: fc.oneof(
    fc.constantFrom(
      ...'{}[]",:\\ 0123456789-.eE'.split("").map((letter) => [letter.charCodeAt(0)]),
    ),
    fc.array(fc.integer({ min: 0, max: 255 }), { minLength: 1, maxLength: 4 }),
    fc
      .constantFrom("__proto__", "__metadata__", "dtype", "F64", "shape", '"a":{}', ",[0,0]", "1e9")
      .map((text) => [...Buffer.from(text)]),
  ),
});
type Change = typeof change extends fc.Arbitrary<infer T> ? T : never;

function changed(bytes: Uint8Array, { kind, at, bytes: given }: Change): Uint8Array {
  const place = Math.floor(at * bytes.length);
  const [head, tail, some] = [bytes.slice(0, place), bytes.slice(place), Uint8Array.from(given)];
  const rest = tail.slice(some.length);
  if (kind === "flip" && tail.length > 0) tail[0] = (tail[0] ?? 0) ^ (some[0] ?? 1);
  const parts = {
    cut: [head],
    insert: [head, some, tail],
    remove: [head, rest],
    copy: [head, tail.slice(0, 40), tail],
    flip: [head, tail],
    set: [head, some, rest],
  }[kind];
  return new Uint8Array(Buffer.concat(parts ?? []));
}

/** Header fields as they are, and as they should not be. */
const numberLike = fc.oneof(
  fc.integer({ min: 0, max: 40 }),
  fc.constantFrom<unknown>(-1, 0.5, 1e300, 2 ** 32, 2 ** 53, 2 ** 63, null, "4", true, [], {}),
);
const entryLike = fc.record(
  {
    dtype: fc.oneof(
      fc.constantFrom("F32", "F16", "BF16", "F64", "I64", "F8_E4M3", "F8_E8M0", "F4", "U8", "C64"),
      fc.constantFrom<unknown>("F33", "", "__proto__", null, 5),
    ),
    shape: fc.oneof(
      { weight: 5, arbitrary: fc.array(numberLike, { maxLength: 4 }) },
      { weight: 1, arbitrary: numberLike },
    ),
    data_offsets: fc.oneof(
      { weight: 5, arbitrary: fc.tuple(numberLike, numberLike) },
      { weight: 1, arbitrary: fc.array(numberLike, { maxLength: 3 }) },
    ),
    strides: numberLike,
  },
  { requiredKeys: [] },
);
const name = fc.oneof(
  fc.constantFrom("a", "b", "c", "__proto__", "__metadata__", "constructor", ""),
  fc.string({ unit: "binary", maxLength: 5 }),
);

describe(properties("files"), { timeout: 120_000 + 200 * RUNS }, () => {
  it("a .safetensors file that was changed anywhere is read or a typed error", () => {
    const file = fc.constantFrom(...FILES);
    const changes = fc.array(change, { minLength: 1, maxLength: 3 });
    holds(
      fc.tuple(file, changes),
      ([file, changes]) => expectSafetensorsHolds(changes.reduce(changed, file)),
      RUNS * TIMES,
    );
    expectBoth();
  });

  it("one whose header was changed, and says its size as it is, is read or a typed error", () => {
    const parts = fc.constantFrom(...FILES).map(partsOf);
    const changes = fc.array(change, { minLength: 1, maxLength: 3 });
    holds(
      fc.tuple(parts, changes),
      ([{ header, data }, changes]) => {
        const text = changes.reduce(changed, new TextEncoder().encode(header));
        expectSafetensorsHolds(fileOf(text, data));
      },
      RUNS * TIMES,
    );
    expectBoth();
  });

  it("one with a header of anything is read or a typed error", () => {
    const entries = fc.array(
      fc.tuple(
        name,
        fc.oneof({ weight: 9, arbitrary: entryLike }, { weight: 1, arbitrary: fc.jsonValue() }),
      ),
      { maxLength: 4 },
    );
    holds(
      fc.tuple(entries, fc.integer({ min: 0, max: 60 })),
      ([entries, size]) => {
        // As text, in which a name may come twice.
        const fields = entries.map(
          ([name, entry]) => `${JSON.stringify(name)}:${JSON.stringify(entry)}`,
        );
        expectSafetensorsHolds(fileOf(`{${fields.join()}}`, size));
      },
      RUNS * TIMES,
    );
    expectBoth();
  });

  it("one of entries that lie end to end is read, whatever their names, types and order", () => {
    const size = fc.integer({ min: 0, max: 5 });
    const kind = fc.constantFrom<[string, number, number]>(
      ...([
        ["F32", 4, 4],
        ["F16", 2, 4],
        ["BF16", 2, 4],
        ["F64", 8, 8],
        ["I64", 8, 8],
        ["F8_E5M2", 1, 4],
      ] as [string, number, number][]),
    );
    const entry = fc.tuple(
      fc.string({ unit: "grapheme", maxLength: 6 }),
      kind,
      fc.array(size, { maxLength: 3 }),
    );
    holds(
      fc
        .uniqueArray(entry, { selector: ([name]) => name, maxLength: 6 })
        .filter((all) => all.every(([name]) => name !== "__metadata__")),
      (all) => {
        let end = 0;
        const fields = all.map(([name, [dtype, bytes], shape]) => {
          const begin = end;
          end += bytes * shape.reduce((a, b) => a * b, 1);
          return [
            `${JSON.stringify(name)}:${JSON.stringify({ dtype, shape, data_offsets: [begin, end] })}`,
            name,
          ] as const;
        });
        const header = `{${fields
          .map(([text]) => text)
          .reverse()
          .join()}}`;
        const data = Uint8Array.from({ length: end }, (_, i) => (i * 37) % 251);
        const dict = fromSafetensors(fileOf(header, data));
        expect(Object.keys(dict).sort()).toEqual(fields.map(([, name]) => name).sort());
        const expected = all.reduce(
          (sum, [, [, , bytes], shape]) => sum + bytes * shape.reduce((a, b) => a * b, 1),
          0,
        );
        expect(bytesOf(dict)).toBe(expected);
        expect(fromSafetensors(toSafetensors(dict))).toEqual(dict);
      },
    );
  });

  it("a layers model that was changed anywhere is read or a typed error", () => {
    const manifest = JSON.stringify(told("tfjs_converter/weights_manifest.json"));
    const paths = [...manifest.matchAll(/group\d-shard\dof\d\.bin/g)].map(([path]) => path);
    const files = paths.map((path) => fixture(`tfjs_converter/${path}`));
    const changes = fc.array(change, { minLength: 1, maxLength: 3 });
    const where = fc.constantFrom("manifest", "files", "both");
    const prefix = fc.constantFrom("", "plain/", "bytes/", "words/", "halves/", "dense/");
    holds(
      fc.tuple(changes, where, prefix),
      ([changes, where, prefix]) => {
        const text = new TextEncoder().encode(manifest);
        const given = where === "files" ? text : changes.reduce(changed, text);
        const its =
          where === "manifest"
            ? files
            : files.map((file, i) => (i % 2 ? file : changes.reduce(changed, file)));
        const model = new TextDecoder().decode(given);
        const dict = read(() => fromLayersModel(model, its, { prefix }));
        const size = its.reduce((sum, { length }) => sum + length, 0);
        if (wasRead(dict)) expect(bytesOf(dict)).toBeLessThanOrEqual(4 * size);
      },
      RUNS * TIMES,
    );
    expectBoth();
  });

  it("whatever is handed over is taken or a typed error", () => {
    const anything = fc.anything({
      ...{ withBigInt: true, withBoxedValues: true, withDate: true, withMap: true, withSet: true },
      ...{ withNullPrototype: true, withSparseArray: true, withTypedArray: true },
    });
    const numbers = fc.array(fc.integer({ min: 0, max: 4 }), { maxLength: 3 });
    const data = fc.oneof(
      fc.float32Array(),
      fc.float64Array(),
      fc.bigInt64Array(),
      fc.uint8Array(),
    );
    const dtype = fc.constantFrom(...["F32", "float16", "BOOL", "F4", "toString", undefined]);
    const entry = fc.oneof(
      data,
      fc.bigInt(),
      fc.record({ data, dtype, shape: numbers }, { requiredKeys: ["data"] }),
      fc.record({ data: anything, dtype: anything, shape: anything }, { requiredKeys: [] }),
      anything,
    );
    const spec = fc.record(
      {
        name: fc.string(),
        shape: fc.oneof(numbers, anything),
        dtype: anything,
        quantization: anything,
      },
      { requiredKeys: [] },
    );
    const group = fc.record({
      paths: fc.oneof(fc.array(fc.string()), anything),
      weights: fc.array(spec),
    });
    holds(
      fc.tuple(anything, anything, fc.dictionary(fc.string(), entry), fc.array(group), data),
      ([first, second, dict, groups, bytes]) => {
        const call = (of: (...args: never[]) => object, ...args: unknown[]) =>
          read(() => of(...(args as never[])), CODES);
        for (const of of [fromSafetensors, inspectSafetensors, toSafetensors, fromLayersModel]) {
          call(of, first, second);
          call(of, second, first, first);
        }
        call(fromLayersModel, groups, first, second);
        call(fromLayersModel, groups, bytes);
        const written = call(toSafetensors, dict, { metadata: first });
        wasRead(written);
        const file = call(toSafetensors, dict);
        if (!wasRead(file)) return;
        const entries = inspectSafetensors(file as Uint8Array).entries;
        expect(Object.keys(entries).sort()).toEqual(Object.keys(dict).sort());
      },
      RUNS * 4,
    );
    expectBoth();
  });
});
