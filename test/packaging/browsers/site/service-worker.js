import { here } from "./here.js";

self.addEventListener("message", ({ source }) => source.postMessage(here()));
