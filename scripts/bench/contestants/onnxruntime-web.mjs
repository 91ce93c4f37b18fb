/** ONNX Runtime's wasm backend. A run copies x into its memory and y out of it: there is no other way. */
import * as ort from "onnxruntime-web/wasm";
import { VARIANTS } from "../cells.mjs";
import { prepareWith, refuses } from "./onnxruntime.mjs";

/** @type {import("../contestant.d.ts").Contestant} */
export default {
  name: "onnxruntime-web",
  kind: "javascript",
  norms: ["batch", "group", "layer", "rms"],
  variants: VARIANTS,
  async start({ assets }) {
    ort.env.wasm.numThreads = 1;
    ort.env.wasm.wasmPaths = assets("onnxruntime-web");
    return {
      version: ort.env.versions.web,
      refuses,
      prepare: prepareWith(ort, { executionProviders: ["wasm"] }, { reuseOutput: false }),
    };
  },
};
