/** What the entry with threads has besides, about those of its default kernel. */
import { defaultKernel, hasDefaultKernel, provideDefaultKernel } from "../core/default-kernel.js";
import { alone, type Crew } from "./crew.js";
import { type Crewed, crewed } from "./kernel.js";
import { checkNumber } from "./number.js";
import type { Threads } from "./report.js";

export type { Threads };

let made: Crewed | undefined;

/** For entries: where the default kernel's bytes come from. */
export function provideCrewed(bytes: () => Uint8Array<ArrayBuffer>): void {
  provideDefaultKernel(() => {
    made = crewed(bytes());
    return made.kernel;
  });
}

/** The default kernel's crew, if it has one. */
function crew(): Crew | null {
  if (hasDefaultKernel()) defaultKernel();
  return made?.crew ?? null;
}

/**
 * How many threads the default kernel has, how many are ready, and why not more.
 *
 * They are made by the first call that is worth it, or by {@link setThreads}. In a browser they
 * begin once the program has yielded (`await`): what it computes before, it computes alone.
 *
 * @example
 * threads().threads >= 1;   // → true
 */
export function threads(): Threads {
  return crew()?.report() ?? alone();
}

/**
 * Has calls be shared by up to `number` threads, that of the caller among them, from 1 to 16, and
 * makes them now. By default there are as many as processors, but no more than 4: memory is what
 * all of them wait for. Results are the same to the bit.
 *
 * Where there can be none, nothing happens, and {@link threads} says why.
 *
 * @throws BatchNormError `invalid-option`
 *
 * @example
 * setThreads(2);
 * setThreads(0);   // throws invalid-option
 */
export function setThreads(number: number): void {
  checkNumber(number);
  crew()?.set(number);
}

/**
 * Ends the default kernel's threads, once they have done what they are at; the next long call makes
 * others. No program needs it to end: threads keep none running.
 *
 * @example
 * shutdown();
 * threads().ready;   // → 1
 */
export function shutdown(): void {
  made?.crew?.shutdown();
}
