/**
 * The kernel that is tested and measured: the committed one, or KERNEL_WASM=path; that of several
 * threads lies beside it. All that is not about the committed files themselves has them from here,
 * child processes too.
 */
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const { KERNEL_WASM } = process.env;

export const kernelFile = KERNEL_WASM
  ? pathToFileURL(KERNEL_WASM)
  : new URL("../../ts/generated/kernel.wasm", import.meta.url);

export const kernelBytes = new Uint8Array(readFileSync(kernelFile));

/** Where that of several threads is. */
export const threadsKernelFile = new URL("kernel-threads.wasm", kernelFile);
