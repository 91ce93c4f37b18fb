/**
 * Files of safetensors, in which PyTorch's users and many others keep weights. `header.ts` says
 * what such a file is, `encode.ts` writes one.
 */
import { widen } from "../core/dtypes.js";
import { type FileBytes, readBytes } from "./bytes.js";
import { readEntries, readWeightOptions, type WeightDict, type WeightOptions } from "./dict.js";
import { isFloat8, widenFloat8 } from "./float8.js";
import { type HeaderEntry, readHeader } from "./header.js";

/** What {@link inspectSafetensors} gives. */
export interface SafetensorsContents {
  /** What whoever wrote the file has noted, as `{ format: "pt" }`; without notes empty. */
  readonly metadata: Record<string, string>;
  /** What it holds, in the order of the data: types by safetensors' names, as `"BF16"`. */
  readonly entries: Record<string, { readonly dtype: string; readonly shape: number[] }>;
}

/**
 * The weights in a `.safetensors` file, ready for `loadStateDict`: F32 as `Float32Array`; F16,
 * BF16 and the floats of eight bits widened to it, exactly; F64 as `Float64Array`, I64 as
 * `BigInt64Array`. They are copies: the file's bytes can go.
 *
 * All of the header is checked, also what is not read, as the reference does and more: offsets that
 * overlap, leave gaps or leave the file, sizes that don't fit the type and shape, names that come
 * twice, whatever is no UTF-8 or more than the format has. A file of n bytes takes no more than
 * 4·n bytes of values (floats of eight bits), and a header of 100 MB is the largest.
 *
 * Source: https://github.com/huggingface/safetensors
 *
 * @param bytes of the whole file: as `readFile` of Node gives them, or `arrayBuffer()` of a response
 * @throws BatchNormError `invalid-file`; `dtype` where an entry behind the prefix has another type,
 *   or `bytes` are none; `state-dict` where nothing is behind the prefix; `out-of-memory`,
 *   `invalid-option`, `unknown-option`
 *
 * @example
 * const file = toSafetensors({ "bn.weight": Float32Array.of(1, 2, 3) });
 * fromSafetensors(file);   // → { bn.weight: { data: Float32Array [1, 2, 3], shape: [3] } }
 * const { weight } = fromSafetensors(file, { prefix: "bn." });
 * weight?.data;   // → Float32Array [1, 2, 3]
 */
export function fromSafetensors(bytes: FileBytes, options?: WeightOptions | null): WeightDict {
  const owner = "fromSafetensors";
  const settings = readWeightOptions(options, owner);
  const file = readBytes(bytes, owner);
  const { entries } = readHeader(file, owner);
  const typeOf = ({ dtype }: HeaderEntry) => dtype;
  return readEntries(entries, settings, owner, typeOf, ({ dtype, shape, begin, end }, label) => {
    const values = file.subarray(begin, end);
    if (isFloat8(dtype)) return { data: widenFloat8(values, dtype, label), shape };
    const type = TYPES.find((one) => one === dtype);
    return type ? { data: widen(values, type, label), shape } : null;
  });
}

const TYPES = ["F32", "F16", "BF16", "F64", "I64"] as const;

/**
 * What a `.safetensors` file holds, of any type, and the notes in it. It is checked as
 * {@link fromSafetensors} does.
 *
 * @param bytes of the whole file
 * @throws BatchNormError `invalid-file`, `dtype`
 *
 * @example
 * const metadata = { format: "pt" };
 * const file = toSafetensors({ weight: Float32Array.of(1, 2) }, { metadata });
 * inspectSafetensors(file).metadata;   // → { format: "pt" }
 * inspectSafetensors(file).entries;   // → { weight: { dtype: "F32", shape: [2] } }
 */
export function inspectSafetensors(bytes: FileBytes): SafetensorsContents {
  const owner = "inspectSafetensors";
  const { metadata, entries } = readHeader(readBytes(bytes, owner), owner);
  const shown = [...entries].map(([name, { dtype, shape }]) => [name, { dtype, shape }] as const);
  return { metadata: Object.fromEntries(metadata), entries: Object.fromEntries(shown) };
}
