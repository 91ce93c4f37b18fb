/**
 * What a worker runs. It is text: a file of its own would have to be found by every bundler, and
 * the text of a function can name what a minifier has put beside it.
 */
import { At, Doing, LINE } from "./words.js";

/** What a worker is told. */
export interface Orders {
  readonly module: object;
  readonly memory: object;
  /** {@link At}. */
  readonly words: object;
  readonly hand: number;
  /** Where its stack begins, which grows downwards. */
  readonly stack: number;
  /** How long it looks for parts before it sleeps, in ms. */
  readonly patience: number;
}

/**
 * Who has seen no job for a while sleeps: where there are jobs at all it is worth to wait for the
 * next one. At once where it has done all of one, since it has the processor then that the caller
 * waits for. Who was told to end says that it does: until then it may be told to stay.
 *
 * Plain JavaScript of the oldest engines, whose comments users would load; `begin` is called with
 * {@link Orders}.
 */
export const BEGIN = /* @__PURE__ */ `
"use strict";
const begin = ({ module, memory, words, hand, stack, patience }) => {
  const all = new Int32Array(words), own = ${At.HANDS} + hand * ${LINE};
  const { add, compareExchange, load, store, wait } = Atomics;
  const refuse = () => { throw new Error("a part shares nothing"); };
  let part;
  try {
    const { exports } = new WebAssembly.Instance(module, {
      "./kernel_bg.js": { memory },
      crew: { hands: () => 1, share: refuse },
    });
    exports.__stack_pointer.value = stack;
    part = exports.part;
  } catch (error) {
    store(all, own, ${Doing.ENDED});
    throw error;
  }
  let until = 0, seen = 0, isAlone = false;
  for (let turn = 0; ; turn++) {
    const job = load(all, ${At.JOB}), first = job >> 8 & 255, last = (job & 255) - 1;
    if (first <= last) {
      if (compareExchange(all, ${At.JOB}, job, job - 1) !== job) continue;
      try {
        part(load(all, ${At.ADDRESS}), hand, last);
      } catch (trap) {
        store(all, ${At.TRAPPED}, 1);
      }
      add(all, ${At.DONE}, 1);
      isAlone = last === 0;
      continue;
    }
    const doing = load(all, own);
    if (doing === ${Doing.ENDING} && compareExchange(all, own, doing, ${Doing.ENDED}) === doing) return;
    if (doing === ${Doing.STARTING}) compareExchange(all, own, doing, ${Doing.AWAKE});
    if (job !== seen) [seen, until] = [job, 0];
    if (!isAlone) {
      if (turn % 64) continue;
      const now = performance.now();
      if (until === 0) until = now + patience;
      if (now < until) continue;
    }
    if (compareExchange(all, own, ${Doing.AWAKE}, ${Doing.ASLEEP}) !== ${Doing.AWAKE}) continue;
    wait(all, ${At.JOB}, job);
    compareExchange(all, own, ${Doing.ASLEEP}, ${Doing.AWAKE});
    until = performance.now() + patience / 8;
    [seen, isAlone] = [load(all, ${At.JOB}), false];
  }
};
`;

/** For `node:worker_threads`, which Deno and Bun have, too. */
export const NODE_WORKER = /* @__PURE__ */ `${BEGIN}
begin(process.getBuiltinModule("node:worker_threads").workerData);
`;

/** For a page or a worker of a browser. */
export const BROWSER_WORKER = /* @__PURE__ */ `${BEGIN}
onmessage = ({ data }) => { begin(data); close(); };
`;
