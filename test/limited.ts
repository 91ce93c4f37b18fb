/** Kernels whose memory has an end that is soon reached. */
import { kernelBytes as bytes } from "../scripts/kernel/under-test.mjs";

/** The kernel as it is. */
export const module = new WebAssembly.Module(bytes);

const MEMORY_SECTION = 5;

/** The kernel with a memory of at least and at most so many pages of 64 KiB. */
export function limited(least: number, most: number): WebAssembly.Module {
  for (let at = 8; at < bytes.length; ) {
    const id = bytes[at] as number;
    const [length, content] = unsigned(at + 1);
    if (id === MEMORY_SECTION) {
      // One memory, with a maximum.
      const section = [1, 1, ...encoded(least), ...encoded(most)];
      return new WebAssembly.Module(
        Uint8Array.of(
          ...bytes.subarray(0, at),
          ...[id, ...encoded(section.length), ...section],
          ...bytes.subarray(content + length),
        ),
      );
    }
    at = content + length;
  }
  throw new Error("the kernel has no memory of its own");
}

/** A number in LEB128, and where it ends. */
function unsigned(at: number): [value: number, end: number] {
  let value = 0;
  for (let shift = 0; ; shift += 7) {
    const byte = bytes[at++] as number;
    value |= (byte & 127) << shift;
    if (byte < 128) return [value, at];
  }
}

function encoded(value: number): number[] {
  return value < 128 ? [value] : [(value & 127) | 128, ...encoded(value >>> 7)];
}
