/**
 * The floats of eight bits that safetensors has a type for.
 *
 * ```text
 *                 exponent, fraction   bias   without a value
 * F8_E4M3         4 bits,  3 bits       7     S.1111.111 are NaN; no infinities
 * F8_E5M2         5 bits,  2 bits      15     the upper half of a float16
 * F8_E4M3FNUZ     4 bits,  3 bits       8     1.0000.000 alone is NaN, no infinities, one zero
 * F8_E5M2FNUZ     5 bits,  2 bits      16     the same
 * F8_E8M0         8 bits,  none       127     no sign, no zero; 11111111 is NaN: scales
 * ```
 *
 * Source: https://arxiv.org/abs/2209.05433 (E4M3, E5M2), https://arxiv.org/abs/2206.02915 (FNUZ) and
 * the Microscaling specification of the Open Compute Project (E8M0).
 */
import { type Float32Values, floats } from "../core/values.js";

/** Bits of exponent and of fraction, and the bias, by type. */
const FORMATS: ReadonlyMap<string, readonly [number, number, number]> = /* @__PURE__ */ new Map([
  ["F8_E4M3", [4, 3, 7]],
  ["F8_E5M2", [5, 2, 15]],
  ["F8_E4M3FNUZ", [4, 3, 8]],
  ["F8_E5M2FNUZ", [5, 2, 16]],
  ["F8_E8M0", [8, 0, 127]],
]);

/** Whether safetensors has a float of eight bits by this name. */
export function isFloat8(dtype: string): boolean {
  return FORMATS.has(dtype);
}

/**
 * The values of bytes, exactly: each is a float32.
 *
 * @param dtype of which {@link isFloat8} is true
 * @throws BatchNormError `out-of-memory`
 */
export function widenFloat8(bytes: Uint8Array, dtype: string, owner: string): Float32Values {
  const table = Float32Array.from({ length: 256 }, (_, byte) => decode(byte, dtype));
  const values = floats(bytes.length, owner);
  for (let i = 0; i < bytes.length; i++) values[i] = table[bytes[i] as number] as number;
  return values;
}

function decode(byte: number, dtype: string): number {
  const [exponentBits, fractionBits, bias] = FORMATS.get(dtype) as [number, number, number];
  const exponent = (byte >> fractionBits) & (2 ** exponentBits - 1);
  const fraction = byte & (2 ** fractionBits - 1);
  const sign = exponentBits < 8 && byte >= 0x80 ? -1 : 1;
  if (dtype === "F8_E8M0") return byte === 0xff ? Number.NaN : 2 ** (byte - bias);
  if (dtype.endsWith("FNUZ") && byte === 0x80) return Number.NaN;
  if (dtype === "F8_E4M3" && (byte & 0x7f) === 0x7f) return Number.NaN;
  if (dtype === "F8_E5M2" && exponent === 31) return fraction ? Number.NaN : sign * Infinity;
  // Without an exponent, of which there is the least then, there is no 1 before the fraction.
  const digits = (exponent > 0 ? 1 : 0) + fraction / 2 ** fractionBits;
  return sign * digits * 2 ** (Math.max(exponent, 1) - bias);
}
