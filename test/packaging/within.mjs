/**
 * A promise that fails after `seconds` and says what was waited for, so that nothing
 * that hangs can hang the run.
 *
 * @template T @param {number} seconds @param {string} what @param {Promise<T>} promise
 * @returns {Promise<T>}
 */
export function within(seconds, what, promise) {
  /** @type {NodeJS.Timeout} */
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(
      () => reject(new Error(`${what}: nothing after ${seconds} s`)),
      seconds * 1e3,
    );
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}
