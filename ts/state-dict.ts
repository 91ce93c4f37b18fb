import { isPlain, type PlainTensor } from "./arguments.js";
import { fail, show, showShape } from "./errors.js";
import { isCount } from "./geometry.js";
import { checkData, Tensor, type TensorData } from "./tensor.js";

/** What an entry can be loaded from: vectors of any kind, and a count for the batches. */
export type StateDictEntry = Tensor | PlainTensor | TensorData | number | bigint | BigInt64Array;

/** Parameters and buffers by their names in the preset's framework. */
export type StateDict = Record<string, StateDictEntry>;

/** What {@link BatchNorm.stateDict} returns: copies, that no kernel memory backs. */
export type SavedStateDict = Record<string, Float32Array | number>;

/** How {@link BatchNorm.loadStateDict} reads. */
export interface LoadOptions {
  /** Read only entries whose names begin so, as `layer1.bn.` does; default all. */
  prefix?: string | undefined;
  /** Take NaN and infinite values too; default false. */
  allowNonFinite?: boolean | undefined;
}

/**
 * Reads the vectors `names`, each of `length` values, and the count `counter`, if
 * any, from a dict that must have exactly these entries.
 *
 * @throws BatchNormError `state-dict`, `dtype`
 */
export function readStateDict(
  dict: StateDict,
  names: readonly string[],
  length: number,
  counter: string | undefined,
  { prefix = "", allowNonFinite = false }: LoadOptions,
  owner: string,
): { vectors: ArrayLike<number>[]; count: number } {
  if (dict === null || typeof dict !== "object") {
    fail("state-dict", `${owner}: expected an object of entries, got ${show(dict)}`);
  }
  const wanted = (counter === undefined ? names : [...names, counter]).map((one) => prefix + one);
  const given = Object.keys(dict).filter((name) => name.startsWith(prefix));
  const missing = wanted.filter((name) => !given.includes(name));
  const extra = given.filter((name) => !wanted.includes(name));
  if (missing.length > 0 || extra.length > 0) {
    fail(
      "state-dict",
      `${owner}: expected ${wanted.join(", ")}` +
        (missing.length > 0 ? `; missing: ${missing.join(", ")}` : "") +
        (extra.length > 0 ? `; not expected: ${extra.join(", ")}` : ""),
    );
  }
  const vectors = names.map((name) => {
    const values = readVector(dict[prefix + name], length, `${owner}: ${prefix}${name}`);
    const wrong = allowNonFinite ? -1 : values.findIndex((value) => !Number.isFinite(value));
    if (wrong >= 0) {
      fail(
        "state-dict",
        `${owner}: ${prefix}${name}[${wrong}] is ${values[wrong]}; allowNonFinite would take it`,
      );
    }
    return values;
  });
  return {
    vectors,
    count: counter === undefined ? 0 : readCount(dict[prefix + counter], `${owner}: ${counter}`),
  };
}

/** The length of one of the vectors, if the dict has one. */
export function lengthIn(dict: StateDict, name: string): number | undefined {
  const data: unknown = dataOf(dict?.[name]);
  if (data instanceof Tensor) return data.size;
  return Array.isArray(data) || ArrayBuffer.isView(data)
    ? (data as unknown as ArrayLike<unknown>).length
    : undefined;
}

/** What {@link PlainTensor}s hold; all else as it is. */
function dataOf(entry: unknown): unknown {
  return isPlain(entry) ? entry.data : entry;
}

function readVector(entry: unknown, length: number, owner: string): Float32Array {
  const values = dataOf(entry);
  if (values instanceof Tensor) {
    if (values.disposed) fail("disposed", `${owner} was disposed`);
    checkShape(values.shape, length, owner);
    return values.toFloat32Array();
  }
  checkData(values, owner);
  checkShape(isPlain(entry) ? entry.shape : [values.length], length, owner);
  if (values.length !== length) {
    fail("state-dict", `${owner}: expected ${length} values, got ${values.length}`);
  }
  // float32 first: what is finite in float64 may be infinite then.
  return Float32Array.from(values);
}

function checkShape(shape: readonly number[], length: number, owner: string): void {
  if (shape.length !== 1 || shape[0] !== length) {
    fail("state-dict", `${owner}: expected the shape [${length}], got ${showShape(shape)}`);
  }
}

function readCount(entry: unknown, owner: string): number {
  const inner = dataOf(entry);
  const values: unknown =
    inner instanceof Tensor
      ? inner.toFloat32Array()
      : Array.isArray(inner) || ArrayBuffer.isView(inner)
        ? inner
        : [inner];
  const [value, ...more] = values as Iterable<unknown>;
  const count = typeof value === "number" || typeof value === "bigint" ? Number(value) : -1;
  if (more.length > 0 || !isCount(count)) {
    fail("state-dict", `${owner}: expected one whole number from 0 on, got ${show(entry)}`);
  }
  return count;
}
