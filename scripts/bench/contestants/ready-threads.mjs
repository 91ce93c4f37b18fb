/** Threads of this package that are there before anything is timed. */

/** ms for them to come, and between two looks. */
const [PATIENCE, LOOK] = [10_000, 10];

/**
 * @param {Pick<typeof import("batchnorm-wasm/threads"), "setThreads" | "threads">} library
 * @param {number} number
 * @throws where they don't come, with the package's reason
 */
export async function readyThreads({ setThreads, threads }, number) {
  setThreads(number);
  for (let waited = 0; threads().ready < number; waited += LOOK) {
    const { ready, reason } = threads();
    if (waited >= PATIENCE || reason !== null) {
      throw new Error(`${ready} of ${number} threads are ready: ${reason ?? "others don't come"}`);
    }
    await new Promise((resolve) => setTimeout(resolve, LOOK));
  }
}
