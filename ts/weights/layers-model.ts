/**
 * Models of TensorFlow.js as its layers API saves them: `model.json`, whose manifest says what weights
 * there are, and files with their bytes.
 *
 * ```text
 * weightsManifest  [group, …]
 * group            { paths: ["group1-shard1of2.bin", …], weights: [{ name, shape, dtype, quantization? }, …] }
 * ```
 *
 * A group's weights lie end to end in its files, which are joined. Source: `io_utils.ts` and
 * `weights_loader.ts` of https://github.com/tensorflow/tfjs (tfjs-core).
 */
import { COUNT, isCount, readArray } from "../core/checks.js";
import { type Widened, widen } from "../core/dtypes.js";
import { fail, mustBe } from "../core/errors.js";
import { readField } from "../core/options.js";
import { cut, isBytes, show, showNames } from "../core/show.js";
import { checkAttached, floats } from "../core/values.js";
import { bytesFor, type FileBytes, readBytes } from "./bytes.js";
import { readEntries, readWeightOptions, type WeightDict, type WeightOptions } from "./dict.js";
import { Limit, sizeOf } from "./header.js";

/** What of a `model.json` is read. */
export interface LayersModel {
  readonly weightsManifest: readonly WeightGroup[];
}

/** Weights that lie in files together. */
export interface WeightGroup {
  readonly paths: readonly string[];
  readonly weights: readonly WeightSpec[];
}

/** What a manifest says of a weight. */
export interface WeightSpec {
  readonly name: string;
  readonly shape: readonly number[];
  readonly dtype: string;
  /** How it is packed: numbers q of `uint8` and `uint16` stand for q·scale + min. */
  readonly quantization?: {
    readonly dtype: string;
    readonly scale?: number;
    readonly min?: number;
  };
}

/** The files: in the order of the manifest's paths, or by path; of one file its bytes alone. */
export type LayersModelFiles =
  | FileBytes
  | readonly FileBytes[]
  | Readonly<Record<string, FileBytes>>
  | ReadonlyMap<string, FileBytes>;

/** Bytes of a value. Text (`string`) has no size of its own, and is in no model of layers. */
const SIZES: ReadonlyMap<unknown, number> = /* @__PURE__ */ new Map([
  ["float32", 4],
  ["int32", 4],
  ["bool", 1],
  ["complex64", 8],
  ["uint8", 1],
  ["uint16", 2],
  ["float16", 2],
]);
const PACKED = ["uint8", "uint16", "float16"];
const hasOwn = Object.prototype.hasOwnProperty;

/** A group as it was read: nothing of the caller's runs any more. */
interface Group {
  readonly paths: string[];
  readonly files: Uint8Array[];
  readonly weights: Spec[];
}

interface Spec {
  readonly name: string;
  readonly shape: number[];
  /** Of the values, and of what lies in the file. */
  readonly dtype: string;
  readonly packed: string;
  readonly scale: number;
  readonly min: number;
  readonly bytes: number;
}

/**
 * The weights of a model that TensorFlow.js's layers API has saved, or its converter from Keras,
 * ready for `loadStateDict`: float32 as `Float32Array`, and what was quantized to `uint8`, `uint16`
 * or `float16` as TensorFlow.js makes it float32. They are copies: the files' bytes can go.
 *
 * All of the manifest is checked, also what is not read: files must have as many bytes as their
 * weights, and no more, names and paths come once. Values take no more than 4 bytes for each byte of
 * the files.
 *
 * Source: https://github.com/tensorflow/tfjs (tfjs-core's `io_utils.ts`)
 *
 * @param model `model.json`, as text or parsed, or its `weightsManifest` alone
 * @param files their bytes, in the order of the manifest's paths, or by path
 * @throws BatchNormError `invalid-file`; `dtype` where a weight behind the prefix isn't float32, or
 *   bytes are none; `state-dict` where nothing is behind the prefix; `out-of-memory`, `invalid-option`,
 *   `unknown-option`
 *
 * @example
 * const weights = [{ name: "bn/gamma", shape: [3], dtype: "float32" }];
 * const model = { weightsManifest: [{ paths: ["weights.bin"], weights }] };
 * const files = { "weights.bin": Float32Array.of(1, 2, 3).buffer };
 * const { gamma } = fromLayersModel(model, files, { prefix: "bn/" });
 * gamma?.data;   // → Float32Array [1, 2, 3]
 */
