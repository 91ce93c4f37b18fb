/** `batchnorm-wasm/slim` in Node, whose `fetch` takes no address of a file. */
import { readFile } from "node:fs/promises";
import * as slim from "./slim.js";

export * from "./slim.js";

/** {@link slim.init}, which takes a file's address too. */
export const init: typeof slim.init = async (source, options) => {
  const found = await source;
  const href = typeof found === "string" ? found : (found as { href?: string } | null)?.href;
  if (!/^file:/i.test(`${href}`)) return slim.init(found, options);
  // As `fetch` would answer, so that it is read, and fails, where others are fetched.
  const response = { ok: true, status: 200, statusText: "OK" };
  const arrayBuffer = async () => new Uint8Array(await readFile(new URL(`${href}`))).buffer;
  return slim.init({ ...response, href, arrayBuffer }, options);
};
