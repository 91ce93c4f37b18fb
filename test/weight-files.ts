/** Files of weights as frameworks wrote them (`fixtures/weights`), and files made by hand. */
import { readFileSync } from "node:fs";
import { BatchNormError, type BatchNormErrorCode } from "batchnorm-wasm/weights";

const folder = new URL("fixtures/weights/", import.meta.url);

/** The bytes of a file that a framework wrote. */
export function fixture(name: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(readFileSync(new URL(name, folder)));
}

/** What the script beside it says of it. */
// biome-ignore lint/suspicious/noExplicitAny: whatever the scripts wrote.
export function told(name: string): any {
  return JSON.parse(readFileSync(new URL(name, folder), "utf8"));
}

/** Numbers as the scripts write them: JSON has no NaN and no infinities. */
export function numbers(values: readonly (number | string)[]): number[] {
  return values.map((value) =>
    typeof value === "number" ? value : Number(value.replace("inf", "Infinity")),
  );
}

/** A `.safetensors` file of a header and data, whatever they are; `size` is what its first 8 bytes say. */
export function fileOf(
  header: string | Uint8Array | object,
  data: Uint8Array | number = 0,
  size?: bigint,
): Uint8Array<ArrayBuffer> {
  const isObject = typeof header === "object" && !(header instanceof Uint8Array);
  const text = isObject ? JSON.stringify(header) : header;
  const bytes = typeof text === "string" ? new TextEncoder().encode(text) : text;
  const behind = typeof data === "number" ? new Uint8Array(data) : data;
  const file = new Uint8Array(8 + bytes.length + behind.length);
  new DataView(file.buffer).setBigUint64(0, size ?? BigInt(bytes.length), true);
  file.set(bytes, 8);
  file.set(behind, 8 + bytes.length);
  return file;
}

/** The header of a file, and what is behind it. */
export function partsOf(file: Uint8Array): { header: string; data: Uint8Array } {
  const size = Number(new DataView(file.buffer, file.byteOffset).getBigUint64(0, true));
  const header = new TextDecoder().decode(file.subarray(8, 8 + size));
  return { header, data: file.subarray(8 + size) };
}

/** The code and message of the error that a call throws; any other error goes on. */
export function refusal(call: () => unknown): { code: BatchNormErrorCode; message: string } {
  try {
    call();
  } catch (error) {
    if (error instanceof BatchNormError) return { code: error.code, message: error.message };
    throw error;
  }
  throw new Error("it was taken");
}
