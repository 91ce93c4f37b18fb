import { viewName } from "./typed-arrays.js";

/** What went wrong, for programs; the message says it for people. */
export type BatchNormErrorCode =
  /** A size that is negative, fractional or not a number; a shape that the data don't fill. */
  | "invalid-shape"
  /** More elements than 32-bit WebAssembly can address. */
  | "shape-overflow"
  /** A tensor whose rank, channel count or shape is not the one that the operation needs. */
  | "shape-mismatch"
  /** Data that are not float32 (nor `number[]` or `Uint8Array` where those are taken), or detached. */
  | "dtype"
  /** An option or preset that does not exist. */
  | "unknown-option"
  /** An option whose value is out of its range. */
  | "invalid-option"
  /** One value per channel in training where the convention forbids it. */
  | "batch-too-small"
  /** An output that shares some, but not exactly all, of its memory with another tensor of the call. */
  | "overlap"
  /** A combination of options that is not there. */
  | "unsupported"
  /** A layer whose framework has no default mode was not told whether it trains. */
  | "mode"
  /** A tensor or layer used after `dispose`. */
  | "disposed"
  /** Tensors of two kernels in one call. */
  | "foreign-kernel"
  /** `backward` after a tensor that it needs was overwritten, or before any `forward`. */
  | "stale"
  /** `.data` of a strided view. */
  | "not-contiguous"
  /** A state dict with missing, extra or wrong entries. */
  | "state-dict"
  /** A layer that learns its feature count from its first input was used before. */
  | "not-built"
  /** The kernel's memory has no room left. */
  | "out-of-memory"
  /** `scope` over an asynchronous function. */
  | "async-scope"
  /** The runtime's WebAssembly has no 128-bit SIMD. */
  | "no-simd"
  /** The module is not this package's kernel, or the kernel broke: a bug. */
  | "kernel";

/** Every error that this package throws. Nothing was written when it is thrown. */
export class BatchNormError extends Error {
  override readonly name = "BatchNormError";
  declare readonly code: BatchNormErrorCode;
  declare readonly cause?: unknown;

  constructor(code: BatchNormErrorCode, message: string, options?: { cause?: unknown }) {
    super(message);
    this.code = code;
    // Not through `super`: Chrome 91 and Firefox 90 would drop it.
    if (options) this.cause = options.cause;
  }
}

/** Throws a {@link BatchNormError}; an expression, so that it can stand behind `??`. */
export function fail(
  code: BatchNormErrorCode,
  message: string,
  options?: { cause?: unknown },
): never {
  throw new BatchNormError(code, message, options);
}

/** Throws for a value that is not what it must be. */
export function mustBe(
  code: BatchNormErrorCode,
  name: string,
  wanted: string,
  value: unknown,
  remedy = "",
): never {
  fail(code, `${name} must be ${wanted}, got ${show(value)}${remedy}`);
}

/** The most of a value that a message shows. */
enum Most {
  CHARACTERS = 60,
  VALUES = 8,
}

/** A text short enough for a message: of a name the end tells most, of other text the start. */
export function cut(text: string): string {
  const half = Most.CHARACTERS / 2;
  return text.length > Most.CHARACTERS ? `${text.slice(0, half)}…${text.slice(1 - half)}` : text;
}

/** The first of a list, and how many more there are. */
export function list(items: ArrayLike<unknown>, word: (item: unknown) => string): string {
  const { length } = items;
  // By index: an iterator or a method may be the caller's own.
  const first = Array.from({ length: Math.min(length, Most.VALUES) }, (_, i) => word(items[i]));
  return first.join(", ") + (length > Most.VALUES ? ` and ${length - Most.VALUES} more` : "");
}

/** Names as a list. */
export function showNames(names: readonly string[]): string {
  return list(names, (name) => cut(String(name)));
}

/** A shape as people write it. */
export function showShape(shape: readonly number[]): string {
  return `[${list(shape, show)}]`;
}

/** A value as it can stand in a message: short, and without calling its own methods. */
export function show(value: unknown): string {
  if (typeof value === "string") return JSON.stringify(cut(value));
  if (typeof value === "function") return "a function";
  return Object(value) === value ? (viewName(value) ?? tagOf(value as object)) : cut(String(value));
}

/** The kind of an object; `from` is it or a prototype of it, where a class is named. */
function tagOf(value: object, from: object | null = value): string {
  // Only a Proxy can run code here. Where its traps throw, or its prototypes never
  // end, there is nothing to say about it; the error that is being made matters more.
  try {
    const tag = from && Object.getOwnPropertyDescriptor(from, Symbol.toStringTag);
    if (from && !tag) return tagOf(value, Object.getPrototypeOf(from));
    if (!tag?.get) return cut(Object.prototype.toString.call(value).slice(8, -1));
  } catch {
    // As where a getter would name the class.
  }
  return "an object";
}

