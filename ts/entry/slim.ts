/** The package without the kernel: bring it yourself, as a module, bytes or an address. */
import { fail, show } from "../errors.js";
import { createKernel, hasDefaultKernel, provideDefaultKernel } from "../kernel.js";

export * from "../index.js";

/** What the kernel can come as: `batchnorm-wasm/kernel.wasm`, compiled, read or to be fetched. */
export type KernelSource = WebAssembly.Module | BufferSource | Response | URL | string;

/**
 * Makes the default kernel. Only the first success counts: calling it again, or
 * twice at once, does nothing more.
 *
 * @param source an address (`URL` or `string`) is fetched; any may be a promise
 * @throws BatchNormError `kernel` where it can't be fetched or is not this package's
 *   kernel, `no-simd`; it can be tried again then
 *
 * @example
 * await init(new URL("./kernel.wasm", import.meta.url));
 */
export async function init(source: KernelSource | PromiseLike<KernelSource>): Promise<void> {
  if (hasDefaultKernel()) return;
  initSync(await load(await source));
}

/**
 * {@link init} for what is there already; bytes are compiled synchronously.
 *
 * @example
 * initSync(readFileSync("kernel.wasm"));
 */
export function initSync(module: WebAssembly.Module | BufferSource): void {
  if (hasDefaultKernel()) return;
  const kernel = createKernel(module);
  provideDefaultKernel(() => kernel);
}

/** A module or bytes, fetched where need be. */
async function load(source: KernelSource): Promise<WebAssembly.Module | BufferSource> {
  // By tag and by method, not instanceof: those of another realm are as good.
  const isAddress = typeof source === "string" || show(source) === "URL";
  try {
    const found = isAddress ? await fetch(source as string | URL) : source;
    if (!("arrayBuffer" in (found as Response))) return found as WebAssembly.Module | BufferSource;
    const response = found as Response;
    if (!response.ok) throw new Error(`${response.status} ${response.statusText}`);
    return await response.arrayBuffer();
  } catch (cause) {
    fail("kernel", `init: the kernel can't be fetched from ${source}`, { cause });
  }
}
