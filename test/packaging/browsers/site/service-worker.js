import { here } from "./here.js";

self.addEventListener("message", async ({ source }) => source.postMessage(await here()));
