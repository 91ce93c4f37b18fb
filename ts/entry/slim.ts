/** The package without the kernel: bring it yourself, as a module, bytes or an address. */
import { hasDefaultKernel, provideDefaultKernel } from "../core/default-kernel.js";
import { fail } from "../core/errors.js";
import {
  grown,
  initialBytesOf,
  instantiateAsync,
  type KernelModule,
  type MemoryOptions,
  withMemory,
} from "../core/instance.js";
import { createKernel, kernelOf } from "../core/kernel.js";
import { show } from "../core/show.js";

export * from "../index.js";

/**
 * What the kernel can come as: `batchnorm-wasm/kernel.wasm`, compiled or read; a `Response`
 * with it; or its address, as a `URL` or text.
 */
export type KernelSource = KernelModule | FetchedKernel | { readonly href: string } | string;

/** Of a `Response`, what is read. */
export interface FetchedKernel {
  readonly ok: boolean;
  readonly status: number;
  readonly statusText: string;
  arrayBuffer(): Promise<ArrayBuffer>;
}

/**
 * Makes the default kernel, and compiles in the background. Only the first success counts:
 * calling it again, or twice at once, does nothing more.
 *
 * @param source may be a promise; an address is fetched (a file's is read, in Node)
 * @throws BatchNormError `kernel` where it can't be fetched or is not this package's
 *   kernel, `no-simd`, `out-of-memory`; it can be tried again then
 *
 * @example
 * await init(new URL("./kernel.wasm", import.meta.url));
 * const x = Tensor.zeros([2, 3]);   // → Tensor([2, 3]) { 0, 0, 0, 0, 0, 0 }
 */
export async function init(
  source: KernelSource | PromiseLike<KernelSource>,
  options?: MemoryOptions | null,
): Promise<void> {
  if (hasDefaultKernel()) return;
  const initialBytes = initialBytesOf("init", options);
  const module = await load(await source);
  // Another call may have ended first.
  if (hasDefaultKernel()) return;
  const exports = await instantiateAsync(withMemory(module, initialBytes));
  const kernel = kernelOf(grown(exports, initialBytes));
  provideDefaultKernel(() => kernel);
}

/**
 * {@link init} for what is there already; bytes are compiled synchronously.
 *
 * @example
 * import kernel from "batchnorm-wasm/kernel.wasm";   // in a Worker, which compiles it
 * initSync(kernel);
 * const x = Tensor.zeros([2, 3]);   // → Tensor([2, 3]) { 0, 0, 0, 0, 0, 0 }
 */
export function initSync(module: KernelModule, options?: MemoryOptions | null): void {
  if (hasDefaultKernel()) return;
  const kernel = createKernel(module, options);
  provideDefaultKernel(() => kernel);
}

/** A module or bytes, fetched where need be. */
async function load(source: KernelSource): Promise<KernelModule> {
  let address: string | undefined;
  try {
    // By what they have, not instanceof: those of another realm are as good.
    address = typeof source === "string" ? source : (source as { href?: string }).href;
    const isHere = address === undefined || "arrayBuffer" in Object(source);
    const found = (isHere ? source : await fetch(address as string)) as object;
    if (!("arrayBuffer" in found)) return found;
    const response = found as FetchedKernel;
    if (!response.ok) throw new Error(`${response.status} ${response.statusText}`);
    return await response.arrayBuffer();
  } catch (cause) {
    fail("kernel", `init: the kernel can't be fetched from ${show(address ?? source)}`, { cause });
  }
}
