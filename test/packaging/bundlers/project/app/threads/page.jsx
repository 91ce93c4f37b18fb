"use client";
import * as ordinary from "batchnorm-wasm";
import * as threaded from "batchnorm-wasm/threads";
import * as weights from "batchnorm-wasm/weights";
import { useEffect } from "react";
import golden from "../../golden.mjs";
import { report } from "../../report.js";
import { runThreads } from "../../threads.mjs";

export default function Page() {
  useEffect(() => {
    // A page that isn't isolated has no threads, and works all the same.
    const reason = crossOriginIsolated ? null : "cross-origin isolated";
    const isAsked = location.search.includes("isolated=yes");
    report(() => {
      if (crossOriginIsolated !== isAsked) throw new Error("the page's headers are others");
      return runThreads(ordinary, threaded, weights, golden, reason);
    });
  }, []);
}
