/** What all contestants compute: one inference of [64, 16], as after `3` everywhere. */
export const ROWS = 64;
export const CHANNELS = 16;

/** The files beside a rival's JavaScript: a folder in Node, an address in a page. */
export const filesOf = (/** @type {string} */ name) =>
  typeof document === "undefined" ? `${process.cwd()}/node_modules/${name}/dist/` : `/${name}/`;

/** @param {ArrayLike<number>} y */
export function check(y) {
  if (y.length !== ROWS * CHANNELS || !(Math.abs(/** @type {number} */ (y[0]) - 3) < 1e-4)) {
    throw new Error(`wrong result: ${y.length} values, ${y[0]}`);
  }
}
