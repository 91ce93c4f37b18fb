/**
 * The memory section of a WebAssembly module's bytes: how many pages an instance has from the
 * start. Sections are an id, their length and so many bytes; numbers are LEB128.
 */
import { show } from "./show.js";

/** Of WebAssembly memory. */
export enum Page {
  BYTES = 65536,
  /** Of a kernel's memory: its own limit. */
  MOST = 65535,
}

/**
 * Bytes whose memory section asks for `initialBytes` at least. What is no bytes, or has no such
 * section, stays as it is. Throws where bytes can't be read.
 */
export function withMemorySection(source: object, initialBytes: number): object {
  if (!ArrayBuffer.isView(source) && show(source) !== "ArrayBuffer") return source;
  const { buffer = source, byteOffset, byteLength } = source as Partial<ArrayBufferView>;
  const bytes = new Uint8Array(buffer as ArrayBuffer, byteOffset, byteLength);
  let at = 8; // behind the magic number and the version
  /** A number; `at` is behind it then. */
  const read = () => {
    for (let value = 0, shift = 0; ; shift += 7) {
      const byte = bytes[at++] ?? 0;
      value |= (byte & 127) << shift;
      if (byte < 128) return value >>> 0;
    }
  };
  while (at < bytes.length) {
    const start = at;
    const id = bytes[at++];
    const end = read() + at;
    if (id === 5) {
      // One memory: the flags of its limits, its least pages, and perhaps its most.
      const head = bytes.subarray(at, at + 2);
      at += 2;
      const pages = Math.max(read(), Math.ceil(initialBytes / Page.BYTES));
      const least = [(pages & 127) | 128, ((pages >> 7) & 127) | 128, pages >> 14];
      const limits = [...head, ...least, ...bytes.subarray(at, end)];
      return Uint8Array.from([
        ...bytes.subarray(0, start),
        ...[id, limits.length, ...limits],
        ...bytes.subarray(end),
      ]);
    }
    at = end;
  }
  return source;
}
