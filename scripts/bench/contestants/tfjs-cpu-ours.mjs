/** TensorFlow.js in plain JavaScript, with this package's kernels for norms. */
import "@tensorflow/tfjs";
import { tfjsWithOurs } from "./tfjs-ours.mjs";

export default tfjsWithOurs("tfjs cpu + batchnorm-wasm", "cpu", async () => {});
