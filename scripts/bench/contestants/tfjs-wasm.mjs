/** TensorFlow.js on its wasm kernels (XNNPACK), on one thread. */
import { setThreadsCount, setWasmPaths, version_wasm } from "@tensorflow/tfjs-backend-wasm";
import { tfjsContestant } from "./tfjs.mjs";

export default tfjsContestant("tfjs wasm", "wasm", async ({ assets }) => {
  setWasmPaths(assets("@tensorflow/tfjs-backend-wasm"));
  setThreadsCount(1);
  return version_wasm;
});
