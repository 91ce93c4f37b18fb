/** Runs the program in the context that the address names, and reports what it found. */
import { report } from "./report.js";

/** @type {Record<string, () => Promise<object>>} */
const contexts = {
  page: async () => (await import("./here.js")).here(),
  "audio worklet": async () => (await import("./audio-worklet.js")).audioWorklet(),
  "slim page": async () => (await import("./slim-page.js")).slimPage(),
  "module worker": () =>
    new Promise((resolve, reject) => {
      const worker = new Worker("./module-worker.js", { type: "module" });
      worker.onmessage = ({ data }) => resolve(data);
      worker.onerror = ({ message }) => reject(new Error(`worker: ${message ?? "not loaded"}`));
    }),
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

const context = new URLSearchParams(location.search).get("context") ?? "page";
await report(async () => ({ ...(await contexts[context]?.()), isolated: crossOriginIsolated }));
