import * as ordinary from "batchnorm-wasm";
import * as threaded from "batchnorm-wasm/threads";
import * as weights from "batchnorm-wasm/weights";
import golden from "../golden.mjs";
import { report } from "../report.js";
import { runThreads } from "../threads.mjs";

// A server that isolates no page, as those of development do, has no threads to give.
const reason = crossOriginIsolated ? null : "cross-origin isolated";
report(() => {
  if (location.search.includes("isolated=yes") && reason)
    throw new Error("the page is not isolated");
  return runThreads(ordinary, threaded, weights, golden, reason);
});