export function fromLayersModel(
  model: LayersModel | readonly WeightGroup[] | string,
  files: LayersModelFiles,
  options?: WeightOptions | null,
): WeightDict {
  const owner = "fromLayersModel";
  const settings = readWeightOptions(options, owner);
  const groups = readGroups(model, files, owner);
  // From here on nothing of the caller's runs.
  const entries = new Map<string, { spec: Spec; bytes: Uint8Array }>();
  for (const { paths, files: parts, weights } of groups) {
    const all = join(parts, owner);
    const needed = weights.reduce((sum, { bytes }) => sum + bytes, 0);
    if (needed !== all.length) {
      const has = `${showNames(paths) || "no files"} of ${all.length} bytes`;
      fail("invalid-file", `${owner}: a group's weights take ${needed} bytes, it has ${has}`);
    }
    let at = 0;
    for (const spec of weights) {
      if (entries.has(spec.name)) {
        fail("invalid-file", `${owner}: ${show(spec.name)} comes twice`);
      }
      entries.set(spec.name, { spec, bytes: all.subarray(at, at + spec.bytes) });
      at += spec.bytes;
    }
  }
  const typeOf = ({ spec }: { spec: Spec }) => spec.dtype;
  return readEntries(entries, settings, owner, typeOf, ({ spec, bytes }, label) =>
    spec.dtype === "float32" ? { data: unpack(bytes, spec, label), shape: spec.shape } : null,
  );
}

/** The values, as TensorFlow.js has them. */
function unpack(bytes: Uint8Array, { packed, scale, min }: Spec, owner: string): Widened {
  if (packed === "float32" || packed === "float16") return widen(bytes, packed, owner);
  // Copied, they begin where numbers of two bytes can.
  const codes = packed === "uint8" ? bytes : new Uint16Array(bytes.slice().buffer);
  const values = floats(codes.length, owner);
  for (let i = 0; i < codes.length; i++) values[i] = (codes[i] as number) * scale + min;
  return values;
}

/** Files end to end. */
function join(files: readonly Uint8Array[], owner: string): Uint8Array {
  // What reading of another has detached.
  for (const file of files) checkAttached(file, `${owner}: a file`);
  const [first] = files;
  if (first && files.length === 1) return first;
  const all = bytesFor(
    files.reduce((sum, { length }) => sum + length, 0),
    owner,
  );
  let at = 0;
  for (const file of files) {
    all.set(file, at);
    at += file.length;
  }
  return all;
}

/** The groups of a manifest, all of which is read once, element by element, with their files. */
function readGroups(model: unknown, files: unknown, owner: string): Group[] {
  const parsed = typeof model === "string" ? parse(model, owner) : model;
  const manifest: unknown = Array.isArray(parsed) ? parsed : Object(parsed).weightsManifest;
  const list = listFiles(files, owner);
  const fileOf = finderOf(list, owner);
  const known = new Set<string>();
  const groups = listOf(manifest, `${owner}: weightsManifest`, (group, label) => {
    const { paths: named, weights } = Object(group);
    const paths = listOf(named, `${label}.paths`, (path, its) => {
      if (typeof path !== "string") return mustBe("invalid-file", its, "a string", path);
      // TensorFlow.js itself writes `./model.weights.bin`. No file twice: a short manifest could
      // make much of a small one.
      const name = path.replace(/^(\.\/)+/, "");
      if (known.has(name)) fail("invalid-file", `${its}: ${show(name)} comes twice`);
      known.add(name);
      return name;
    });
    const its = paths.map(fileOf);
    return { paths, files: its, weights: listOf(weights, `${label}.weights`, readSpec) };
  });
  if (Array.isArray(list) && list.length !== known.size) {
    fail("invalid-file", `${owner}: ${list.length} files for the manifest's ${known.size} paths`);
  }
  return groups;
}

