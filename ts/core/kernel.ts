/**
 * A kernel is a value: one instance of the WebAssembly module with a memory of its own. A
 * tensor belongs to the kernel that made it, and two can't meet in one call.
 */
import { Abi } from "../generated/abi.js";
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
import { Memory, type MemoryExports, type MemoryUsage } from "./memory.js";
import { CallRecord, type ComputingExports } from "./record.js";

/** The module's exports, over addresses in its memory: `generated/kernel.d.ts`. */
interface KernelExports extends MemoryExports, ComputingExports {
  abi_version(): number;
}

/** Something that a scope disposes when it ends. */
export interface Tracked {
  dispose(): void;
}

/** The inside of a {@link Kernel}: its memory, its record, and the scope that is open. */
export class Port {
  /** What is handed to users. */
  declare kernel: Kernel;
  declare readonly memory: Memory;
  declare readonly record: CallRecord;
  /** What the innermost open scope will dispose. */
  scope: Set<Tracked> | null = null;

  constructor(exports: KernelExports) {
    const version = exports.abi_version?.() ?? 0;
    if (version !== Abi.Version) {
      fail(
        "kernel",
        "createKernel: not this package's kernel, or not of the same version of the package: " +
          `ABI ${version}, not ${Abi.Version}`,
      );
    }
    this.memory = new Memory(exports);
    this.record = new CallRecord(this.memory, exports);
  }

  /** Hands something to the innermost open scope, if there is one. */
  track(made: Tracked): void {
    this.scope?.add(made);
  }
}

// Apart: what is not API is not reachable by it, and what only looks like a kernel has none.
const ports = /* @__PURE__ */ new WeakMap<object, Port>();

/**
 * What only this package may do with a kernel.
 *
 * @throws BatchNormError `invalid-option` of what is none
 */
export function portOf(kernel: unknown, owner: string): Port {
  return (
    ports.get(kernel as object) ??
    mustBe(
      "invalid-option",
      `${owner}: kernel`,
      "what createKernel of this copy of the package gave",
      kernel,
    )
  );
}

/** The kernel of an instance's exports. */
export function kernelOf(exports: object): Kernel {
  return new Kernel(new Port(exports as KernelExports));
}

/**
 * One instance of the WebAssembly kernel with a memory of its own.
 *
 * @example
 * const kernel = createKernel(bytes);
 * const bn = new BatchNorm(3, { kernel });
 * bn.forward(Tensor.from([1, 2, 3, 3, 6, 9], [2, 3], { kernel }));
 * kernel.memoryUsage().liveBytes > 0;   // → true
 * bn.forward(x);                        // throws foreign-kernel
 */
export class Kernel {
  /**
   * Linear memory that tensors live in. Growing it detaches every view of it.
   *
   * @example
   * const kernel = createKernel(bytes, { initialBytes: 64 * 2 ** 20 });
   * kernel.memory.buffer.byteLength;   // → 67108864
   */
  declare readonly memory: LinearMemory;

  /** @internal Use {@link createKernel}. */
  constructor(port: Port) {
    if (!(port instanceof Port)) fail("kernel", "Kernel: use createKernel");
    ports.set(this, port);
    port.kernel = this;
    this.memory = port.memory.linear;
  }

  /**
   * See {@link MemoryUsage}.
   *
   * @example
   * const kernel = createKernel(bytes);
   * const x = Tensor.zeros([2, 3], { kernel });
   * kernel.memoryUsage().liveBytes;   // → 24
   */
  memoryUsage(): MemoryUsage {
    return portOf(this, "memoryUsage").memory.usage();
  }
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
 * x.kernel === kernel;   // → true
 */
export function createKernel(module: KernelModule, options?: MemoryOptions | null): Kernel {
  const initialBytes = initialBytesOf("createKernel", options);
  return kernelOf(grown(instantiate(withMemory(module, initialBytes)), initialBytes));
}
