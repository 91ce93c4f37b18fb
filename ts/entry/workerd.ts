/** The package in Cloudflare Workers, which refuse bytes: the platform compiles the kernel. */

import { instantiate } from "../core/instance.js";
import { kernelOf, provideDefaultKernel } from "../core/kernel.js";
import kernel from "../generated/kernel.wasm";

provideDefaultKernel(() => kernelOf(instantiate(kernel)));

export * from "../index.js";
