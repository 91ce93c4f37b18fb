/** The package in Vercel's edge runtime, whose bundlers know a module by its `?module`. */
import kernel from "../generated/kernel.wasm?module";
import { instantiate } from "../instantiate.js";
import { kernelOf, provideDefaultKernel } from "../kernel.js";

provideDefaultKernel(() => kernelOf(instantiate(kernel)));

export * from "../index.js";
