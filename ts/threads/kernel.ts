/** The kernel whose memory threads share, or the same on one thread where that can't be. */
import { instantiate, type KernelModule, type LinearMemory } from "../core/instance.js";
import { type Kernel, kernelOf, portOf } from "../core/kernel.js";
import { Page } from "../core/memory-section.js";
import { Contents } from "../generated/abi.js";
import { Crew, type CrewExports, type Policy } from "./crew.js";
import { hasFixedMemory, whyNone } from "./spawn.js";

/** A kernel and its crew; `null` where it has none. */
export interface Crewed {
  readonly kernel: Kernel;
  readonly crew: Crew | null;
}

/** Pages that the module's memory has from the start. */
const FIRST = 256;

/** Where memory can't grow: 1 GiB, of which only what is touched is taken. */
const FIXED = 16384;

/** Makes a kernel of the bytes of the module for threads, over memory that is shared if it can be. */
export function crewed(bytes: Uint8Array<ArrayBuffer>, policy?: Policy): Crewed {
  if (whyNone() !== null) return { kernel: kernelAlone(bytes), crew: null };
  const memory = sharedMemory();
  if (!memory) return { kernel: kernelAlone(bytes), crew: null };
  const module = new WebAssembly.Module(bytes);
  const crew = new Crew(module, memory, policy);
  const exports = instantiateOver(module, memory, crew.imports);
  const kernel = kernelOf(exports);
  keepFromPosting(kernel);
  const own = portOf(kernel, "createKernel").memory;
  crew.begin(exports as unknown as CrewExports, (size) => own.allocate(size, Contents.Zero));
  return { kernel, crew };
}

/** The same without shared memory. */
function kernelAlone(bytes: Uint8Array<ArrayBuffer>): Kernel {
  const memory = new WebAssembly.Memory({ initial: FIRST, maximum: Page.MOST });
  const imports = { hands: () => 1, share: () => {} };
  return kernelOf(instantiateOver(unshared(bytes), memory, imports));
}

/** Shared memory, of as much as the runtime has: some refuse large maxima. */
function sharedMemory(): LinearMemory | null {
  const isFixed = hasFixedMemory();
  for (let maximum = isFixed ? FIXED : Page.MOST; maximum >= FIRST; maximum >>= 1) {
    try {
      const initial = isFixed ? maximum : FIRST;
      return new WebAssembly.Memory({ initial, maximum, shared: true });
    } catch {
      // less, then
    }
  }
  return null;
}

/** An instance's exports, as if the memory were one of them. */
function instantiateOver(module: KernelModule, memory: LinearMemory, crew: object): object {
  const exports = instantiate(module, { "./kernel_bg.js": { memory }, crew });
  // Copies the statics, once in a memory.
  (exports as { __wbindgen_start?(): void }).__wbindgen_start?.();
  return { ...exports, memory };
}

/**
 * Shared memory could be posted to a worker, and with it what only looks like a kernel or a tensor
 * there. What has a symbol can't.
 */
function keepFromPosting(kernel: Kernel): void {
  const value = Symbol("a kernel is never posted");
  Object.defineProperty(kernel, "posted", { value, enumerable: true });
}

/**
 * The bytes of a module whose memory is not shared: one bit of the import's limits, which come
 * behind its name and kind.
 */
function unshared(bytes: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  const name = [6, ...Array.from("memory", (letter) => letter.charCodeAt(0)), 2];
  const copy = Uint8Array.from(bytes);
  const at = copy.findIndex((_, start) => name.every((byte, i) => copy[start + i] === byte));
  copy[at + name.length] = 1;
  return copy;
}
