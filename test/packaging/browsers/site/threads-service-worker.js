import { threadsHere } from "./threads-here.js";

self.addEventListener("message", async ({ source, data }) =>
  source.postMessage(await threadsHere(data)),
);
