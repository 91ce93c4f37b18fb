/** Files of safetensors: read, written and looked into. No kernel is asked, and none may be touched. */
import {
  fromSafetensors,
  inspectSafetensors,
  type SafetensorsContents,
  toSafetensors,
  type WeightDict,
} from "batchnorm-wasm/weights";
import type { Random } from "../../scripts/random.mjs";
import { fileOf, partsOf } from "../weight-files.js";
import type { Kind } from "./kinds.js";
import { hostileTensor, Options } from "./options.js";
import { type Anything, product, same } from "./theme.js";
import {
  type Arg,
  arg,
  bytesOf,
  detach,
  endless,
  FORMS,
  hostile,
  hostileShape,
  inForm,
  NO_FORMS,
  saying,
  transparent,
} from "./values.js";
import { Fault, type Manner, type TensorModel, type World } from "./world.js";

export const WEIGHTS: readonly Kind[] = [
  ["toSafetensors", 3, write],
  ["fromSafetensors", 3, (world, random, manner) => read(world, random, manner, fromSafetensors)],
  [
    "inspectSafetensors",
    1,
    (world, random, manner) => read(world, random, manner, inspectSafetensors),
  ],
];

/** Codes that have nothing to do with files. */
const NEVER = ["kernel", "shape-mismatch", "overlap", "stale", "foreign-kernel", "not-built"];
/** Codes that readers of files don't have, either. */
export const NEVER_READING = [...NEVER, "invalid-shape", "disposed", "unsupported"];

/** Bits of a value of each type, in the order that files don't have them in: from the last to the first. */
const BITS: Readonly<Record<string, number>> = Object.assign(Object.create(null), {
  ...{ BOOL: 8, F4: 4, F6_E2M3: 6, U8: 8, F8_E5M2: 8, I16: 16, U16: 16, F16: 16, BF16: 16 },
  ...{ I32: 32, F32: 32, C64: 64, F64: 64, I64: 64, U64: 64 },
});
const DTYPES = Object.keys(BITS);
const COMMON = ["F32", "F32", "F16", "BF16", "F64", "I64", "F8_E5M2"];
const NAMES = [
  ...["a.weight", "a.bias", "a.", "b", "", "0", "__proto__", "constructor", "toString"],
  ...["é", "\uffff", "🙂", 'quote "', "line\n", "back\\", "x".repeat(70)],
];
const PREFIXES = ["", "a.", "b", "__proto__", "none."];

