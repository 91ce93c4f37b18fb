import { BatchNormError } from "batchnorm-wasm";
import { describe, expect, test } from "vitest";
import { bytesOf, type DtypeName, readDtype, widen } from "../ts/core/dtypes.js";
import { wrong } from "./call-helpers.js";

/** All there are of two bytes each. */
const patterns = Uint16Array.from({ length: 0x10000 }, (_, i) => i);
const bytes = new Uint8Array(patterns.buffer);

/** What IEEE 754 says of the bits, or of bfloat16, which is a float32 with a shorter fraction. */
function meaningOf(half: number, exponentBits: number): number {
  const fractionBits = 15 - exponentBits;
  const sign = half >= 0x8000 ? -1 : 1;
  const exponent = (half >> fractionBits) & (2 ** exponentBits - 1);
  const fraction = (half & (2 ** fractionBits - 1)) / 2 ** fractionBits;
  const bias = 2 ** (exponentBits - 1) - 1;
  if (exponent === 2 ** exponentBits - 1) return fraction === 0 ? sign * Infinity : Number.NaN;
  if (exponent === 0) return sign * fraction * 2 ** (1 - bias);
  return sign * (1 + fraction) * 2 ** (exponent - bias);
}

const bitsOf = (value: number) => new Uint32Array(Float32Array.of(value).buffer)[0] as number;

function refused(words: readonly string[], bytes: unknown, dtype: unknown): void {
  let error: unknown;
  try {
    widen(wrong(bytes), wrong(dtype), "here");
  } catch (thrown) {
    error = thrown;
  }
  expect(error).toBeInstanceOf(BatchNormError);
  expect(error).toMatchObject({ code: "dtype" });
  for (const word of ["here", ...words]) expect((error as Error).message).toContain(word);
}

describe("widen", () => {
  for (const [dtype, exponentBits] of [
    ["F16", 5],
    ["BF16", 8],
  ] as const) {
    test(`gives every ${dtype} pattern the value that its bits say`, () => {
      const got = widen(bytes, dtype, "here");
      expect(got).toBeInstanceOf(Float32Array);
      expect(got.length).toBe(0x10000);
      const bits = new Uint32Array(got.buffer);
      let nans = 0;
      for (let half = 0; half < 0x10000; half++) {
        const value = meaningOf(half, exponentBits);
        if (Number.isNaN(value)) {
          // It stays one, with the sign and all that it carries.
          const shift = 23 - (15 - exponentBits);
          const fraction = (half & (2 ** (15 - exponentBits) - 1)) << shift;
          const expected = (((half & 0x8000) << 16) | 0x7f80_0000 | fraction) >>> 0;
          expect(bits[half]).toBe(expected);
          nans++;
          // Compared as bits, so that zeros have their signs; a call of `expect` a value is slow.
        } else if (bits[half] !== bitsOf(value)) expect(got[half]).toBe(value);
      }
      expect(nans).toBe(2 * (2 ** (15 - exponentBits) - 1));
    });
  }

  test("knows the numbers that people write down", () => {
    const halves = Uint16Array.of(0x3c00, 0xc000, 0x7bff, 0x0001, 0x0400, 0x8000, 0x3555);
    const third = 0.333251953125;
    expect([...widen(new Uint8Array(halves.buffer), "float16", "here")]).toEqual([
      ...[1, -2, 65504, 2 ** -24, 2 ** -14, -0, third],
    ]);
    const brains = Uint16Array.of(0x3f80, 0xc000, 0x7f7f, 0x0001, 0x8000, 0x4049);
    expect([...widen(new Uint8Array(brains.buffer), "bfloat16", "here")]).toEqual([
      ...[1, -2, 3.3895313892515355e38, 2 ** -133, -0, 3.140625],
    ]);
  });

  test("takes bytes that begin anywhere, and copies them", () => {
    for (const [dtype, source] of [
      ["F32", Float32Array.of(1.5, Math.fround(0.1), -0)],
      ["float64", Float64Array.of(0.1, 1e300, -0)],
      ["I64", BigInt64Array.of(7n, -1n, 2n ** 62n)],
    ] as const) {
      for (let offset = 0; offset < 8; offset++) {
        const room = new Uint8Array(source.byteLength + 16).fill(0xff);
        room.set(new Uint8Array(source.buffer), offset);
        const part = room.subarray(offset, offset + source.byteLength);
        const range = [room.buffer, offset, source.byteLength] as const;
        for (const bytes of [part, Buffer.from(...range), new DataView(...range)]) {
          const got = widen(bytes, dtype, "here");
          room.set(part.slice().fill(0), offset);
          expect(got).toEqual(source);
          room.set(new Uint8Array(source.buffer), offset);
        }
      }
    }
    expect(widen(new Uint8Array(0), "F64", "here")).toEqual(new Float64Array(0));
    for (const Buffer of [ArrayBuffer, SharedArrayBuffer]) {
      const buffer = new Buffer(4);
      new Float32Array(buffer)[0] = 1.5;
      expect(widen(wrong(buffer), "F32", "here")).toEqual(Float32Array.of(1.5));
    }
    const odd = new Uint8Array([0, 0, 0x3c]).subarray(1);
    expect(widen(odd, "F16", "here")).toEqual(Float32Array.of(1));
  });

  test("refuses types that are none, parts of numbers, and what are no bytes", () => {
    for (const dtype of ["f16", "F8", "", "toString", "__proto__", 0, null, undefined, ["F16"]]) {
      refused(["dtype", '"F16"', '"bfloat16"'], new Uint8Array(8), dtype);
    }
    for (const [dtype, length] of [
      ["F16", 3],
      ["BF16", 1],
      ["F32", 6],
      ["F64", 12],
      ["I64", 4],
    ] as const) {
      refused([`${length} bytes`, dtype], new Uint8Array(length), dtype);
    }
    for (const source of [[0, 0], null, undefined, "ab", {}, { buffer: new ArrayBuffer(2) }]) {
      refused(["no bytes"], source, "F16");
    }
    const lying = Object.defineProperty(new Uint8Array(2), "byteLength", { value: 8 });
    refused(["no bytes"], lying, "F16");
    const gone = new Uint8Array(8);
    structuredClone(gone.buffer, { transfer: [gone.buffer] });
    refused(["detached"], gone, "F16");
  });
});

test("a type goes by two names, and has a size", () => {
  const names: [DtypeName, DtypeName, number][] = [
    ["F16", "float16", 2],
    ["BF16", "bfloat16", 2],
    ["F32", "float32", 4],
    ["F64", "float64", 8],
    ["I64", "int64", 8],
  ];
  for (const [name, other, size] of names) {
    expect(readDtype(name, "here")).toBe(name);
    expect(readDtype(other, "here")).toBe(name);
    expect(bytesOf(readDtype(other, "here"))).toBe(size);
  }
});
