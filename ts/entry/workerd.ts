/** The package in Cloudflare Workers, which refuse bytes: the platform compiles the kernel. */
import kernel from "../generated/kernel.wasm";
import { instantiate } from "../instantiate.js";
import { kernelOf, provideDefaultKernel } from "../kernel.js";

provideDefaultKernel(() => kernelOf(instantiate(kernel)));

export * from "../index.js";
