/** The package wherever bytes can be compiled: the kernel's are part of this file. */
import kernel from "../generated/kernel.wasm?text";
import { instantiate } from "../instantiate.js";
import { kernelOf, provideDefaultKernel } from "../kernel.js";
import { decode } from "./text.js";

// At first use, not at import: a program that only might normalize pays nothing.
provideDefaultKernel(() => kernelOf(instantiate(decode(kernel))));

export * from "../index.js";
