/** Contestants that need Node: native code. */

/** @type {readonly (() => Promise<{ default: import("../contestant.d.ts").Contestant }>)[]} */
export const NODE_CONTESTANTS = [() => import("./onnxruntime-node.mjs")];

/** Child processes, with `--native` alone; `npm run bench:native-setup` makes their environment. */
export const NATIVE_CONTESTANTS = ["pytorch", "torch-compile", "jax"].map(
  (file) => () => import(`./${file}.mjs`),
);
