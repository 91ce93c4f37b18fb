/** ONNX Runtime's native CPU kernels, on one thread. */
import * as ort from "onnxruntime-node";
import { VARIANTS } from "../cells.mjs";
import { prepareWith, refuses } from "./onnxruntime.mjs";

/** @type {import("../contestant.d.ts").Contestant} */
export default {
  name: "onnxruntime-node",
  kind: "native",
  norms: ["batch", "group", "layer", "rms"],
  variants: VARIANTS,
  async start() {
    const options = {
      executionProviders: ["cpu"],
      intraOpNumThreads: 1,
      interOpNumThreads: 1,
      executionMode: /** @type {const} */ ("sequential"),
    };
    return {
      version: ort.env.versions.node,
      refuses,
      prepare: prepareWith(ort, options, { reuseOutput: true }),
    };
  },
};
