/** Runs the program in the context that the address names, and reports what it found. */
import { report } from "./report.js";

const query = new URLSearchParams(location.search);
const context = query.get("context") ?? "page";
/** Why there is one thread alone, where threads are asked for. */
const reason = query.get("reason") ?? "";

/** @type {Record<string, () => Promise<object>>} */
const contexts = {
  page: async () => (await import("./here.js")).here(),
  "audio worklet": () => inAudioWorklet("./processor.js"),
  "slim page": async () => (await import("./slim-page.js")).slimPage(),
  "module worker": () => inWorker("./module-worker.js"),
  "threads page": async () => (await import("./threads-here.js")).threadsHere(reason),
  "threads module worker": () => inWorker(`./threads-worker.js?reason=${reason}`),
  "threads audio worklet": () => inAudioWorklet("./threads-processor.js"),
  "service worker": () => inServiceWorker("service-worker"),
  "threads service worker": () => inServiceWorker("threads-service-worker"),
};

/** @param {string} processor */
async function inAudioWorklet(processor) {
  const { audioWorklet } = await import("./audio-worklet.js");
  return audioWorklet(processor, reason);
}

/** Each has a scope of its own: another's would have to end before it begins. @param {string} name */
async function inServiceWorker(name) {
  const { serviceWorker } = navigator;
  const options = /** @type {const} */ ({ type: "module", scope: `./${name}/` });
  const registration = await serviceWorker.register(`./${name}.js`, options);
  const worker = registration.installing ?? registration.waiting ?? registration.active;
  return new Promise((resolve, reject) => {
    serviceWorker.onmessage = ({ data }) => resolve(data);
    const ask = () => {
      if (worker?.state === "activated") worker.postMessage(reason);
      if (worker?.state === "redundant") reject(new Error("service worker: not installed"));
    };
    worker?.addEventListener("statechange", ask);
    ask();
  });
}

/** @param {string} address */
function inWorker(address) {
  return new Promise((resolve, reject) => {
    const worker = new Worker(address, { type: "module" });
    worker.onmessage = ({ data }) => resolve(data);
    worker.onerror = ({ message }) => reject(new Error(`worker: ${message ?? "not loaded"}`));
  });
}

await report(async () => ({ ...(await contexts[context]?.()), isolated: crossOriginIsolated }));
