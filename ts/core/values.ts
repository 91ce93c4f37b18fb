/** Numbers from outside of kernel memory: what is taken, read once, and copied. */
import { isCount } from "./checks.js";
import { fail, mustBe } from "./errors.js";
import { remedyFor } from "./show.js";
import { bufferOf, lengthOf, typedArrayName } from "./typed-arrays.js";

/** What tensors are made from. */
export type TensorData = Float32Array | Uint8Array | Uint8ClampedArray | readonly number[];

/** The typed arrays among these. */
export const DATA_KINDS = ["Float32Array", "Uint8Array", "Uint8ClampedArray"];

/** What can be written into a tensor: numbers of any kind but `bigint`. */
export type NumberSource = readonly number[] | NumberArray | Uint8ClampedArray;

/** A `Float32Array` over an `ArrayBuffer`, however old the TypeScript that reads this is. */
export type Float32Values = ReturnType<typeof Float32Array.of>;
/**
 * What is behind views of kernel memory, for types alone: the entry with threads adds `shared` to
 * it, and so says to a program that imports it that this may be a `SharedArrayBuffer`.
 */
// biome-ignore lint/suspicious/noEmptyInterface: it is there to be added to.
export interface Backing {}
/** A view of kernel memory: over an `ArrayBuffer`, or any buffer where there are threads. */
export type Float32View = Backing extends { shared: true } ? Float32Array : Float32Values;
/** The buffer of kernel memory, likewise. */
export type MemoryBuffer = Backing extends { shared: true } ? ArrayBufferLike : ArrayBuffer;

/** The like for a `Float64Array`. */
export type Float64Values = ReturnType<typeof Float64Array.of>;

/** What {@link readValues} gives. */
export type NumberArray =
  | Float32Array
  | Float64Array
  | Int8Array
  | Uint8Array
  | Int16Array
  | Uint16Array
  | Int32Array
  | Uint32Array;

/**
 * The elements of data: a typed array is given as it is (nothing of it can change while it
 * is copied), of an array a copy, each element read once.
 *
 * @param kinds of typed arrays that are taken, or `null` for all but `bigint`s; with `boolean[]` an
 *   array may have these, as 0 and 1
 * @param check of the number of elements, before they are read
 * @throws BatchNormError `dtype`
 */
export function readValues(
  data: unknown,
  owner: string,
  kinds: readonly string[] | null = DATA_KINDS,
  check?: (length: number) => void,
): NumberArray {
  const kind = typedArrayName(data);
  if (kind !== undefined && (kinds?.includes(kind) ?? !kind.startsWith("Big"))) {
    const view = data as NumberArray;
    checkAttached(view, owner);
    check?.(lengthOf(view));
    return view;
  }
  const length: unknown = Array.isArray(data) ? data.length : undefined;
  if (!isCount(length)) {
    const wanted = kinds?.join(", ") ?? "typed array";
    mustBe("dtype", `${owner}: data`, `a ${wanted} or number[]`, data, remedyFor(data));
  }
  check?.(length);
  const values = floats(length, owner);
  for (let i = 0; i < length; i++) {
    const value = (data as unknown[])[i];
    if (
      typeof value !== "number" &&
      !(typeof value === "boolean" && kinds?.includes("boolean[]"))
    ) {
      mustBe("dtype", `${owner}: data[${i}]`, "a number", value, remedyFor(value));
    }
    values[i] = value as number;
  }
  return values;
}

/**
 * Elements outside of kernel memory: a copy, or so many zeros.
 *
 * @param kind of typed array: `Float64Array`, or else float32
 * @throws BatchNormError `out-of-memory` where JavaScript has no room for them
 */
export function floats(source: Float32Array | number, owner: string): Float32Values;
export function floats(
  size: number,
  owner: string,
  kind: string | undefined,
): Float32Values | Float64Values;
export function floats(
  source: Float32Array | number,
  owner: string,
  kind?: string,
): Float32Values | Float64Values {
  try {
    // Slicing fills memory once, where zeros would be written first.
    if (typeof source !== "number") return source.slice();
    return kind === "Float64Array" ? new Float64Array(source) : new Float32Array(source);
  } catch (cause) {
    return fail("out-of-memory", `${owner}: JavaScript has no room`, { cause });
  }
}

/** The same values, or a copy where they lie in this very buffer. */
export function outside(buffer: MemoryBuffer, values: NumberArray): NumberArray {
  return bufferOf(values) === buffer ? new Float32Array(values) : values;
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
