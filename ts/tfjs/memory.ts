/**
 * The kernel that tensors of tfjs are computed in: one of its own, whose memory is large enough from
 * the start. The first memory that grows anywhere in a program slows loops over typed arrays by 14 to
 * 26 %, and tfjs's cpu backend is made of these (`scripts/bench/NOTES.md`).
 */
import { Allocation } from "../core/allocation.js";
import { kernelModule } from "../core/default-kernel.js";
import { createKernel, type Kernel, portOf } from "../core/kernel.js";
import type { MemoryUsage } from "../core/memory.js";
import { Contents } from "../generated/abi.js";

/** Bytes that are only reserved: what isn't written to takes no room. */
export const INITIAL_BYTES = 128 * 2 ** 20;

let initialBytes = INITIAL_BYTES;
let kernel: Kernel | null = null;
let heap: Heap | null = null;

/** Bytes of a block that stays from call to call: two pieces, and what is beside them of most models. */
const KEPT_BYTES = 2 ** 20;

/** The memory of a kernel, as float32. */
export class Heap {
  readonly port: ReturnType<typeof portOf>;
  #floats: Float32Array = new Float32Array(0);
  /** Taking one for each would cost small calls a tenth of their time. */
  #kept: Allocation | null = null;

  constructor(port: Heap["port"]) {
    this.port = port;
  }

  /** All of it: a view is made anew only where growing has detached the one before. */
  floats(): Float32Array {
    // Asking for its buffer would cost more than what is done with it.
    if (this.#floats.length === 0) this.#floats = new Float32Array(this.port.memory.linear.buffer);
    return this.#floats;
  }

  /** Bytes for a call, which has all that it needs at once. */
  take(bytes: number): Allocation {
    if (bytes > KEPT_BYTES) return new Allocation(this.port, bytes, Contents.Arbitrary);
    this.#kept ??= new Allocation(this.port, KEPT_BYTES, Contents.Arbitrary);
    return this.#kept;
  }

  /** Ends what a call had. */
  giveBack(allocation: Allocation): void {
    if (allocation === this.#kept) return;
    // Views hold it, too, and nobody has these any more: all ends with the block.
    this.port.memory.free(allocation.address, allocation.bytes);
    allocation.handOut();
  }
}

/** How much memory it starts with from the next call on; drops the one that there is. */
export function setInitialBytes(bytes: number): void {
  if (bytes !== initialBytes) releaseMemory();
  initialBytes = bytes;
}

/** The kernel of now: between two calls it can be another one. */
export function currentHeap(): Heap {
  if (!heap) {
    kernel = createKernel(kernelModule(), { initialBytes });
    heap = new Heap(portOf(kernel, "batchnorm-wasm/tfjs"));
  }
  return heap;
}

/**
 * Gives up the memory in which tensors of tfjs are normalized: what was reserved, and what larger calls
 * have added. (Batch norm has pieces of long inputs there, other norms a copy, as long as a call takes.)
 * The next call makes a new one. Nothing is lost by it.
 *
 * @example
 * import { releaseMemory } from "batchnorm-wasm/tfjs";
 * releaseMemory();   // after training, before something else needs the room
 */
export function releaseMemory(): void {
  kernel = null;
  heap = null;
}

/**
 * What is in use of that memory: between two calls of tfjs no more than one block of 1 MB.
 *
 * @returns bytes; `null` before the first call, and after {@link releaseMemory}
 *
 * @example
 * import { normalizationMemory } from "batchnorm-wasm/tfjs";
 * normalizationMemory()?.liveBytes;   // 1048576
 */
export function normalizationMemory(): MemoryUsage | null {
  return kernel?.memoryUsage() ?? null;
}
