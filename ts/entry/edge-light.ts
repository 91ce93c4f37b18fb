/** The package in Vercel's edge runtime, whose bundlers know a module by its `?module`. */
import kernel from "../generated/kernel.wasm?module";
import { createKernel, provideDefaultKernel } from "../kernel.js";

provideDefaultKernel(() => createKernel(kernel));

export * from "../index.js";
