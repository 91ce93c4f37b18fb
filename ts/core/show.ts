/** How values, names and shapes stand in messages, and what to do about a wrong one. */
import { typedArrayName } from "./typed-arrays.js";

/** The most of a value that a message shows. */
enum Most {
  CHARACTERS = 60,
  VALUES = 8,
}

/** A value as it can stand in a message: short, and without calling its own methods. */
export function show(value: unknown): string {
  if (typeof value === "string") return JSON.stringify(cut(value));
  if (typeof value === "function") return "a function";
  if (typeof value === "bigint") return cut(`${value}n`);
  return Object(value) === value
    ? (typedArrayName(value) ?? tagOf(value as object))
    : cut(String(value));
}

/** A shape as people write it. */
export function showShape(shape: readonly number[]): string {
  return `[${list(shape, show)}]`;
}

/** Names as a list. */
export function showNames(names: readonly string[]): string {
  return list(names, (name) => cut(String(name)));
}

/** The first of a list, and how many more there are. */
export function list(items: ArrayLike<unknown>, word: (item: unknown) => string): string {
  const { length } = items;
  // By index: an iterator or a method may be the caller's own.
  const first = Array.from({ length: Math.min(length, Most.VALUES) }, (_, i) => word(items[i]));
  return first.join(", ") + (length > Most.VALUES ? ` and ${length - Most.VALUES} more` : "");
}

/** A text short enough for a message: of a name the end tells most, of other text the start. */
export function cut(text: string): string {
  const half = Most.CHARACTERS / 2;
  return text.length > Most.CHARACTERS ? `${text.slice(0, half)}…${text.slice(1 - half)}` : text;
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
  return typedArrayName(data) ? "; convert with Float32Array.from(data)" : "";
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