/** What a file has, or is to have, of a tensor. */
export interface Stored {
  readonly name: string;
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/** Bytes as a literal for `bytesOf`. */
function letters(bytes: Uint8Array): string {
  const text = JSON.stringify(Buffer.from(bytes).toString("latin1"));
  return text.replace(/[\x7f-\xff]/g, (one) => `\\x${one.charCodeAt(0).toString(16)}`);
}

export function joined(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  // A copy: what is concatenated lies in a larger buffer.
  return new Uint8Array(Buffer.concat(parts));
}

export function someBytes(random: Random, length: number): Uint8Array<ArrayBuffer> {
  return Uint8Array.from({ length }, () => random.below(256));
}

export function someShape(random: Random): number[] {
  return Array.from({ length: random.below(4) }, () => random.pick([0, 1, 1, 2, 3, 4]));
}

function some(random: Random, name: string, dtypes: readonly string[]): Stored {
  const dtype = random.pick(dtypes);
  const bits = BITS[dtype] as number;
  // Whole bytes of what is smaller.
  const shape = bits < 8 ? [...someShape(random), 4] : someShape(random);
  return { name, dtype, shape, bytes: someBytes(random, (product(shape) * bits) / 8) };
}

export function someNames(random: Random, most: number): string[] {
  return [...new Set(Array.from({ length: random.below(most + 1) }, () => random.pick(NAMES)))];
}

function someNotes(random: Random): Record<string, string> | null {
  if (random.oneIn(2)) return null;
  return Object.fromEntries(someNames(random, 3).map((name) => [name, random.pick(NAMES)]));
}

/** Bytes in a form that they can have, or in another one. */
export function formed(random: Random, manner: Manner, bytes: Uint8Array<ArrayBuffer>) {
  const isNone = manner === "hostile" && random.oneIn(12);
  const form = random.pick(isNone ? NO_FORMS : FORMS);
  return { ...arg(inForm(bytes, form), ""), isNone, code: codeOf(bytes, form) };
}

const codeOf = (bytes: Uint8Array, form: string) => () =>
  `inForm(bytesOf(${letters(bytes)}), "${form}")`;

/** A call while somebody has put something on every object. */
export function polluted(random: Random, manner: Manner, names: readonly string[]) {
  const name = random.pick(names);
  if (manner === "mild" || !random.oneIn(12)) {
    return { run: <T>(call: () => T) => call(), code: (code: string) => code };
  }
  const everything = Object.prototype as unknown as Record<string, unknown>;
  return {
    run: <T>(call: () => T) => {
      everything[name] = [1];
      try {
        return call();
      } finally {
        delete everything[name];
      }
    },
    code: (code: string) =>
      `Object.prototype.${name} = [1]; try { ${code} } finally { delete Object.prototype.${name}; }`,
  };
}

/** The number that 16 bits are. */
function half(bits: number): number {
  const [exponent, fraction] = [(bits >> 10) & 31, bits & 1023];
  const sign = bits >> 15 ? -1 : 1;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (exponent ? 1024 + fraction : fraction) * 2 ** (Math.max(exponent, 1) - 25);
}

/** The values of bytes; `null` of a type that no norm has, `undefined` of one that isn't looked at here. */
function decoded(dtype: string, given: Uint8Array) {
  const bytes = Uint8Array.from(given);
  switch (dtype) {
    case "F32":
      return new Float32Array(bytes.buffer);
    case "F64":
      return new Float64Array(bytes.buffer);
    case "I64":
      return new BigInt64Array(bytes.buffer);
    case "F16":
      return Float32Array.from(new Uint16Array(bytes.buffer), half);
    case "BF16":
      return new Float32Array(
        Uint32Array.from(new Uint16Array(bytes.buffer), (b) => b << 16).buffer,
      );
    case "F8_E5M2":
      return Float32Array.from(bytes, (byte) => half(byte << 8));
    default:
      return /^F8_(E4M3|E5M2|E8M0|E4M3FNUZ|E5M2FNUZ)$/.test(dtype) ? undefined : null;
  }
}

/** Throws where an entry isn't that of the shape and these values, all of its own. */
function checkEntry(name: string, got: WeightDict[string] | undefined, want: Omit<Stored, "name">) {
  const values = decoded(want.dtype, want.bytes);
  if (!got || !same(got.shape, want.shape)) {
    throw new Fault("a weight has another shape", `${name}: [${got?.shape}], not [${want.shape}]`);
  }
  const { data } = got;
  if (data.buffer.byteLength !== data.byteLength || data.length !== product(want.shape)) {
    throw new Fault("a weight is no copy of its own", name);
  }
  if (!values) return;
  const isSame =
    data.constructor === values.constructor &&
    // What a NaN carries, too, where reading keeps the bits.
    (Buffer.from(data.buffer).equals(Buffer.from(values.buffer)) ||
      (/^F16|^F8/.test(want.dtype) && data.every((one, i) => Object.is(one, values[i]))));
  if (!isSame) throw new Fault("a weight has other values", `${name}: ${data}, not ${values}`);
}

/** Whether a header has a name twice, of which `JSON.parse` says nothing. */
const hasTwice = (header: string, names: readonly string[]) =>
  [...header.matchAll(/"(?:[^"\\]|\\.)*"(?=\s*:\s*\{)/g)].length !== names.length;

/** A file's header by `JSON.parse`, and its data; throws where they contradict each other. */
function parsed(file: Uint8Array) {
  let all: Record<string, Stored & { data_offsets: [number, number] }>;
  let data: Uint8Array;
  try {
    const { header, data: behind } = partsOf(file);
    [all, data] = [JSON.parse(header), behind];
    if (hasTwice(header, Object.keys(all))) throw new Error("a name comes twice");
  } catch (error) {
    throw new Fault("a file is taken that is none", String(error));
  }
  const { __metadata__: notes = {}, ...entries } = all;
  let last = 0;
  // A spread leaves out none, not even `__proto__`.
  const stored = Object.entries(entries)
    .sort(([, { data_offsets: a }], [, { data_offsets: b }]) => a[0] - b[0] || a[1] - b[1])
    .map(
      ([
        name,
        {
          dtype,
          shape,
          data_offsets: [begin, end],
        },
      ]): Stored => {
        const needed = ((BITS[dtype] ?? Number.NaN) * product(shape)) / 8;
        if (begin !== last || end < begin || (dtype in BITS && needed !== end - begin)) {
          throw new Fault("a file is taken that contradicts itself", `${name}: [${begin}, ${end}]`);
        }
        last = end;
        return { name, dtype, shape, bytes: Uint8Array.from(data.subarray(begin, end)) };
      },
    );
  if (last !== data.length) throw new Fault("a file is taken that is cut off", `${last}`);
  return { notes: notes as unknown as Record<string, string>, stored };
}

/**
 * A file as others may write it: fields in any order, spaces, escapes.
 *
 * @param step bytes from the end of an entry to the next one: other than 0 they lie apart, or overlap
 */
function laidOut(
  random: Random,
  entries: readonly Stored[],
  notes: Record<string, string> | null,
  step = 0,
) {
  const shuffled = <T>(all: T[]) =>
    all
      .map((one) => [random.uniform(), one] as const)
      .sort(([a], [b]) => a - b)
      .map(([, one]) => one);
  const space = () => random.pick(["", "", "", " ", "\n\t"]);
  const text = (value: string) =>
    random.oneIn(4)
      ? `"${value.replace(/[\s\S]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`)}"`
      : JSON.stringify(value);
  const object = (fields: [name: string, value: string][]) =>
    `{${space()}${shuffled(fields)
      .map(([name, value]) => `${text(name)}${space()}:${space()}${value}${space()}`)
      .join(`,${space()}`)}}`;
  const list = (numbers: readonly number[]) => `[${space()}${numbers.join(`,${space()}`)}]`;
  let end = 0;
  const fields = entries.map(({ name, dtype, shape, bytes }): [string, string] => {
    const offsets = list([end, end + bytes.length]);
    end += bytes.length + step;
    return [
      name,
      object([
        ["dtype", text(dtype)],
        ["shape", list(shape)],
        ["data_offsets", offsets],
      ]),
    ];
  });
  if (notes) {
    const all = Object.entries(notes).map(([name, note]): [string, string] => [name, text(note)]);
    fields.push(["__metadata__", object(all)]);
  }
  const data = new Uint8Array(Math.max(end - step, 0));
  data.set(joined(entries.map(({ bytes }) => bytes)).subarray(0, data.length));
  return fileOf(object(fields) + random.pick(["", "", "   ", "\n"]), data);
}

