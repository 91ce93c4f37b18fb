/**
 * Values that no caller should pass, each with the code that makes it, and what that
 * code calls: a found sequence is printed as a program that imports this file.
 */
import { Random } from "../../scripts/random.mjs";

/** Something to pass, and how to write it down. */
export interface Arg {
  readonly value: unknown;
  readonly code: () => string;
}

/** A value whose code is known at once. */
export function arg(value: unknown, code: string): Arg {
  return { value, code: () => code };
}

/** What hostile getters throw: the only error that is not the package's and may come out. */
export const marker = new Error("thrown by a hostile getter");

export function raise(): never {
  Error.captureStackTrace(marker, raise);
  throw marker;
}

export type Filling = "plain" | "positive" | "wild" | "guard";

const WILD = [NaN, Infinity, -Infinity, 1e-40, -1e-45, 3e38, -3e38, -0, 0, 1, 1e-20, 1e20];

/** Data that a seed determines. `positive` can be a variance, `wild` has all that is not ordinary. */
export function numbers(length: number, seed: number, filling: Filling): Float32Array<ArrayBuffer> {
  const random = new Random(seed);
  const values = new Float32Array(length);
  // A NaN whose payload no computation makes.
  if (filling === "guard") new Uint32Array(values.buffer).fill(0x7fc5a5a5);
  else {
    for (let i = 0; i < length; i++) {
      values[i] =
        filling === "plain"
          ? (random.below(257) - 128) / 16
          : filling === "positive"
            ? 0.25 + random.below(61) / 16
            : random.pick(WILD);
    }
  }
  return values;
}

/** Weights of positions, or a mask of them; the first one counts. */
export function positions(
  length: number,
  seed: number,
  kind: "mask" | "weights",
): Float32Array<ArrayBuffer> {
  const random = new Random(seed);
  const values = Float32Array.from({ length }, () =>
    kind === "mask" ? random.below(2) : random.below(9) / 4,
  );
  values[0] = 1;
  return values;
}

/** A guarded stretch of memory: slots of data, and what must stay as it is around them. */
export function guarded(
  length: number,
  slots: readonly (readonly [at: number, length: number, seed: number, filling: Filling])[],
): Float32Array<ArrayBuffer> {
  const values = numbers(length, 0, "guard");
  for (const [at, length, seed, filling] of slots) values.set(numbers(length, seed, filling), at);
  return values;
}

/** A view whose buffer has gone elsewhere. */
export function detached(length: number): Float32Array {
  const values = new Float32Array(length);
  structuredClone(values.buffer, { transfer: [values.buffer] });
  return values;
}

/** A view that follows a buffer which has shrunk. */
export function shrunk(length: number): Float32Array {
  const Resizable = ArrayBuffer as new (bytes: number, options: object) => ArrayBuffer;
  const buffer = new Resizable(length * 4, { maxByteLength: length * 4 });
  const values = new Float32Array(buffer);
  (buffer as unknown as { resize?(bytes: number): void }).resize?.(4);
  return values;
}

/** Bytes from text, one for each letter, so that the files in a program can be read. */
export function bytesOf(letters: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(letters, (letter) => letter.charCodeAt(0));
}

/** Forms in which bytes can be handed over. */
export const FORMS = ["array", "part", "buffer", "shared", "resizable", "DataView", "lying"];
/** Forms that are no bytes, or no longer. */
export const NO_FORMS = ["detached", "gone", "shrunk", "Proxy", "words", "list", "looks"];

/** The same bytes in one of {@link FORMS} or {@link NO_FORMS}. */
export function inForm(bytes: Uint8Array<ArrayBuffer>, form: string): unknown {
  const { length } = bytes;
  const larger = new Uint8Array(length + 7);
  larger.set(bytes, 3);
  switch (form) {
    case "part":
      return larger.subarray(3, 3 + length);
    case "buffer":
      return bytes.slice().buffer;
    case "shared": {
      const shared = new Uint8Array(new SharedArrayBuffer(length));
      shared.set(bytes);
      return shared;
    }
    case "DataView":
      return new DataView(larger.buffer, 3, length);
    case "resizable":
    case "shrunk": {
      const Resizable = ArrayBuffer as new (bytes: number, options: object) => ArrayBuffer;
      const buffer = new Resizable(length + 3, { maxByteLength: length + 3 });
      const view = new Uint8Array(buffer, 3, length);
      view.set(bytes);
      if (form === "shrunk") (buffer as unknown as { resize?(bytes: number): void }).resize?.(2);
      return view;
    }
    case "lying":
      return Object.defineProperties(bytes.slice(), {
        length: { value: 3 },
        byteOffset: { value: 4 },
        buffer: { value: new ArrayBuffer(2) },
        slice: { value: raise },
        subarray: { value: raise },
      });
    case "detached":
      return detach(bytes.slice());
    case "gone":
      return detach(bytes.slice()).buffer;
    case "Proxy":
      return transparent(bytes);
    case "words":
      return new Uint32Array(length);
    case "list":
      return [...bytes];
    case "looks":
      return { buffer: larger.buffer, byteOffset: 3, byteLength: length, length };
    default:
      return bytes;
  }
}

