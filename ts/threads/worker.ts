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
 * Who finds no part for a while sleeps, and is less eager the next time: it may have taken the
 * processor from the one that it waits for.
 *
 * Plain JavaScript of the oldest engines; `begin` is called with {@link Orders}. */
const BEGIN = /* @__PURE__ */ `
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
  let eager = patience, until = performance.now() + eager;
  if (compareExchange(all, own, ${Doing.STARTING}, ${Doing.AWAKE}) === ${Doing.STARTING}) {
    for (let turn = 0; ; turn++) {
      const job = load(all, ${At.JOB}), left = job & 255;
      if (left > 0) {
        if (compareExchange(all, ${At.JOB}, job, job - 1) !== job) continue;
        try {
          part(load(all, ${At.ADDRESS}), hand, load(all, ${At.PARTS}) - left);
        } catch (trap) {
          store(all, ${At.TRAPPED}, 1);
        }
        add(all, ${At.DONE}, 1);
        if (until > 0) eager = Math.min(2 * eager, patience);
        until = 0;
        continue;
      }
      if (load(all, own) !== ${Doing.AWAKE}) break;
      if (turn % 64) continue;
      const now = performance.now();
      if (until === 0) until = now + eager;
      if (now < until) continue;
      eager = Math.max(eager / 2, patience / 16);
      if (compareExchange(all, own, ${Doing.AWAKE}, ${Doing.ASLEEP}) !== ${Doing.AWAKE}) break;
      wait(all, ${At.JOB}, job);
      if (compareExchange(all, own, ${Doing.ASLEEP}, ${Doing.AWAKE}) !== ${Doing.ASLEEP}) break;
      until = 0;
    }
  }
  store(all, own, ${Doing.ENDED});
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
