/** What a page or a process found, held to what this Node finds. */
import { join } from "node:path";
import { pathToFileURL } from "node:url";

/**
 * @typedef {{ checks: import("./program.mjs").Check[], fingerprint: string }} Found
 *
 * @param {string} consumer folder that `install` made
 * @returns {Promise<(found: Found & { error?: string }) => Found>} throws where the
 *   program didn't run, or where a result is another to the bit
 */
export async function comparison(consumer) {
  const { main } = await import(pathToFileURL(join(consumer, "main.mjs")).href);
  /** @type {Found} */
  const expected = main();
  return (found) => {
    if (found.error) throw new Error(found.error);
    const names = (/** @type {Found} */ { checks }) => checks.map(({ name }) => name).join(", ");
    if (names(found) !== names(expected)) throw new Error(`checks made: ${names(found)}`);
    if (found.fingerprint !== expected.fingerprint) {
      throw new Error(
        `the results' bits are ${found.fingerprint}, in Node ${expected.fingerprint}`,
      );
    }
    return found;
  };
}