/** How to make `kind` of data of another kind, to stand behind a message. */
export function remedyFor(data: unknown, kind = "Float32Array"): string {
  const name = show(data);
  if (name === "Array") return "; flatten with .flat(), and give a shape";
  if (isTensor(name)) return "; take toFloat32Array(), of a Proxy (Vue) that of toRaw()";
  if (isBytes(name)) return `; view bytes with new ${kind}(buffer, byteOffset, length)`;
  if (name === "Uint16Array") return "; decode float16 bits";
  if (name.startsWith("Big")) return "; convert with Float32Array.from(data, Number)";
  return viewName(data) ? "; convert with Float32Array.from(data)" : "";
}

/** What looks like a tensor, and has no inside. */
export const PROXY = ": a Proxy (Vue: toRaw), or of another copy of this package";

/** Whether {@link show} names a tensor. */
export function isTensor(name: string): boolean {
  return /^(Tensor|Parameter)$/.test(name);
}

/** Whether {@link show} names what holds bytes, of numbers or else. */
export function isBytes(name: string): boolean {
  return /^(Uint8Array|DataView|(Shared)?ArrayBuffer)$/.test(name);
}

/** @throws BatchNormError `dtype` where a typed array's memory is no longer there */
export function checkAttached(view: ArrayBufferView, owner: string): void {
  // `ArrayBuffer.prototype.detached` is younger than the engines, and would not tell
  // what has shrunk. Every method of a view throws then; this one does nothing else.
  try {
    Uint8Array.prototype.keys.call(view as Uint8Array);
  } catch {
    fail("dtype", `${owner} is detached: transferred, shrunk or kernel memory that has grown`);
  }
}

const NONE = /* @__PURE__ */ Object.freeze(/* @__PURE__ */ Object.create(null));
const hasOwn = Object.prototype.hasOwnProperty;

/**
 * A call's options, their names checked. Who asks reads each value once, so that a getter
 * can't answer a check and its use differently. What somebody has put on `Object.prototype` is
 * no option.
 *
 * @throws BatchNormError `invalid-option`, `unknown-option`
 */
export function readOptions<T extends object>(
  owner: string,
  options: T | null | undefined,
  known: readonly string[],
): T {
  if (options === undefined || options === null) return NONE;
  let own = false;
  for (const name in options) {
    if (!hasOwn.call(options, name)) continue;
    if (known.includes(name)) own = true;
    else {
      checkOptions(owner, options);
      fail("unknown-option", unknownName(owner, "option", name, known));
    }
  }
  if (!own) checkOptions(owner, options);
  // An object without a prototype costs ten times as much, `some` half of the call.
  for (const name of known) {
    if (isInherited(name)) return Object.assign(Object.create(null), options);
  }
  return options;
}

/** Whether each object has such a property: somebody has put it on `Object.prototype`. */
export function isInherited(name: string): boolean {
  return hasOwn.call(Object.prototype, name);
}

/** @throws BatchNormError `invalid-option` unless it is any realm's `{}`, or has names of its own */
function checkOptions(owner: string, options: unknown): void {
  const isObject =
    typeof options === "object" && !Array.isArray(options) && !ArrayBuffer.isView(options);
  const prototype = isObject && Object.getPrototypeOf(options);
  const isPlain = isObject && !(prototype && Object.getPrototypeOf(prototype));
  if (!isPlain && !(isObject && Object.keys(options as object)[0])) {
    mustBe("invalid-option", `${owner}: options`, "an object with names of its own", options);
  }
}

/** What a count, a size or a place must be. */
export const COUNT = "a whole number from 0 on";

/** The message for a name that is not among `known`, with the nearest if one is near. */
export function unknownName(
  owner: string,
  kind: string,
  name: unknown,
  known: readonly string[],
): string {
  const own = pairs(name);
  // Of the shorter name, mostly: all of `eps` but its end is in `epsilon`.
  const likeness = (one: string) => {
    const its = pairs(one);
    return own.filter((pair) => its.includes(pair)).length / Math.min(own.length, its.length);
  };
  const [nearest = ""] = [...known].sort((a, b) => likeness(b) - likeness(a));
  const hint = likeness(nearest) >= 0.5 ? `; did you mean "${nearest}"?` : ".";
  return `${owner}: unknown ${kind} ${show(name)}${hint} There are: ${known.join(", ")}`;
}

/** Neighbouring letters, those at the ends with a quotation mark. */
function pairs(word: unknown): string[] {
  const letters = show(word).toLowerCase();
  return Array.from(letters.slice(1), (letter, i) => letters[i] + letter);
}
