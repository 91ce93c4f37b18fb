/** Ways of running a call that many times, in ms. */

/** @param {() => void} call @returns {(calls: number) => number} */
export function timed(call) {
  return (calls) => {
    const start = performance.now();
    for (let i = 0; i < calls; i++) call();
    return performance.now() - start;
  };
}

/** @param {() => Promise<void>} call @returns {(calls: number) => Promise<number>} */
export function timedAsync(call) {
  return async (calls) => {
    const start = performance.now();
    for (let i = 0; i < calls; i++) await call();
    return performance.now() - start;
  };
}