/** Transfers the buffer of a view, or a buffer, elsewhere. */
export function detach<T>(bytes: T): T {
  const buffer = ArrayBuffer.isView(bytes) ? bytes.buffer : bytes;
  // Of others, and of what is gone already, there is none to transfer.
  if (buffer instanceof ArrayBuffer) structuredClone(buffer, { transfer: [buffer] });
  return bytes;
}

/** An array that says it had another length. */
export function saying(length: unknown, array: readonly unknown[]): unknown[] {
  return new Proxy([...array], {
    get: (target, key) => (key === "length" ? length : Reflect.get(target, key)),
  });
}

/** An array whose elements are all the same, and without an end. */
export function endless(one: unknown): unknown[] {
  return new Proxy([], {
    get: (target, key) =>
      key === "length"
        ? Infinity
        : /^\d/.test(String(key))
          ? typeof one === "function"
            ? one(key)
            : one
          : Reflect.get(target, key),
  });
}

/** An array whose own methods lie about what it holds. */
export class Lying extends Array<unknown> {
  static of2(...items: unknown[]): Lying {
    const made = new Lying();
    for (let i = 0; i < items.length; i++) made[i] = items[i];
    return made;
  }
  override *[Symbol.iterator](): ArrayIterator<unknown> {
    for (let i = 0; i < 1000; i++) yield 7;
  }
  override includes = () => false;
  override indexOf = () => -1;
  override some = () => false;
  override reduce = () => 1 as never;
  override findIndex = () => -1;
  override map = () => [1] as never;
  override slice = () => [1] as never;
  override forEach = () => {};
}

/** An array that holds `first` for so many reads, and `then` from there on. */
export function changing(first: readonly unknown[], then: readonly unknown[], reads: number) {
  let left = reads;
  return new Proxy([...first], {
    get(target, key) {
      const from: readonly unknown[] = left-- > 0 ? target : then;
      const value: unknown = Reflect.get(from, key);
      return typeof value === "function" ? value.bind(from) : value;
    },
  });
}

/** A handler that does nothing of its own. */
export const transparent = (value: object) => new Proxy(value, {});

/** A Proxy whose every trap throws. */
export const throwing = (value: object) =>
  new Proxy(value, {
    get: raise,
    has: raise,
    ownKeys: raise,
    getPrototypeOf: raise,
    getOwnPropertyDescriptor: raise,
  });

const LONG = "x".repeat(1e6);
const [ONES, ZEROS] = [1, 0].map((size) => new Array<number>(20000).fill(size));

/** Of every kind that JavaScript has. */
const HOSTILE: readonly (readonly [code: string, make: () => unknown])[] = [
  ["undefined", () => undefined],
  ["null", () => null],
  ["false", () => false],
  ["true", () => true],
  ["0", () => 0],
  ["-0", () => -0],
  ["1", () => 1],
  ["-1", () => -1],
  ["2", () => 2],
  ["-3", () => -3],
  ["0.5", () => 0.5],
  ["5", () => 5],
  ["NaN", () => NaN],
  ["Infinity", () => Infinity],
  ["-Infinity", () => -Infinity],
  ["2 ** 31", () => 2 ** 31],
  ["2 ** 32", () => 2 ** 32],
  ["2 ** 32 + 1", () => 2 ** 32 + 1],
  ["2 ** 53", () => 2 ** 53],
  ["-(2 ** 31)", () => -(2 ** 31)],
  ['""', () => ""],
  ['"x"', () => "x"],
  ['"0"', () => "0"],
  ['"1"', () => "1"],
  ['"length"', () => "length"],
  ['"constructor"', () => "constructor"],
  ['"__proto__"', () => "__proto__"],
  ['"x".repeat(1e6)', () => LONG],
  ["[]", () => []],
  ["[1]", () => [1]],
  ["[NaN, 1]", () => [NaN, 1]],
  ["[[1]]", () => [[1]]],
  ["{}", () => ({})],
  ["Object.create(null)", () => Object.create(null)],
  ["{ length: 2 }", () => ({ length: 2 })],
  ["{ length: 1e9 }", () => ({ length: 1e9 })],
  ["{ data: [1, 2], shape: [2] }", () => ({ data: [1, 2], shape: [2] })],
  ["{ data: [1], shape: [2 ** 31] }", () => ({ data: [1], shape: [2 ** 31] })],
  ["{ storage: {} }", () => ({ storage: {} })],
  ["Symbol()", () => Symbol()],
  ["5n", () => 5n],
  ["() => {}", () => () => {}],
  ["function* () {}", () => function* () {}],
  ["class {}", () => class {}],
  ["new Date(0)", () => new Date(0)],
  ["/x/", () => /x/],
  ["new Map([[0, 1]])", () => new Map([[0, 1]])],
  ["new Set([1])", () => new Set([1])],
  ["Promise.resolve()", () => Promise.resolve()],
  ["new Error()", () => new Error()],
  ["new Float64Array(2)", () => new Float64Array(2)],
  ["new Float32Array(2)", () => new Float32Array(2)],
  ["new Uint8Array(2)", () => new Uint8Array(2)],
  ["new Uint8ClampedArray(2)", () => new Uint8ClampedArray(2)],
  ["new BigInt64Array(2)", () => new BigInt64Array(2)],
  ["new DataView(new ArrayBuffer(8))", () => new DataView(new ArrayBuffer(8))],
  ["new ArrayBuffer(8)", () => new ArrayBuffer(8)],
  ["detached(2)", () => detached(2)],
  ["shrunk(2)", () => shrunk(2)],
  ["new Array(3)", () => new Array(3)],
  ["Lying.of2(1, 2)", () => Lying.of2(1, 2)],
  ["changing([1], [1e9], 3)", () => changing([1], [1e9], 3)],
  ["transparent({})", () => transparent({})],
  ["transparent([1])", () => transparent([1])],
  ["throwing({})", () => throwing({})],
  ["throwing([])", () => throwing([])],
  ["{ valueOf: () => 1 }", () => ({ valueOf: () => 1 })],
  ["{ [Symbol.toPrimitive]: raise }", () => ({ [Symbol.toPrimitive]: raise })],
  ["{ toString: raise }", () => ({ toString: raise })],
  ["{ get length() { raise() } }", () => Object.defineProperty({}, "length", { get: raise })],
  ["globalThis", () => globalThis],
];

