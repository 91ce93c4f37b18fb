/**
 * The threads that share a kernel's long walks: made when there is work for them, and asked for
 * parts by claims (`words.ts`). Calls stay synchronous, and go on where nobody helps.
 */
import { type BatchNormError, fail } from "../core/errors.js";
import type { Threads } from "./report.js";
import { processors, type Spawned, spawn, whyNone } from "./spawn.js";
import { At, Doing, LINE, MOST_HANDS, MOST_PARTS, WORDS_BYTES } from "./words.js";

/** What of a kernel's instance is used. */
export interface CrewExports {
  enlist(hands: number): number;
  part(job: number, hand: number, index: number): void;
}

/** When to do what. */
export interface Policy {
  /**
   * Bytes that a walk reads, or a pass of samples or rows reads and writes, from which threads that
   * are awake are asked.
   */
  readonly shared: number;
  /** From which it is worth it to wake threads; of walks that follow each other all that are shared. */
  readonly woken: number;
  /** How long threads look for parts before they sleep, in ms. */
  readonly patience: number;
  /** How many times as long as others have kept this thread waiting it goes alone after that, at least. */
  readonly rest: number;
  /** How long a part may take that somebody else has claimed, in ms. */
  readonly deadline: number;
}

/**
 * What was measured to be worth it: a round trip takes a third of a microsecond, waking one about
 * fourteen and its coming twenty more, a byte a tenth of a nanosecond. What is smaller lies in the
 * caller's nearest caches, and would have to leave them.
 */
export const POLICY: Policy = {
  shared: 900_000,
  woken: 3_000_000,
  patience: 0.2,
  rest: 32,
  deadline: 10_000,
};

/** Walks are a stream, after so many that came within so many ms of each other. */
const STREAM = { walks: 4, ms: 0.5 };

/** So many ms later than the caller those may be that were woken. */
const LATE = 0.1;

/** What a walk has lost counts no more than so many ms: one accident tells little. */
const ACCIDENT = 0.5;

/** More threads than these wait for memory: unless somebody asks for more, there are no more. */
const USUAL = 4;

/** Bytes of a thread's stack; the deepest call takes a tenth of it. */
export const STACK_BYTES = 8192;

/** What tests see of a crew. */
export interface Inspection {
  /** Lowest addresses of stacks. */
  readonly stacks: readonly number[];
  readonly words: Int32Array;
  /** Walks that were shared, and parts of them that others have done. */
  readonly shared: number;
  readonly byOthers: number;
  kill(hand: number): unknown;
}

/** A thread that was made. */
interface Member {
  readonly spawned: Spawned;
  /** Lowest address of its stack. */
  readonly stack: number;
}

/** Threads of one kernel. */
export class Crew {
  readonly #words: Int32Array;
  readonly #buffer: SharedArrayBuffer;
  readonly #policy: Policy;
  readonly #module: object;
  readonly #memory: object;
  #exports: CrewExports | null = null;
  #allocate: ((bytes: number) => number) | null = null;
  /** Threads by their numbers; the caller is 0. */
  readonly #members: (Member | null)[] = [];
  /** Stacks by their numbers, which are kept for the next of the same number. */
  readonly #stacks: number[] = [];
  /** How many are wanted. */
  #wanted: number;
  /** Desks of the kernel, which are never fewer: a thread that was told to end may still do a part. */
  #desks = 1;
  #reason: string | null = null;
  /** Whether threads were made since the last shutdown. */
  #began = false;
  #wakes = false;
  #number = 0;
  /** How often others have kept this thread waiting lately, and until when it goes alone by that. */
  #strikes = 0;
  #until = 0;
  /** How many walks followed each other, and when the last one was. */
  #followed = 0;
  #last = 0;
  #shared = 0;
  #byOthers = 0;
  /** Whether this thread may wait, which a page's may not. */
  #canWait: boolean | null = null;

