/** TensorFlow.js on its wasm kernels, on one thread, with this package's for norms. */
import { setThreadsCount, setWasmPaths } from "@tensorflow/tfjs-backend-wasm";
import { tfjsWithOurs } from "./tfjs-ours.mjs";

export default tfjsWithOurs("tfjs wasm + batchnorm-wasm", "wasm", async ({ assets }) => {
  // Once: a backend that is there has its files.
  setWasmPaths(assets("@tensorflow/tfjs-backend-wasm"));
  setThreadsCount(1);
});
