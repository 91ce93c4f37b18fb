/** What the entry with threads has besides, at the edge, where there are none. */
import { checkNumber } from "./number.js";
import type { Threads } from "./report.js";

export type { Threads };

/** {@link ../threads/index.threads} */
export function threads(): Threads {
  return { threads: 1, ready: 1, reason: "this runtime has no workers" };
}

/** Nothing happens. @throws BatchNormError `invalid-option` */
export function setThreads(number: number): void {
  checkNumber(number);
}

/** There is nothing to end. */
export function shutdown(): void {}