  constructor(module: object, memory: object, policy: Policy = POLICY) {
    this.#module = module;
    this.#memory = memory;
    this.#policy = policy;
    this.#buffer = new SharedArrayBuffer(WORDS_BYTES);
    this.#words = new Int32Array(this.#buffer);
    this.#wanted = Math.min(processors(), USUAL);
    if (this.#wanted === 1) this.#reason = "there is one processor";
  }

  /** What the kernel's instance imports. */
  get imports(): { hands(bytes: number): number; share(parts: number, job: number): void } {
    return {
      hands: (bytes) => this.#hands(bytes >>> 0),
      share: (parts, job) => this.#share(parts, job),
    };
  }

  /** Once the instance is there. @param allocate gives addresses of memory that nobody else has */
  begin(exports: CrewExports, allocate: (bytes: number) => number): void {
    this.#exports = exports;
    this.#allocate = allocate;
    this.#makeRoom();
  }

  /** How many there are. */
  report(): Threads {
    let ready = 1;
    for (let hand = 1; hand < MOST_HANDS; hand++) if (this.#isReady(hand)) ready++;
    return { threads: Math.max(this.#wanted, 1), ready, reason: this.#reason };
  }

  /** Has so many threads from now on. */
  set(number: number): void {
    this.#wanted = number;
    this.#reason = null;
    this.#makeRoom();
    this.#end(number);
    this.#spawn();
  }

  /** Ends all threads; the next long call makes others. */
  shutdown(): void {
    this.#end(1);
    this.#began = false;
  }

  /** For tests: what threads share, how much they did, and what ends one on the spot. */
  inspect(): Inspection {
    return {
      stacks: this.#stacks.filter((stack) => stack > 0),
      words: this.#words,
      shared: this.#shared,
      byOthers: this.#byOthers,
      kill: (hand) => this.#members[hand]?.spawned.terminate(),
    };
  }

  #doing(hand: number): Doing {
    return Atomics.load(this.#words, At.HANDS + hand * LINE);
  }

  #isReady(hand: number): boolean {
    const doing = this.#doing(hand);
    return doing === Doing.AWAKE || doing === Doing.ASLEEP;
  }

  /** Desks and stacks, before any thread needs them: memory is taken between calls alone. */
  #makeRoom(): void {
    if (this.#wanted > this.#desks) {
      this.#desks = Math.max(this.#desks, this.#exports?.enlist(this.#wanted) ?? 1);
      if (this.#desks < this.#wanted) this.#give(this.#desks, "no memory for more");
    }
    for (let hand = 1; hand < this.#wanted; hand++) {
      try {
        this.#stacks[hand] ??= this.#allocate?.(STACK_BYTES) ?? 0;
      } catch (error) {
        if ((error as BatchNormError).code !== "out-of-memory") throw error;
        this.#give(hand, "no memory for more");
      }
    }
  }

  /** Makes the threads that are missing. */
  #spawn(): void {
    this.#began = true;
    for (let hand = 1; hand < this.#wanted; hand++) {
      const place = At.HANDS + hand * LINE;
      // One that was told to end, and has not yet, stays.
      Atomics.compareExchange(this.#words, place, Doing.ENDING, Doing.STARTING);
      const doing = this.#doing(hand);
      if (doing !== Doing.NOTHING && doing !== Doing.ENDED) continue;
      Atomics.store(this.#words, place, Doing.STARTING);
      const stack = this.#stacks[hand] as number;
      const orders = {
        module: this.#module,
        memory: this.#memory,
        words: this.#buffer,
        hand,
        stack: stack + STACK_BYTES,
        patience: this.#policy.patience,
      };
      try {
        const member: Member = {
          stack,
          spawned: spawn(orders, (reason) => {
            // One that follows has the number by now.
            if (this.#members[hand] !== member) return;
            this.#members[hand] = null;
            Atomics.store(this.#words, place, Doing.ENDED);
            if (reason !== null) this.#give(hand, reason);
          }),
        };
        this.#members[hand] = member;
      } catch (error) {
        Atomics.store(this.#words, place, Doing.ENDED);
        this.#give(hand, `${error}`);
      }
    }
  }

  /** No thread of this number or a later one, for a reason. */
  #give(hand: number, reason: string): void {
    this.#reason ??= reason;
    this.#wanted = Math.min(this.#wanted, hand);
    this.#end(hand);
  }

  /** Tells threads from a number on to end. */
  #end(from: number): void {
    for (let hand = from; hand < MOST_HANDS; hand++) {
      const place = At.HANDS + hand * LINE;
      for (;;) {
        const doing = this.#doing(hand);
        if (doing === Doing.NOTHING || doing >= Doing.ENDING) break;
        // It may have fallen asleep or woken up since: then once more.
        Atomics.compareExchange(this.#words, place, doing, Doing.ENDING);
      }
    }
    // A job without parts: whoever sleeps looks up.
    this.#publish(0);
    Atomics.notify(this.#words, At.JOB);
  }

  #publish(parts: number): void {
    this.#number = (this.#number + 1) & 0x7fff;
    Atomics.store(this.#words, At.JOB, (this.#number << 16) | parts);
  }

  /** How many are worth asking for a walk over so many bytes. */
  #hands(bytes: number): number {
    const { shared, woken } = this.#policy;
    if (bytes < shared || this.#wanted < 2) return 1;
    const now = performance.now();
    if (now < this.#until) return 1;
    let [awake, asleep] = [1, 0];
    for (let hand = 1; hand < this.#wanted; hand++) {
      const doing = this.#doing(hand);
      if (doing === Doing.AWAKE) awake++;
      else if (doing === Doing.ASLEEP) asleep++;
    }
    this.#followed = now - this.#last < STREAM.ms ? this.#followed + 1 : 0;
    this.#last = now;
    const isWorthIt = bytes >= woken || this.#followed >= STREAM.walks;
    this.#wakes = asleep > 0 && isWorthIt;
    if (isWorthIt && !this.#began) this.#spawn();
    return this.#wakes ? awake + asleep : awake;
  }

  #share(parts: number, job: number): void {
    const words = this.#words;
    const part = (this.#exports as CrewExports).part;
    // The word has no bits for more.
    while (parts > MOST_PARTS) part(job, 0, --parts);
    Atomics.store(words, At.ADDRESS, job);
    Atomics.store(words, At.DONE, 0);
    this.#publish(parts);
    const asked = performance.now();
    if (this.#wakes) Atomics.notify(words, At.JOB);
    const begun = performance.now();
    let own = 0;
    try {
      for (;;) {
        const now = Atomics.load(words, At.JOB);
        const first = (now >> 8) & 255;
        if (first === (now & 255)) break;
        if (Atomics.compareExchange(words, At.JOB, now, now + 256) !== now) continue;
        part(job, 0, first);
        own++;
      }
    } finally {
      // Where a part of this thread trapped, nobody begins another one.
      this.#publish(0);
    }
    const worked = performance.now();
    this.#shared++;
    this.#byOthers += parts - own;
    this.#join(parts - own);
    const ended = performance.now();
    this.#last = ended;
    this.#judge(own, parts - own, worked - begun, begun - asked + ended - worked);
    if (Atomics.load(words, At.TRAPPED) !== 0) {
      fail(
        "kernel",
        "the kernel trapped in another thread and is unusable, please report this bug",
      );
    }
  }

  /**
   * Goes alone for a while where waking others and waiting for them took longer than what they did
   * would have: there aren't processors for both. Each time for longer, as long as it goes on so.
   * Whoever was woken may be late, or not come: it is awake for what follows.
   */
  #judge(own: number, others: number, worked: number, lost: number): void {
    if (others === 0) return;
    const saved = own > 0 ? (worked / own) * others : 0;
    if (saved + (this.#wakes ? LATE : 0) > lost) {
      if (this.#strikes > 0) this.#strikes--;
      return;
    }
    // No more than eight: however long it went on, threads that help again are soon trusted. And no
    // less than four: now and then the system gives one that it wakes the caller's own processor.
    if (this.#strikes < 8) this.#strikes++;
    if (this.#strikes > 3) {
      const rest = Math.min(lost, ACCIDENT) * this.#policy.rest;
      this.#until = this.#last + rest * 2 ** (this.#strikes - 4);
    }
  }

  /** Waits for so many parts, which others have claimed. */
  #join(others: number): void {
    const words = this.#words;
    // Most are done within microseconds.
    for (let turn = 0; turn < 2000; turn++) {
      if (Atomics.load(words, At.DONE) === others) return;
    }
    const { deadline } = this.#policy;
    let [waited, last] = [0, performance.now()];
    while (Atomics.load(words, At.DONE) !== others) {
      const now = performance.now();
      // A computer that slept was not working.
      waited += Math.min(now - last, 100);
      last = now;
      if (waited > deadline) {
        fail(
          "kernel",
          `a thread has not ended its part of a call within ${deadline} ms: it was terminated or ` +
            "suspended, may still write, and the kernel is unusable",
        );
      }
      // The other one may need this processor.
      if (waited > 0.05 && this.#mayWait()) Atomics.wait(words, At.NOTHING, 0, 0.05);
    }
  }

  #mayWait(): boolean {
    if (this.#canWait === null) {
      try {
        Atomics.wait(this.#words, At.NOTHING, 0, 0);
        this.#canWait = true;
      } catch {
        this.#canWait = false; // a page
      }
    }
    return this.#canWait;
  }
}

/** Threads where there can be none. */
export function alone(): Threads {
  return { threads: 1, ready: 1, reason: whyNone() ?? "memory can't be shared" };
}
