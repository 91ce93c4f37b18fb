/** ONNX Runtime's native CPU kernels. */
import * as ort from "onnxruntime-node";
import { VARIANTS } from "../cells.mjs";
import { prepareWith, refuses } from "./onnxruntime.mjs";

/** ms in which its threads look for work after a run, measured; it could be told not to, and would be slower. */
const SETTLES = 40;

/** @type {import("../contestant.d.ts").Contestant} */
export default {
  name: "onnxruntime-node",
  kind: "native",
  norms: ["batch", "group", "layer", "rms"],
  variants: VARIANTS,
  threads: "several",
  async start({ threads }) {
    const options = {
      executionProviders: ["cpu"],
      intraOpNumThreads: threads,
      interOpNumThreads: 1,
      executionMode: /** @type {const} */ ("sequential"),
    };
    return {
      version: ort.env.versions.node,
      settles: threads > 1 ? SETTLES : 0,
      refuses,
      prepare: prepareWith(ort, options, { reuseOutput: true }),
    };
  },
};
