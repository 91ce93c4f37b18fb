/** Contestants that run wherever JavaScript does, in the order in which they are shown. */

/** @type {readonly (() => Promise<{ default: import("../contestant.d.ts").Contestant }>)[]} */
export const CONTESTANTS = [
  () => import("./memory-copy.mjs"),
  () => import("./bare-loops.mjs"),
  () => import("./norm-alone.mjs"),
  () => import("./ours.mjs"),
  () => import("./one-thread.mjs"),
  () => import("./ours-plain.mjs"),
  () => import("./two-passes.mjs"),
  () => import("./naive-loop.mjs"),
  () => import("./flat-loop.mjs"),
  () => import("./set-loop.mjs"),
  () => import("./tfjs-cpu.mjs"),
  () => import("./tfjs-wasm.mjs"),
  () => import("./tfjs-cpu-ours.mjs"),
  () => import("./tfjs-wasm-ours.mjs"),
  () => import("./onnxruntime-web.mjs"),
];