/** A value for a message, without calling any of its own methods. */
export function describe(value: unknown): string {
  if (typeof value === "string") return JSON.stringify(value.slice(0, 20));
  return typeof value === "object" || typeof value === "function" ? typeof value : String(value);
}

export function hostile(random: Random): Arg {
  const [code, make] = random.pick(HOSTILE);
  return arg(make(), code);
}

/** What can't be a shape, or hardly. */
const SHAPES: readonly (readonly [code: string, make: () => unknown])[] = [
  ["[0]", () => [0]],
  ["[0, 2 ** 30]", () => [0, 2 ** 30]],
  ["[2 ** 30, 2 ** 30, 0]", () => [2 ** 30, 2 ** 30, 0]],
  ["[0, 64, 3]", () => [0, 64, 3]],
  ["[2 ** 31]", () => [2 ** 31]],
  ["[2 ** 29]", () => [2 ** 29]],
  ["[65536, 65536]", () => [65536, 65536]],
  ["[65537, 65537, 3]", () => [65537, 65537, 3]],
  ["[2 ** 53, 2 ** 53]", () => [2 ** 53, 2 ** 53]],
  ["[2 ** 53, 0]", () => [2 ** 53, 0]],
  ["[NaN]", () => [NaN]],
  ["[1.5, 2]", () => [1.5, 2]],
  ["[-1]", () => [-1]],
  ["[-1, -1]", () => [-1, -1]],
  ["[-0]", () => [-0]],
  ['["2"]', () => ["2"]],
  ["[2n]", () => [2n]],
  ["[[2]]", () => [[2]]],
  ["[Symbol()]", () => [Symbol()]],
  ["[Infinity, 0]", () => [Infinity, 0]],
  ["[]", () => []],
  ["new Array(3)", () => new Array(3)],
  ["new Array(20000).fill(1)", () => ONES],
  ["new Array(20000).fill(0)", () => ZEROS],
  ["Int32Array.of(2, 2)", () => Int32Array.of(2, 2)],
  ["Lying.of2(2, 3)", () => Lying.of2(2, 3)],
  ["Lying.of2(1e6, 1e6)", () => Lying.of2(1e6, 1e6)],
  ["Object.freeze([2, 2])", () => Object.freeze([2, 2])],
  ["[1, 1, 1, 1, 1, 1, 1, 4]", () => [1, 1, 1, 1, 1, 1, 1, 4]],
  ["[{ valueOf: () => 2 }]", () => [{ valueOf: () => 2 }]],
];

export function hostileShape(random: Random): Arg {
  if (random.oneIn(4)) return hostile(random);
  if (random.oneIn(3)) {
    const [first, then] = random.pick([
      [
        [2, 3],
        [2000, 3],
      ],
      [[6], [1e5]],
      [
        [4, 1],
        [4, -1],
      ],
      [[2, 2], []],
      [[1000], [1]],
      [[3], ["x"]],
    ] as const);
    const reads = random.below(30);
    const code = `changing(${JSON.stringify(first)}, ${JSON.stringify(then)}, ${reads})`;
    return arg(changing(first, then, reads), code);
  }
  const [code, make] = random.pick(SHAPES);
  return arg(make(), code);
}
