/**
 * Numbers of other types as bytes, little-endian, and what they become here.
 *
 * ```text
 * float16    1 sign, 5 exponent (bias 15), 10 fraction   float32 has 8 (bias 127) and 23
 * bfloat16   the upper half of a float32
 * ```
 */
import { fail, mustBe } from "./errors.js";
import { show } from "./show.js";

/** Types by safetensors' names, and in the same order by those of NumPy and others. */
const DTYPES = ["F16", "BF16", "F32", "F64", "I64"] as const;
const SPELLINGS = ["float16", "bfloat16", "float32", "float64", "int64"] as const;

/** A type of numbers, by safetensors' name. */
export type Dtype = (typeof DTYPES)[number];

/** A type of numbers, by safetensors' name or by that of NumPy, PyTorch and others. */
export type DtypeName = Dtype | (typeof SPELLINGS)[number];

/** What {@link widen} gives: float16, bfloat16 and float32 as float32, the others as they are. */
export type Widened =
  | ReturnType<typeof Float32Array.of>
  | ReturnType<typeof Float64Array.of>
  | ReturnType<typeof BigInt64Array.of>;

/** @throws BatchNormError `dtype` unless it is a type's name */
export function readDtype(dtype: unknown, owner: string): Dtype {
  const known: readonly unknown[] = [...DTYPES, ...SPELLINGS];
  const at = known.indexOf(dtype);
  if (at < 0) mustBe("dtype", `${owner}: dtype`, `one of ${known.map(show).join(", ")}`, dtype);
  return DTYPES[at % DTYPES.length] as Dtype;
}

/** Bytes of a value of the type. */
export function bytesOf(dtype: Dtype): number {
  return dtype === "F32" ? 4 : /16/.test(dtype) ? 2 : 8;
}

/**
 * A copy of numbers that lie in bytes, wherever these begin, with nothing lost: subnormal numbers,
 * the zeros' signs, infinities and what a NaN carries.
 *
 * @param bytes little-endian; any view of a buffer, or a buffer
 * @throws BatchNormError `dtype` unless the bytes are whole numbers of the type, `out-of-memory`
 */
export function widen(
  bytes: ArrayBufferView | ArrayBufferLike,
  dtype: DtypeName,
  owner: string,
): Widened {
  const type = readDtype(dtype, owner);
  const view = viewOfBytes(bytes, owner);
  const [length, size] = [view.byteLength, bytesOf(type)];
  if (length % size !== 0) {
    fail("dtype", `${owner}: ${length} bytes are no whole number of ${type}`);
  }
  try {
    // Copied, they begin where every kind of array can. (Hosts are little-endian, as kernels are.)
    const { buffer } = new Uint8Array(new Uint8Array(view.buffer, view.byteOffset, length));
    if (type === "F64") return new Float64Array(buffer);
    if (type === "I64") return new BigInt64Array(buffer);
    if (type === "F32") return new Float32Array(buffer);
    return widenHalves(new Uint16Array(buffer), type === "BF16");
  } catch (cause) {
    return fail("out-of-memory", `${owner}: JavaScript has no room`, { cause });
  }
}

/** A view within their buffer, whatever properties a caller has put over theirs. */
function viewOfBytes(bytes: ArrayBufferView | ArrayBufferLike, owner: string): DataView {
  const { buffer, byteOffset, byteLength } = (
    ArrayBuffer.isView(bytes) ? bytes : { buffer: bytes }
  ) as DataView;
  try {
    return new DataView(buffer, byteOffset, byteLength);
  } catch (cause) {
    return fail("dtype", `${owner}: data are no bytes, or detached`, { cause });
  }
}

/** Numbers of two bytes each, as float32. */
function widenHalves(halves: Uint16Array, isBrain: boolean): Widened {
  const floats = new Float32Array(halves.length);
  // As bits, so that a NaN stays what it is.
  const bits = new Uint32Array(floats.buffer);
  for (let i = 0; i < halves.length; i++) {
    const half = halves[i] as number;
    if (isBrain) bits[i] = half << 16;
    else {
      bits[i] = ((half & 0x8000) << 16) | ((half & 0x7fff) << 13);
      // Infinite or NaN; else the exponent is 127 - 15 too small. Of subnormals, too.
      if ((half & 0x7c00) === 0x7c00) bits[i] = (bits[i] as number) | 0x7f80_0000;
      else floats[i] = (floats[i] as number) * 2 ** 112;
    }
  }
  return floats;
}
