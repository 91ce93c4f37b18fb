/**
 * A crew and its workers in one thread: the crew's own code and the workers' own text, in whatever
 * order their atomic operations are told to happen.
 */
import { Crew, POLICY, type Policy } from "../../ts/threads/crew.js";
import { At, Doing, LINE } from "../../ts/threads/words.js";
import { BEGIN, type Orders } from "../../ts/threads/worker.js";

/** What a worker does next, and what that gives. */
type Step = ["add" | "compareExchange" | "load" | "store" | "wait", ...number[]];
type Worker = Generator<Step, void, unknown>;

const real = globalThis.Atomics;
const realProcess = globalThis.process;

/** The workers' text as a generator, that yields each of its atomic operations before it happens. */
const steps = (() => {
  let text = BEGIN.replace("const begin = (", "return function* (").replace("}) => {", "}) {");
  // It would look at the clock each 64th time: nobody would see the rest.
  if (!text.includes("turn % 64")) throw new Error("the worker looks at the clock otherwise");
  text = text.replace("turn % 64", "false");
  for (let at = 0; ; at++) {
    const found = /\b(add|compareExchange|load|store|wait)\(all, /.exec(text.slice(at));
    if (!found) break;
    at += found.index;
    const opened = at + found[0].indexOf("(");
    let [end, depth] = [opened, 0];
    do {
      if (text[end] === "(") depth++;
      else if (text[end] === ")") depth--;
      end++;
    } while (depth > 0);
    const operands = text.slice(at + found[0].length, end - 1);
    text = `${text.slice(0, at)}(yield ["${found[1]}", ${operands}])${text.slice(end)}`;
  }
  return new Function("Atomics", "WebAssembly", "performance", text);
})();

/** More operations than a caller needs by far. */
const ENDLESS = 2000;

/** What is done before an operation of the caller's; `at` counts these. */
export type Between = (at: number) => void;

/** Two workers or more and a caller, none of whom does anything unless it is told to. */
export class Interleaved {
  readonly crew: Crew;
  readonly words: Int32Array;
  /** Parts by who did them, of the job that is under way. */
  done: number[] = [];
  /** How many workers there ever were. */
  begun = 0;
  #job = 0;
  readonly #workers: { steps: Worker; next: Step | null; asleep: boolean; gives: unknown }[] = [];
  #between: Between | null = null;
  #at = 0;
  #now = 0;

  constructor(hands: number, policy: Partial<Policy> = {}) {
    const eager = { ...POLICY, shared: 0, woken: 0, rest: 0, patience: 1, ...policy };
    this.crew = new Crew({}, {}, eager);
    this.words = this.crew.inspect().words;
    // As if they were made: `spawn` finds that they are.
    for (let hand = 1; hand < hands; hand++) {
      this.words[At.HANDS + hand * LINE] = Doing.STARTING;
    }
    this.crew.begin({ enlist: (hands) => hands, part: (...told) => this.#part(...told) }, () => 64);
    this.crew.set(hands);
    for (let hand = 1; hand < hands; hand++) this.#workers.push(this.#begin(hand));
  }

  #begin(hand: number) {
    const part = (...told: [number, number, number]) => this.#part(...told);
    class Instance {
      exports = { __stack_pointer: { value: 0 }, part };
    }
    // Each look at the clock is half of the patience later.
    const performance = { now: () => (this.#now += 0.5) };
    const begin = steps(real, { Instance }, performance) as (orders: Orders) => Worker;
    const orders = {
      module: {},
      memory: {},
      words: this.words.buffer,
      hand,
      stack: 1,
      patience: 1,
    };
    const worker = begin(orders);
    this.begun++;
    return { steps: worker, next: worker.next().value ?? null, asleep: false, gives: undefined };
  }

  #part(job: number, _hand: number, index: number): void {
    if (job !== this.#job) throw new Error(`a part of job ${job} in job ${this.#job}`);
    this.done[index] = (this.done[index] ?? 0) + 1;
  }

  /** Does so many operations of a worker, as far as it has some and doesn't sleep. */
  step(worker: number, number = 1): void {
    const one = this.#workers[worker];
    for (let done = 0; one?.next && !one.asleep && done < number; done++) {
      const [operation, place = 0, ...operands] = one.next;
      if (operation === "wait") {
        // What it gives is known once it is woken.
        if (one.gives === undefined && this.words[place] === operands[0]) {
          one.asleep = true;
          return;
        }
        one.next = one.steps.next("ok").value ?? null;
        one.gives = undefined;
      } else {
        const run = real[operation] as (...told: unknown[]) => number;
        one.next = one.steps.next(run(this.words, place, ...operands)).value ?? null;
      }
    }
  }

  /** Every worker goes on for so long. */
  stepAll(number: number): void {
    for (let turn = 0; turn < number; turn++) {
      for (const worker of this.#workers.keys()) this.step(worker);
    }
  }

  /** What each worker is doing, as the words say. */
  get doing(): Doing[] {
    return this.#workers.map((_, i) => this.words[At.HANDS + (i + 1) * LINE] as Doing);
  }

  /** Runs the caller's code; `between` comes before each of its operations, from number 0 on. */
  call<T>(between: Between, body: () => T): T {
    this.#between = between;
    this.#at = 0;
    const { before } = this;
    // biome-ignore format: an operation a line
    globalThis.Atomics = {
      ...{ load: before("load"), store: before("store"), compareExchange: before("compareExchange") },
      notify: before("notify", (_, place) => {
        for (const worker of this.#workers) {
          if (worker.asleep && worker.next?.[1] === place) [worker.asleep, worker.gives] = [false, "ok"];
        }
        return 0;
      }),
      wait: before("wait", () => "timed-out"),
    } as unknown as typeof Atomics;
    const make = (hand: number) => {
      this.#workers[hand - 1] = this.#begin(hand);
    };
    class Worker {
      constructor(_text: string, { workerData }: { workerData: Orders }) {
        make(workerData.hand);
      }
      on() {}
      unref() {}
    }
    globalThis.process = { getBuiltinModule: () => ({ Worker }) } as unknown as typeof process;
    try {
      return body();
    } finally {
      globalThis.Atomics = real;
      globalThis.process = realProcess;
    }
  }

  /** Shares a job, all of whose parts have to be done once. Returns whether others were asked. */
  share(parts: number): boolean {
    if (this.crew.imports.hands(1) < 2) return false;
    this.#job++;
    this.done = [];
    this.crew.imports.share(parts, this.#job);
    const wrong = Array.from({ length: parts }, (_, i) => this.done[i] ?? 0).some((n) => n !== 1);
    if (wrong || this.done.length > parts) {
      throw new Error(`parts were done so often: ${JSON.stringify(this.done)}`);
    }
    return true;
  }

  /** An operation of the caller's; what is no worker's word is nobody else's either. */
  get before() {
    return (
      name: "load" | "store" | "compareExchange" | "notify" | "wait",
      instead?: (words: Int32Array, place: number) => unknown,
    ) =>
      (words: Int32Array, place: number, ...told: number[]) => {
        const isNobodys = place >= At.HANDS + (this.#workers.length + 1) * LINE;
        if (!isNobodys) this.#between?.(this.#at++);
        if (this.#at > ENDLESS) throw new Error("the caller waits for what nobody does");
        if (instead) return instead(words, place);
        return (real[name] as (...told: unknown[]) => unknown)(words, place, ...told);
      };
  }
}