function parse(text: string, owner: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    return fail("invalid-file", `${owner}: model.json is no JSON: ${cause}`, { cause });
  }
}

/** Files in their order, or what has them by path. */
function listFiles(files: unknown, owner: string): object {
  const label = `${owner}: files`;
  if (ArrayBuffer.isView(files) || isBytes(show(files))) return [files];
  if (Array.isArray(files)) return readArray<unknown>(files, label, "invalid-file");
  if (typeof files === "object" && files !== null) return files;
  return mustBe("dtype", label, "bytes, or an array, object or Map of bytes", files);
}

/** What gives the file of a path, by its name or as the next one. */
function finderOf(list: object, owner: string): (path: string) => Uint8Array {
  let next = 0;
  return (name) => {
    const label = `${owner}: the file ${show(name)}`;
    const file = Array.isArray(list)
      ? list[next++]
      : (fileIn(list, name) ?? fileIn(list, `./${name}`));
    if (file === undefined || file === null) fail("invalid-file", `${label} is not there`);
    return readBytes(file, label);
  };
}

function fileIn(files: object, path: string): unknown {
  try {
    // Of a Map, of any realm, and by none of its own methods.
    return Map.prototype.get.call(files, path);
  } catch {
    const isThere = hasOwn.call(files, path);
    return isThere ? (files as Record<string, unknown>)[path] : undefined;
  }
}

/** The elements of an array, each read once. */
function listOf<T>(given: unknown, label: string, read: (one: unknown, label: string) => T): T[] {
  const all = readArray(given as unknown[], label, "invalid-file");
  return all.map((one, i) => read(one, `${label}[${i}]`));
}

function readSpec(given: unknown, label: string): Spec {
  const spec = Object(given);
  const { name, shape: sizes, dtype } = spec;
  const quantization = readField(spec, "quantization");
  if (typeof name !== "string") mustBe("invalid-file", `${label}.name`, "a string", name);
  const owner = `${label}, ${cut(name)}`;
  if (typeof dtype !== "string") mustBe("invalid-file", `${owner}: dtype`, "a string", dtype);
  const shape = listOf(sizes, `${owner}: shape`, (size, its) =>
    isCount(size) ? size : mustBe("invalid-file", its, COUNT, size),
  );
  if (shape.length > Limit.RANK) {
    fail("invalid-file", `${owner}: ${shape.length} axes, ${Limit.RANK} at most`);
  }
  const { packed, scale, min } = readPacking(quantization ?? null, dtype, owner);
  const size = SIZES.get(packed);
  if (size === undefined) {
    return fail("dtype", `${owner} is ${cut(packed)}; there are: ${[...SIZES.keys()].join(", ")}`);
  }
  return { name, shape, dtype, packed, scale, min, bytes: sizeOf(shape) * size };
}

/** What lies in the file of a weight, and what its numbers stand for. */
function readPacking(quantization: unknown, dtype: string, owner: string) {
  if (quantization === null) return { packed: dtype, scale: 1, min: 0 };
  const { dtype: packed, scale, min } = Object(quantization);
  const label = `${owner}: quantization`;
  if (!PACKED.includes(packed)) {
    mustBe("invalid-file", `${label}.dtype`, `one of ${PACKED.join(", ")}`, packed);
  }
  if (packed === "float16") return { packed, scale: 1, min: 0 };
  for (const [name, value] of Object.entries({ scale, min })) {
    if (!Number.isFinite(value)) {
      mustBe("invalid-file", `${label}.${name}`, "a finite number", value);
    }
  }
  return { packed, scale, min };
}
