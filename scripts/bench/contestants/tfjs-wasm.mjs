/** TensorFlow.js on its wasm kernels (XNNPACK). */
import {
  getThreadsCount,
  setThreadsCount,
  setWasmPaths,
  version_wasm,
} from "@tensorflow/tfjs-backend-wasm";
import { tfjsContestant, use } from "./tfjs.mjs";

const load = async ({ runtime, assets, threads }) => {
  if (runtime === "node" && threads > 1) {
    throw new Error("its threads are for browsers alone (tensorflow/tfjs#3830)");
  }
  setWasmPaths(assets("@tensorflow/tfjs-backend-wasm"));
  setThreadsCount(threads);
  await use("wasm");
  // Half as many as processors at the most, and one in a page that isn't isolated: without a word.
  if (threads > 1 && getThreadsCount() !== threads) {
    throw new Error(
      `it made ${getThreadsCount()} of ${threads} threads: at most half as many as processors`,
    );
  }
  return version_wasm;
};

/** @type {import("../contestant.d.ts").Contestant} */
export default { ...tfjsContestant("tfjs wasm", "wasm", load), threads: "several" };
