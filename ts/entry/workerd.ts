/** The package in Cloudflare Workers, which refuse bytes: the platform compiles the kernel. */
import { provideDefaultKernel } from "../core/default-kernel.js";
import { instantiate } from "../core/instance.js";
import { kernelOf } from "../core/kernel.js";
import kernel from "../generated/kernel.wasm";

provideDefaultKernel(() => kernelOf(instantiate(kernel)));

export * from "../index.js";
