/** The package in Vercel's edge runtime, whose bundlers know a module by its `?module`. */
import { provideDefaultKernel } from "../core/default-kernel.js";
import { instantiate } from "../core/instance.js";
import { kernelOf } from "../core/kernel.js";
import kernel from "../generated/kernel.wasm?module";

provideDefaultKernel(() => kernelOf(instantiate(kernel)));

export * from "../index.js";