/** A file whose header says itself what can't be: entries that overlap or lie apart, a name twice. */
function forged(random: Random, entries: readonly Stored[]): Uint8Array<ArrayBuffer> {
  const [first] = entries;
  if (first && random.oneIn(2)) return laidOut(random, [...entries, first], null);
  return laidOut(random, entries, null, random.pick([-4, -1, 1, 4]));
}

/** What can stand in a header, or in a manifest, and should not stand anywhere. */
const TOKENS = [
  ...["", ",", ":", "{", "}", "[", "]", "null", "true", "{}", "[]", "[[1]]", "[0,0]", "/**/"],
  ...["0", "1", "4", "-1", "-0", "01", "1.0", "1e3", "4294967296", "9007199254740993", "1e999"],
  ...['""', '"__proto__"', '"__metadata__"', '"dtype"', '"shape"', '"data_offsets"', '"name"'],
  ...['"F32"', '"F16"', '"F33"', '"float16"', '"uint16"', '"float32"', '"string"', '"toString"'],
  ...['"\\ud800"', '"\\x"', '"\0"', '"', "\\", "\ufeff", "\xff", `[${"1,".repeat(70)}1]`],
];

/** Text with a token that is another one, is there twice, or is not there. */
export function mistyped(random: Random, text: string): string {
  const all = [...text.matchAll(/"(?:[^"\\]|\\.)*"|-?\d+|[{}[\]:,]/g)];
  if (all.length === 0) return random.pick(TOKENS);
  const { index, 0: token } = random.pick(all);
  const other = random.oneIn(4) ? random.pick(all)[0] : random.pick(TOKENS);
  return text.slice(0, index) + other + text.slice(index + token.length);
}

