/** The default kernel, and which one a call is told to use. */

import { Contents } from "../generated/abi.js";
import { COUNT, isCount } from "./checks.js";
import { fail, mustBe } from "./errors.js";
import type { KernelModule } from "./instance.js";
import { type Kernel, type Port, portOf } from "./kernel.js";
import type { MemoryUsage } from "./memory.js";
import { readOptions } from "./options.js";

// The only state of this package outside of kernels: the default one, made once,
// from what the entry that was imported knows how to find.
let provideDefault: (() => Kernel) | undefined;
let provideModule: (() => KernelModule) | undefined;
let theDefault: Kernel | undefined;

/**
 * For entries: how to make the default kernel when it is first needed.
 *
 * @param module where to find what it is made of, for kernels beside it
 */
export function provideDefaultKernel(provide: () => Kernel, module?: () => KernelModule): void {
  provideDefault ??= provide;
  provideModule ??= module;
}

/** What the entry that was imported has kernels made of. */
export function kernelModule(): KernelModule {
  return provideModule?.() ?? fail("kernel", "no kernel is part of the entry that was imported");
}

/** For entries: whether one has told so already. */
export function hasDefaultKernel(): boolean {
  return provideDefault !== undefined;
}

/**
 * The kernel of every tensor and layer that is not told another one.
 *
 * @example
 * defaultKernel() === Tensor.zeros([1]).kernel;   // → true
 */
export function defaultKernel(): Kernel {
  theDefault ??= provideDefault?.() ?? fail("kernel", "no default kernel: call init()");
  return theDefault;
}

/** Which kernel, where it is not the default one. */
export interface KernelOption {
  kernel?: Kernel | null | undefined;
}

/**
 * The port of a kernel that was given, or of the default one.
 *
 * @throws BatchNormError `invalid-option`, `kernel`
 */
export function portIn(kernel: unknown, owner: string): Port {
  return portOf(kernel ?? defaultKernel(), owner);
}

/** {@link portIn} of options that have nothing but a kernel. */
export function readKernel(options: KernelOption | null | undefined, owner: string): Port {
  return portIn(readOptions(owner, options, ["kernel"]).kernel, owner);
}

/**
 * Grows the memory now, so that the next `bytes` of tensors need not: growing
 * detaches every `.data` handed out before. Each tensor takes up to 128 bytes more
 * than its elements, from 256 KB on up to 4 KB.
 *
 * @throws BatchNormError `out-of-memory`, `invalid-option`
 *
 * @example
 * reserve(100e6);
 * memoryUsage().memoryBytes > 100e6;   // → true
 * const { data } = x;
 * const big = Tensor.zeros([20e6]);    // needs no growth: data stays attached
 */
export function reserve(bytes: number, options?: KernelOption | null): void {
  const { memory } = readKernel(options, "reserve");
  if (!isCount(bytes)) {
    mustBe("invalid-option", "reserve: bytes", COUNT, bytes);
  }
  memory.free(memory.take(bytes, Contents.Arbitrary), bytes);
}

/**
 * Bytes and tensors in use.
 *
 * @example
 * const big = Tensor.zeros([32, 64, 56, 56]);
 * memoryUsage().liveBytes;      // → 25690112
 * memoryUsage().liveStorages;   // → 1
 */
export function memoryUsage(options?: KernelOption | null): MemoryUsage {
  return readKernel(options, "memoryUsage").memory.usage();
}
