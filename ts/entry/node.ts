/** The package in Node: the kernel's bytes lie beside this file. */
import { readFileSync } from "node:fs";
import { createKernel, provideDefaultKernel } from "../kernel.js";

provideDefaultKernel(() =>
  createKernel(readFileSync(new URL("../generated/kernel.wasm", import.meta.url))),
);

export * from "../index.js";
