/**
 * A kernel is a value: one instance of the WebAssembly module with a memory of its own. A
 * tensor belongs to the kernel that made it, and two can't meet in one call.
 */
import { COUNT, isCount } from "./checks.js";
import { fail, mustBe } from "./errors.js";
import {
  grown,
  initialBytesOf,
  instantiate,
  type KernelModule,
  type LinearMemory,
  type MemoryOptions,
  withMemory,
} from "./instance.js";
import { readOptions } from "./options.js";
import { type KernelExports, type MemoryUsage, Port } from "./port.js";

// Apart: what is not API is not reachable by it, and what only looks like a kernel has none.
const ports = /* @__PURE__ */ new WeakMap<object, Port>();

/** What only this package may do with a kernel; undefined of what is none. */
export function portOf(kernel: unknown): Port | undefined {
  return ports.get(kernel as object);
}

/** Who has it may make kernels. */
const KEY = {};

/** The kernel of an instance's exports. */
export function kernelOf(exports: object): Kernel {
  return new Kernel(exports, KEY);
}

/** One instance of the WebAssembly kernel with a memory of its own. */
export class Kernel {
  /** Linear memory that tensors live in. Growing it detaches every view of it. */
  declare readonly memory: LinearMemory;

  /** @internal Use {@link createKernel}. */
  constructor(exports: object, key: unknown) {
    if (key !== KEY) fail("kernel", "Kernel: use createKernel");
    const port = new Port(exports as KernelExports, this);
    ports.set(this, port);
    this.memory = port.memory;
  }

  /** See {@link MemoryUsage}. */
  memoryUsage(): MemoryUsage {
    return portIn(this, "memoryUsage").memoryUsage();
  }
}

/** Which kernel, where it is not the default one. */
export interface KernelOption {
  kernel?: Kernel | null | undefined;
}

/**
 * Makes a kernel with a memory of its own.
 *
 * @param module the compiled kernel (a `WebAssembly.Module`), or its bytes
 * @throws BatchNormError `no-simd` where the runtime lacks WebAssembly's 128-bit
 *   SIMD, `kernel` where the module is not this package's or of another version,
 *   `invalid-option`
 *
 * @example
 * const kernel = createKernel(bytes);
 * const x = Tensor.zeros([8, 3], { kernel });
 */
export function createKernel(module: KernelModule, options?: MemoryOptions | null): Kernel {
  const initialBytes = initialBytesOf("createKernel", options);
  return kernelOf(grown(instantiate(withMemory(module, initialBytes)), initialBytes));
}

/**
 * The port of a kernel that was given, or of the default one.
 *
 * @throws BatchNormError `invalid-option`, `kernel`
 */
export function portIn(kernel: unknown, owner: string): Port {
  return (
    portOf(kernel ?? defaultKernel()) ??
    mustBe(
      "invalid-option",
      `${owner}: kernel`,
      "what createKernel of this copy of the package gave",
      kernel,
    )
  );
}

/** {@link portIn} of options that have nothing but a kernel. */
export function readKernel(options: KernelOption | null | undefined, owner: string): Port {
  return portIn(readOptions(owner, options, ["kernel"]).kernel, owner);
}

// The only state of this package outside of kernels: the default one, made once,
// from what the entry that was imported knows how to find.
let provideDefault: (() => Kernel) | undefined;
let theDefault: Kernel | undefined;

/** For entries: how to make the default kernel when it is first needed. */
export function provideDefaultKernel(provide: () => Kernel): void {
  provideDefault ??= provide;
}

/** For entries: whether one has told so already. */
export function hasDefaultKernel(): boolean {
  return provideDefault !== undefined;
}

/** The kernel of every tensor and layer that is not told another one. */
export function defaultKernel(): Kernel {
  theDefault ??= provideDefault?.();
  return theDefault ?? fail("kernel", "no default kernel: call init()");
}

/**
 * Grows the memory now, so that the next `bytes` of tensors need not: growing
 * detaches every `.data` handed out before. Each tensor takes up to 128 bytes more
 * than its elements, from 256 KB on up to 4 KB.
 *
 * @throws BatchNormError `out-of-memory`, `invalid-option`
 */
export function reserve(bytes: number, options?: KernelOption | null): void {
  const port = readKernel(options, "reserve");
  if (!isCount(bytes)) {
    mustBe("invalid-option", "reserve: bytes", COUNT, bytes);
  }
  port.free(port.take(bytes, false), bytes);
}

/** Bytes and tensors in use. */
export function memoryUsage(options?: KernelOption | null): MemoryUsage {
  return readKernel(options, "memoryUsage").memoryUsage();
}
