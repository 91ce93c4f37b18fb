/** The package in Cloudflare Workers, which refuse bytes: the platform compiles the kernel. */
import kernel from "../generated/kernel.wasm";
import { createKernel, provideDefaultKernel } from "../kernel.js";

provideDefaultKernel(() => createKernel(kernel));

export * from "../index.js";
