import { checkOneOf } from "./checks.js";
import { type KernelOption, readKernel } from "./default-kernel.js";
import type { MemoryTrace, Tracer } from "./memory.js";

/**
 * Has the kernel remember where each tensor's memory is made from now on, at the cost of a
 * stack trace each: `memoryUsage().traced` tells what of it is in use. To find what was
 * forgotten, not for production.
 *
 * @param on `false` stops it and forgets
 * @throws BatchNormError `invalid-option`
 *
 * @example
 * traceMemory();
 * const forgotten = Tensor.zeros([2, 3]);
 * const [most] = memoryUsage().traced ?? [];
 * most?.bytes;   // → 24
 * most?.stack;   // where it was made
 */
export function traceMemory(on = true, options?: KernelOption | null): void {
  const { memory } = readKernel(options, "traceMemory");
  checkOneOf(on, "traceMemory", "on");
  memory.tracer = on ? (memory.tracer ?? new Traces()) : null;
}

class Traces implements Tracer {
  /** By address. */
  readonly #made = new Map<number, { bytes: number; stack: string }>();

  took(address: number, bytes: number): void {
    this.#made.set(address, { bytes, stack: `${new Error("made here").stack}` });
  }

  freed(address: number): void {
    this.#made.delete(address);
  }

  sums(): MemoryTrace[] {
    const sums = new Map<string, MemoryTrace>();
    for (const { bytes, stack } of this.#made.values()) {
      const before = sums.get(stack);
      sums.set(stack, {
        bytes: bytes + (before?.bytes ?? 0),
        storages: 1 + (before?.storages ?? 0),
        stack,
      });
    }
    return [...sums.values()].sort((a, b) => b.bytes - a.bytes);
  }
}