/** A file of which something is wrong, or only unusual. */
function spoilt(random: Random, file: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  const { header, data } = partsOf(file);
  const size = BigInt(Buffer.byteLength(header));
  const copy = file.slice();
  switch (random.below(9)) {
    case 8: {
      // A quotation mark and a letter as UTF-8 that is too long, a surrogate, and half a character.
      const wrong = random.pick(["\xc0\xa2", "\xc1\xa1", "\xed\xa0\x80", "\xc3"]);
      const text = Buffer.from(header).toString("latin1");
      return fileOf(bytesOf(text.replace(/"(?=\s*:)/, () => `${wrong}"`)), data);
    }
    case 0:
      return file.slice(0, random.below(file.length));
    case 1:
      return bytesOf(Buffer.from(file).toString("latin1") + "x".repeat(1 + random.below(9)));
    case 2:
      for (let i = random.below(3); i >= 0; i--) {
        const at = random.below(copy.length);
        copy[at] = (copy[at] as number) ^ (1 << random.below(8));
      }
      return copy;
    case 3: {
      const sizes = [0n, 1n, size - 1n, size + 1n, size + 8n, 100_000_001n, 2n ** 32n + size];
      return fileOf(header, data, random.pick([...sizes, 2n ** 53n, 2n ** 63n, 2n ** 64n - 1n]));
    }
    case 4:
      return fileOf(mistyped(random, mistyped(random, header)), data);
    default:
      return fileOf(mistyped(random, header), data);
  }
}

/** Options of a reader, and what they are if that is certain. */
export function readingOptions(world: World, random: Random, manner: Manner) {
  const options = new Options();
  const [prefix, strict] = [random.pick(PREFIXES), random.oneIn(2)];
  if (random.oneIn(2)) options.set("prefix", arg(prefix, JSON.stringify(prefix)));
  if (random.oneIn(2)) options.set("strict", arg(strict, `${strict}`));
  if (manner === "hostile" && random.oneIn(6)) {
    options.mutate(world, random, ["prefix", "strict"]);
  }
  const value = <T>(name: string, absent: T) => (options.one(name).value ?? absent) as T;
  return { options, prefix: value("prefix", ""), strict: value("strict", true) };
}

type Reading = Pick<ReturnType<typeof readingOptions>, "prefix" | "strict">;

/** Whether a dict of these can be read. */
export function canRead(
  all: readonly { name: string; dtype: string }[],
  { prefix, strict }: Reading,
) {
  const behind = all.filter(({ name }) => name.startsWith(prefix));
  const isNorms = ({ dtype }: { dtype: string }) => decoded(dtype, new Uint8Array(0)) !== null;
  return (prefix === "" || behind.length > 0) && (!strict || behind.every(isNorms));
}

/** Throws where a dict isn't what of these is behind the prefix. */
export function checkDict(dict: WeightDict, all: readonly Stored[], reading: Reading): void {
  const { prefix } = reading;
  if (!canRead(all, reading)) throw new Fault("a dict is read that can't be", prefix);
  const wanted = all.filter(
    ({ name, dtype, bytes }) => name.startsWith(prefix) && decoded(dtype, bytes) !== null,
  );
  const names = wanted.map(({ name }) => name.slice(prefix.length));
  if (!same(Object.keys(dict).sort() as never, names.sort() as never)) {
    throw new Fault("a dict has other names", `${Object.keys(dict)}, not ${names}`);
  }
  for (const one of wanted) {
    const rest = one.name.slice(prefix.length);
    checkEntry(one.name, Object.getOwnPropertyDescriptor(dict, rest)?.value, one);
  }
}

function read(
  world: World,
  random: Random,
  manner: Manner,
  call: typeof fromSafetensors | typeof inspectSafetensors,
): void {
  const isInspection = call === inspectSafetensors;
  const entries = someNames(random, 4).map((name) =>
    some(random, name, random.oneIn(4) ? DTYPES : COMMON),
  );
  const whole = laidOut(random, entries, someNotes(random));
  const isSpoilt = manner === "hostile" && random.oneIn(2);
  const bytes = isSpoilt
    ? random.oneIn(6)
      ? forged(random, entries)
      : spoilt(random, whole)
    : whole;
  const { options, prefix, strict } = readingOptions(world, random, manner);
  const file: Arg & { isNone: boolean } =
    manner === "hostile" && random.oneIn(30)
      ? { ...hostile(random), isNone: true }
      : formed(random, manner, bytes);
  let built = options.build();
  const name = world.name("b");
  const goes = manner === "hostile" && !isInspection && random.oneIn(20);
  if (goes) {
    const value = {
      get prefix() {
        detach(file.value);
        return "";
      },
    };
    built = arg(value, `{ get prefix() { detach(${name}); return ""; } }`);
  }
  const around = polluted(random, manner, ["shape", "dtype", "data_offsets", "strict", "name"]);
  const code = () =>
    isInspection
      ? `inspectSafetensors(${file.code()});`
      : `fromSafetensors(${name} = ${file.code()}, ${built.code()});`;
  const mayRead = isInspection || (options.benign && canRead(entries, { prefix, strict }));
  world.attempt(
    () => around.code(options.surrounded(code())),
    () =>
      around.run(() =>
        options.surround(() => call(file.value as Anything, built.value as Anything)),
      ),
    {
      valid: !isSpoilt && !file.isNone && !goes && mayRead,
      never: NEVER_READING,
      returned: (result: SafetensorsContents & WeightDict) => {
        if (file.isNone) throw new Fault("bytes are taken that are none", file.code());
        if (!isInspection && !goes) options.checkTaken();
        const { stored, notes } = parsed(bytes);
        if (isInspection) checkContents(result, stored, notes);
        else if (goes) checkDict(result, stored, { prefix: "", strict: true });
        else if (options.known) checkDict(result, stored, { prefix, strict });
      },
    },
  );
}

function checkContents(
  { entries, metadata }: SafetensorsContents,
  stored: readonly Stored[],
  notes: Record<string, string>,
): void {
  const wanted = stored.map(({ name, dtype, shape }) => [name, { dtype, shape }] as const);
  const text = (value: object) => JSON.stringify(Object.entries(value).sort());
  const [got, want] = [
    text(entries) + text(metadata),
    text(Object.fromEntries(wanted)) + text(notes),
  ];
  if (got !== want) throw new Fault("a file has other contents", `${got}, not ${want}`);
}

/** An entry to be written, and what is to be of it where that is certain. */
interface Given extends Arg {
  readonly stored?: Omit<Stored, "name">;
  readonly model?: TensorModel;
  /** Whether it can't be written. */
  readonly isNone?: boolean;
}

const KINDS: Readonly<Record<string, new (buffer: ArrayBuffer) => object>> = {
  ...{ F32: Float32Array, F64: Float64Array, I64: BigInt64Array },
  ...{ F16: Uint16Array, BF16: Uint16Array, I16: Uint16Array, U16: Uint16Array },
};
const SPELLINGS: Readonly<Record<string, string>> = {
  ...{ F16: "float16", BF16: "bfloat16", F32: "float32", F64: "float64", I64: "int64" },
};

function given(world: World, random: Random, manner: Manner): Given {
  if (manner === "hostile" && random.oneIn(6)) return hostileEntry(world, random);
  const model = random.oneIn(4) ? world.pick(random, world.tensors) : undefined;
  if (model) {
    const bytes = new Uint8Array(world.values(model).buffer as ArrayBuffer);
    return {
      ...arg(model.tensor, model.name),
      ...{ model, stored: { dtype: "F32", shape: model.shape, bytes } },
    };
  }
  if (random.oneIn(8)) {
    const count = BigInt.asIntN(
      random.pick([8, 32, 53, 64]),
      BigInt(random.below(2 ** 53)) * 4099n,
    );
    const bytes = new Uint8Array(BigInt64Array.of(count).buffer);
    const stored = { dtype: "I64", shape: [], bytes };
    return random.oneIn(2) && Number.isSafeInteger(Number(count))
      ? { ...arg(Number(count), `${count}`), stored }
      : { ...arg(count, `${count}n`), stored };
  }
  const stored = some(random, "", random.oneIn(2) ? DTYPES : COMMON);
  const { dtype, shape, bytes } = stored;
  const Kind = random.oneIn(2) ? KINDS[dtype] : undefined;
  const data: Given = Kind
    ? arg(new Kind(bytes.slice().buffer), `new ${Kind.name}(bytesOf(${letters(bytes)}).buffer)`)
    : formed(random, manner, bytes);
  const { isNone } = data;
  if (Kind && Kind !== Uint16Array && shape.length === 1 && random.oneIn(2)) {
    return { ...data, stored };
  }
  const isTold = !Kind || Kind === Uint16Array || random.oneIn(3);
  const told = isTold ? (random.oneIn(2) && SPELLINGS[dtype]) || dtype : undefined;
  return {
    value: { data: data.value, dtype: told, shape: [...shape] },
    code: () =>
      `{ data: ${data.code()}, dtype: ${told && JSON.stringify(told)}, shape: [${shape}] }`,
    ...(isNone ? { isNone } : { stored }),
  };
}

function hostileEntry(world: World, random: Random): Given {
  const data = new Float32Array(2);
  const of = (fields: object, code: string) => arg(fields, `{ ${code} }`);
  const one = hostile(random);
  switch (random.below(9)) {
    case 0:
      return one;
    case 1:
      return hostileTensor(world, random);
    case 2:
      return of({ data: one.value, shape: [2] }, `data: ${one.code()}, shape: [2]`);
    case 3: {
      const shape = hostileShape(random);
      return of({ data, shape: shape.value }, `data: new Float32Array(2), shape: ${shape.code()}`);
    }
    case 4:
      return of(
        { data, dtype: one.value, shape: [2] },
        `data: new Float32Array(2), dtype: ${one.code()}, shape: [2]`,
      );
    case 5: {
      const length = random.pick<readonly [unknown, string]>([
        ...([
          [Symbol(), "Symbol()"],
          [2n, "2n"],
          ["x", '"x"'],
        ] as const),
        ...[NaN, -1, 0.5, 2 ** 40, undefined, null].map((one) => [one, `${one}`] as const),
      ]);
      return {
        ...of(
          { data: data.subarray(1), shape: saying(length[0], [1]) },
          `data: new Float32Array(1), shape: saying(${length[1]}, [1])`,
        ),
        isNone: true,
      };
    }
    case 6:
      return of({ data, shape: endless(1) }, "data: new Float32Array(2), shape: endless(1)");
    case 7: {
      const name = world.name("b");
      const entry = {
        data,
        get shape() {
          detach(data);
          return [2];
        },
      };
      return {
        ...of(
          entry,
          `data: ${name} = new Float32Array(2), get shape() { detach(${name}); return [2]; }`,
        ),
        isNone: true,
      };
    }
    default: {
      const seed = random.below(2 ** 31);
      const inside: (() => string)[] = [];
      const entry = {
        get data() {
          if (inside.length === 0) world.inside(seed, inside);
          return data;
        },
        shape: [2],
      };
      return {
        value: entry,
        code: () =>
          `{ get data() { ${inside.map((line) => line()).join(" ")} return new Float32Array(2); }, shape: [2] }`,
      };
    }
  }
}

/** The file of entries as the format's authors would write it. */
function written(entries: readonly Stored[], notes: Record<string, string> | null): Buffer {
  const byBytes = (a: string, b: string) => Buffer.compare(Buffer.from(a), Buffer.from(b));
  const sorted = [...entries].sort(
    (a, b) => DTYPES.indexOf(b.dtype) - DTYPES.indexOf(a.dtype) || byBytes(a.name, b.name),
  );
  let end = 0;
  const fields = sorted.map(({ name, dtype, shape, bytes }) => {
    const offsets = [end, end + bytes.length];
    end += bytes.length;
    return `${JSON.stringify(name)}:{"dtype":"${dtype}","shape":[${shape}],"data_offsets":[${offsets}]}`;
  });
  if (notes) {
    const all = Object.keys(notes).sort(byBytes);
    const texts = all.map((name) => `${JSON.stringify(name)}:${JSON.stringify(notes[name])}`);
    fields.unshift(`"__metadata__":{${texts}}`);
  }
  const header = Buffer.from(`{${fields}}`);
  const padded = Buffer.concat([header, Buffer.alloc((8 - (header.length % 8)) % 8, " ")]);
  return Buffer.from(fileOf(padded, joined(sorted.map(({ bytes }) => bytes))));
}

/** What is no dict, though it is an object. */
const NO_DICTS: readonly (readonly [code: string, make: () => unknown])[] = [
  ["new Set([1])", () => new Set([1])],
  ["Promise.resolve({})", () => Promise.resolve({})],
  ["new ArrayBuffer(8)", () => new ArrayBuffer(8)],
  ["transparent(new Map([[0, 1]]))", () => transparent(new Map([[0, 1]]))],
  ["new Date(0)", () => new Date(0)],
];

function write(world: World, random: Random, manner: Manner): void {
  const entries = someNames(random, 4).map((name) => ({ name, ...given(world, random, manner) }));
  const notes = someNotes(random);
  const options = new Options();
  if (notes) {
    const code = Object.entries(notes)
      .map(([name, note]) => `[${JSON.stringify(name)}]: ${JSON.stringify(note)}`)
      .join(", ");
    options.set("metadata", arg(notes, `{ ${code} }`));
  }
  if (manner === "hostile" && random.oneIn(6)) options.mutate(world, random, ["metadata"]);
  const built = options.build();
  const object = Object.fromEntries(entries.map(({ name, value }) => [name, value]));
  const code = () => entries.map(({ name, code }) => `[${JSON.stringify(name)}]: ${code()}`);
  const [dict, isNone] = random.pick<() => [Arg, boolean]>([
    () => [{ value: object, code: () => `{ ${code()} }` }, false],
    () => [
      {
        value: new Map(Object.entries(object)),
        code: () => `new Map(Object.entries({ ${code()} }))`,
      },
      false,
    ],
    () => [{ value: transparent(object), code: () => `transparent({ ${code()} })` }, false],
    () => {
      if (manner === "mild" || !random.oneIn(4)) {
        return [{ value: object, code: () => `{ ${code()} }` }, false];
      }
      const [text, make] = random.pick(NO_DICTS);
      return [arg(make(), text), true];
    },
  ])();
  const models = entries.flatMap(({ model }) => model ?? []);
  const stored = entries.flatMap(({ name, stored }): Stored[] =>
    stored ? [{ ...stored, name }] : [],
  );
  const isKnown = stored.length === entries.length && options.known;
  const around = polluted(random, manner, ["metadata", "dtype", "strides", "offset"]);
  world.attempt(
    () => around.code(options.surrounded(`toSafetensors(${dict.code()}, ${built.code()});`)),
    () =>
      around.run(() =>
        options.surround(() => toSafetensors(dict.value as Anything, built.value as Anything)),
      ),
    {
      valid: isKnown && !isNone && options.benign,
      never: NEVER,
      reads: isKnown && options.benign ? models : [],
      returned: (file: Uint8Array) => {
        options.checkTaken();
        if (isNone) throw new Fault("a dict is written that is none", dict.code());
        const wrong = entries.find(({ isNone }) => isNone);
        if (wrong) throw new Fault("an entry is written that is none", wrong.code().slice(0, 60));
        const metadata = options.one("metadata");
        if (isKnown && metadata.known) {
          const right = written(stored, (metadata.value ?? null) as typeof notes);
          if (!right.equals(file)) throw new Fault("a file has other bytes", `${right}`);
        }
        const found = parsed(file).stored;
        const names = found.map(({ name }) => name).sort();
        if (!same(names as never, entries.map(({ name }) => name).sort() as never)) {
          throw new Fault("a file has other names", `${names}`);
        }
        checkDict(fromSafetensors(file as Anything, { strict: false }), found, {
          prefix: "",
          strict: false,
        });
      },
    },
  );
}
