/** Runs the program in the context that the address names, and reports what it found. */
import { report } from "./report.js";

const query = new URLSearchParams(location.search);
const context = query.get("context") ?? "page";
/** Why there is one thread alone, where threads are asked for. */
const reason = query.get("reason") ?? "";

/** @type {Record<string, () => Promise<object>>} */
const contexts = {
  page: async () => (await import("./here.js")).here(),
  "audio worklet": async () => (await import("./audio-worklet.js")).audioWorklet(),
  "slim page": async () => (await import("./slim-page.js")).slimPage(),
  "module worker": () => inWorker("./module-worker.js"),
  "threads page": async () => (await import("./threads-here.js")).threadsHere(reason),
  "threads module worker": () => inWorker(`./threads-worker.js?reason=${reason}`),
  async "service worker"() {
    const { serviceWorker } = navigator;
    await serviceWorker.register("./service-worker.js", { type: "module" });
    const { active } = await serviceWorker.ready;
    return new Promise((resolve) => {
      serviceWorker.onmessage = ({ data }) => resolve(data);
      active?.postMessage("run");
    });
  },
};

/** @param {string} address */
function inWorker(address) {
  return new Promise((resolve, reject) => {
    const worker = new Worker(address, { type: "module" });
    worker.onmessage = ({ data }) => resolve(data);
    worker.onerror = ({ message }) => reject(new Error(`worker: ${message ?? "not loaded"}`));
  });
}

await report(async () => ({ ...(await contexts[context]?.()), isolated: crossOriginIsolated }));
