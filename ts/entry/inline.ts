/** The package wherever bytes can be compiled: the kernel's are part of this file. */
import { provideDefaultKernel } from "../core/default-kernel.js";
import { instantiate } from "../core/instance.js";
import { kernelOf } from "../core/kernel.js";
import kernel from "../generated/kernel.wasm?text";
import { decode } from "./text.js";

// At first use, not at import: a program that only might normalize pays nothing.
const bytes = () => decode(kernel);
provideDefaultKernel(() => kernelOf(instantiate(bytes())), bytes);

export * from "../index.js";
