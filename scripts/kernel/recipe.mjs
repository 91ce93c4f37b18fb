/** The flags of the kernel's build; part of the sources' digest. */
import { readdirSync } from "node:fs";
import { join } from "node:path";

/**
 * @param {string} workspace
 * @param {string} registries cargo's folder of unpacked crates, one subfolder a registry
 */
export const rustFlags = (workspace, registries) => [
  // Without reference-types, or wasm-bindgen adds a table of externrefs and an import
  // that fills it: the module shall import nothing.
  "-Ctarget-feature=+simd128,-reference-types",
  // The compiler_builtins that rustup delivers claim reference-types all the same, and
  // wasm-bindgen would believe them. Naming the features for the linker keeps the claim
  // out of the module, with its check off, which would refuse. (A std built by
  // toolchain.sh needs neither and gives the same bytes with them.)
  "-Clink-arg=--features=simd128,bulk-memory,bulk-memory-opt,sign-ext,nontrapping-fptoint,mutable-globals,multivalue",
  "-Clink-arg=--no-check-features",
  // A page less than 4 GiB: the end of an allocation at the very end would be address 0,
  // and the allocator would lose its way.
  "-Clink-arg=--max-memory=4294901760",
  // Small programs never leave it: growing detaches views, and slows the engine's typed
  // arrays. What is not touched costs nothing.
  "-Clink-arg=--initial-memory=16777216",
  // No call is deeper than a few hundred bytes. The stack comes first in memory, so that
  // overflowing it traps; small addresses behind it are short in code.
  "-Clink-arg=-zstack-size=8192",
  // Nobody reads a panic's place here (see the panic handler), and it is a twentieth of the
  // module. The flag is not stable: build.mjs lets this compiler take it all the same.
  "-Zlocation-detail=none",
  // Loop strength reduction rewrites addresses so that their offsets no longer fold into
  // loads: 3 % of the module, and a tenth of the time of loops over rows.
  "-Cllvm-args=-disable-lsr",
  // What is left of panic locations carries paths: none of the machine's own may get into the module,
  // nor the name of a mirror.
  `--remap-path-prefix=${workspace}=/batchnorm-wasm`,
  ...readdirSync(registries).map((name) => `--remap-path-prefix=${join(registries, name)}=/crates`),
];

export const wasmOptFlags = [
  "-O3",
  "--enable-simd",
  "--enable-bulk-memory",
  "--enable-sign-ext",
  "--enable-nontrapping-float-to-int",
  "--enable-mutable-globals",
  "--enable-multivalue",
  "--strip-debug",
  "--strip-producers",
  "--strip-target-features",
];

/**
 * What the kernel of several threads has besides: a memory that comes from outside and is shared,
 * and a stack that each instance is told. The linker copies the statics once then, guarded by an
 * atomic instruction of its own; Rust knows nothing of it.
 */
export const threads = {
  cargoFlags: ["--features", "threads"],
  linkArguments: ["--import-memory", "--shared-memory", "--export=__stack_pointer"],
  wasmOptFlags: ["--enable-threads"],
};
