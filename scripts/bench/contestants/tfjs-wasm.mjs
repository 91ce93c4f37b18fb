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
  // A page that isn't isolated has one, without a word.
  if (threads > 1 && getThreadsCount() !== threads) {
    throw new Error(`asked for ${threads} threads, it made ${getThreadsCount()}`);
  }
  return version_wasm;
};

/** @type {import("../contestant.d.ts").Contestant} */
export default { ...tfjsContestant("tfjs wasm", "wasm", load), threads: "several" };
