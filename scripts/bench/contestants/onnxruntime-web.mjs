/** ONNX Runtime's wasm backend. A run copies x into its memory and y out of it: there is no other way. */
import { VARIANTS } from "../cells.mjs";
import { prepareWith, refuses } from "./onnxruntime.mjs";

/** ms in which its threads look for work after a run, measured. */
const SETTLES = 20;

/** @type {import("../contestant.d.ts").Contestant} */
export default {
  name: "onnxruntime-web",
  kind: "javascript",
  norms: ["batch", "group", "layer", "rms"],
  variants: VARIANTS,
  threads: "several",
  async start({ runtime, assets, threads }) {
    // In Node its bundle for browsers loads, but finds no workers: threads are in the one for Node.
    const ort =
      runtime === "node" && threads > 1
        ? await import("onnxruntime-web")
        : await import("onnxruntime-web/wasm");
    ort.env.wasm.numThreads = threads;
    ort.env.wasm.wasmPaths = assets("onnxruntime-web");
    const prepare = prepareWith(ort, { executionProviders: ["wasm"] }, { reuseOutput: false });
    return {
      version: ort.env.versions.web,
      settles: threads > 1 ? SETTLES : 0,
      refuses,
      async prepare(cell, data) {
        const prepared = await prepare(cell, data);
        // Where it can have none, it goes on with one and a warning.
        const { numThreads } = ort.env.wasm;
        if (numThreads !== threads)
          throw new Error(`asked for ${threads} threads, it made ${numThreads}`);
        return prepared;
      },
    };
  },
};
