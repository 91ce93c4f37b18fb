/** The words by which threads agree, in orders that threads would come upon once in a year. */
import { afterEach, describe, expect, test, vi } from "vitest";
import { Random } from "../../scripts/random.mjs";
import { fail } from "../../ts/core/errors.js";
import { Crew, POLICY } from "../../ts/threads/crew.js";
import { At, Doing, LINE, MOST_PARTS } from "../../ts/threads/words.js";
import type { Orders } from "../../ts/threads/worker.js";
import { Interleaved } from "./interleaved.js";

afterEach(() => {
  vi.unstubAllGlobals();
  vi.restoreAllMocks();
});

/** How many operations of a worker come in a row: to the next one that matters, and beyond it. */
const BURSTS = [1, 2, 3, 5];

/** From here on the caller waits, and others go on. */
const LATE = 60;

/** How the workers are when the caller comes. */
const BEFORE = {
  "have not begun": () => {},
  "are awake": (threads: Interleaved) => threads.stepAll(3),
  sleep: (threads: Interleaved) => threads.stepAll(40),
  "are one awake and one asleep": (threads: Interleaved) => {
    threads.step(0, 3);
    threads.step(1, 40);
  },
};

/** What a program does: jobs of few parts, and an end. */
function jobs(threads: Interleaved): void {
  threads.share(2);
  threads.share(3);
  threads.crew.shutdown();
}

/** One that thinks better of it. */
function changes(threads: Interleaved): void {
  threads.crew.set(1);
  threads.crew.set(3);
  threads.share(3);
  const doing = threads.doing.filter((doing) => doing >= Doing.ENDING);
  if (doing.length > 0) throw new Error(`two were wanted, which are ${threads.doing}`);
  threads.crew.shutdown();
}

/** A program, with what workers do before which of its operations; all end, and all is done once. */
function runWith(
  prepare: (threads: Interleaved) => void,
  bursts: readonly number[][],
  program = jobs,
): number {
  const threads = new Interleaved(3);
  prepare(threads);
  let last = 0;
  const between = (at: number) => {
    last = at;
    for (const [when, worker = 0, number] of bursts) if (when === at) threads.step(worker, number);
    // The caller may wait for a part that a worker has claimed.
    if (at >= LATE) threads.stepAll(1);
  };
  threads.call(between, () => program(threads));
  threads.stepAll(60);
  // `expect` takes longer than all of this.
  if (threads.doing.some((doing) => doing !== Doing.ENDED)) {
    throw new Error(`after ${JSON.stringify(bursts)} they are ${threads.doing}, not all ended`);
  }
  return last;
}

function randomBursts(seed: number): number[][] {
  const random = new Random(seed);
  return Array.from({ length: 3 + random.below(20) }, () => [
    random.below(LATE),
    random.below(2),
    1 + random.below(12),
  ]);
}

describe("each part is done once, and all threads end, whatever comes between: workers that", () => {
  for (const [what, prepare] of Object.entries(BEFORE)) {
    test(`${what}: any two of their turns`, () => {
      const last = Math.min(runWith(prepare, []), LATE);
      const turns: number[][] = [];
      for (let at = 0; at <= last; at++) {
        for (const worker of [0, 1]) {
          for (const number of BURSTS) turns.push([at, worker, number]);
        }
      }
      for (const [i, first] of turns.entries()) {
        for (const second of turns.slice(i)) runWith(prepare, [first, second]);
      }
    });

    test(`${what}: many of their turns`, () => {
      for (let seed = 0; seed < 5000; seed++) {
        runWith(prepare, randomBursts(seed));
      }
    });
  }
});

describe("threads that are told to end, and then that there are as many as before, are there", () => {
  for (const [what, prepare] of Object.entries(BEFORE)) {
    test(what, () => {
      for (let seed = 0; seed < 5000; seed++) runWith(prepare, randomBursts(seed), changes);
    });
  }

  test("the same ones, where they haven't ended yet", () => {
    const threads = new Interleaved(3);
    threads.stepAll(40);
    threads.call(
      () => {},
      () => {
        threads.crew.set(1);
        threads.crew.set(3);
      },
    );
    threads.stepAll(10);
    expect(threads.crew.report()).toEqual({ threads: 3, ready: 3, reason: null });
    expect(threads.begun).toBe(2);
  });
});

describe("the caller", () => {
  /** A crew whose kernel is `part`, with threads that are said to be awake. */
  function newCrew(part: (job: number, hand: number, index: number) => void, hands = 2) {
    const crew = new Crew({}, {}, { ...POLICY, shared: 0, woken: Number.POSITIVE_INFINITY });
    crew.begin({ enlist: (hands) => hands, part }, () => 64);
    const { words } = crew.inspect();
    for (let hand = 1; hand < hands; hand++) words[At.HANDS + hand * LINE] = Doing.AWAKE;
    crew.set(hands);
    return { crew, words };
  }

  /** As a worker: claims the last part that is left and does it, or only says so. */
  function takeLast(words: Int32Array, isDone = true): boolean {
    const job = Atomics.load(words, At.JOB);
    if (((job >> 8) & 255) === (job & 255)) return false;
    Atomics.store(words, At.JOB, job - 1);
    if (isDone) Atomics.add(words, At.DONE, 1);
    return true;
  }

  /** Has something happen whenever the caller looks how many parts others have done. */
  function onLook(then: () => void): void {
    const load = Atomics.load as (words: unknown, place: number) => never;
    vi.spyOn(Atomics, "load").mockImplementation((words, place) => {
      if (place === At.DONE) then();
      return load(words, place);
    });
  }

  for (const parts of [1, 16, MOST_PARTS, MOST_PARTS + 1, 1000]) {
    test(`has each of ${parts} parts done once`, () => {
      const done: number[] = [];
      const { crew } = newCrew((_job, _hand, index) => done.push(index));
      crew.imports.share(parts, 8);
      done.sort((a, b) => a - b);
      expect(done).toEqual(Array.from({ length: parts }, (_, i) => i));
    });
  }

  test("counts jobs beyond their bits, and no word is negative", () => {
    let own = 0;
    const { crew, words } = newCrew(() => {
      own++;
      takeLast(words);
    });
    const seen = new Set<number>();
    for (let job = 1; job <= 40_000; job++) {
      crew.imports.share(4, job);
      const word = Atomics.load(words, At.JOB);
      if (word < 0 || word & 0xffff) throw new Error(`job ${job} leaves ${word}`);
      seen.add(word >> 16);
    }
    expect([own, crew.inspect().byOthers]).toEqual([80_000, 80_000]);
    expect(seen.size).toBe(2 ** 14);
  });

  test("whose part traps leaves none that others could begin", () => {
    const { crew, words } = newCrew((_job, _hand, index) => {
      if (index === 1) throw new WebAssembly.RuntimeError("unreachable");
    });
    expect(() => crew.imports.share(16, 8)).toThrow(WebAssembly.RuntimeError);
    expect(takeLast(words)).toBe(false);
  });

  test("that may not wait, as a page's, looks until the deadline", () => {
    const wait = vi.spyOn(Atomics, "wait").mockImplementation(() => {
      throw new TypeError("Atomics.wait cannot be called in this context");
    });
    let now = 0;
    vi.spyOn(performance, "now").mockImplementation(() => (now += 10));
    const { crew, words } = newCrew(() => takeLast(words, false));
    expect(() => crew.imports.share(2, 8)).toThrow(
      expect.objectContaining({ code: "kernel", message: expect.stringContaining("10000 ms") }),
    );
    expect(wait).toHaveBeenCalledTimes(1);
    // No look counts as more than a tenth of a second: computers sleep.
    now = 0;
    vi.spyOn(performance, "now").mockImplementation(() => (now += 1e9));
    let looks = 0;
    onLook(() => {
      if (++looks === 2050) Atomics.store(words, At.DONE, 1);
    });
    crew.imports.share(2, 8);
  });

  test("goes alone for longer and longer where others keep it waiting, and soon trusts them again", () => {
    let now = 0;
    vi.spyOn(performance, "now").mockImplementation(() => now);
    let isSlow = true;
    const { crew, words } = newCrew(() => {
      takeLast(words, false);
      now += 1;
    });
    // What others have is done as soon as somebody looks, in no time or in a second.
    onLook(() => {
      if (isSlow) now += 1000;
      Atomics.store(words, At.DONE, 1);
    });
    /** Asks each millisecond until others are asked, and shares; for how many it went alone before. */
    const goesAlone = () => {
      const begun = now;
      for (; crew.imports.hands(1e6) < 2; now++);
      const alone = now - begun;
      crew.imports.share(2, 8);
      return alone;
    };
    const slow = Array.from({ length: 40 }, goesAlone);
    expect(slow.slice(0, 11)).toEqual([0, 0, 0, 0, 16, 32, 64, 128, 256, 256, 256]);
    isSlow = false;
    expect(goesAlone()).toBe(256);
    // Eight good ones, and some that are bad cost nothing again.
    for (let good = 0; good < 7; good++) expect(goesAlone()).toBe(0);
    isSlow = true;
    expect([goesAlone(), goesAlone(), goesAlone(), goesAlone()]).toEqual([0, 0, 0, 0]);
  });

  test("gives those time that it has woken, and asks them again where they have not come", () => {
    let now = 1000;
    vi.spyOn(performance, "now").mockImplementation(() => now);
    let late = 0.09;
    const { crew, words } = newCrew(() => {
      now += 0.01;
      if (late > 0) takeLast(words, false);
    });
    words[At.HANDS + LINE] = Doing.ASLEEP;
    onLook(() => {
      now += late;
      Atomics.store(words, At.DONE, late > 0 ? 1 : 0);
    });
    // Of walks that follow each other; what is shared before is awake.
    const shares = (times: number) => {
      let asked = 0;
      for (let i = 0; i < times; i++) {
        if (crew.imports.hands(1e6) < 2) continue;
        asked++;
        crew.imports.share(2, 8);
      }
      return asked;
    };
    expect(shares(4)).toBe(0);
    expect(shares(20)).toBe(20);
    late = 0;
    expect(shares(20)).toBe(20);
    // As late as that nobody is who was woken.
    late = 0.2;
    expect(shares(20)).toBe(4);
  });

  test("has fewer threads where there is no memory for their stacks, and says so", () => {
    const crew = new Crew({}, {});
    let stacks = 0;
    const allocate = () => (++stacks > 3 ? fail("out-of-memory", "no 8192 more bytes") : 4096);
    crew.begin({ enlist: (hands) => hands, part: () => {} }, allocate);
    const { words } = crew.inspect();
    for (let hand = 1; hand < 8; hand++) words[At.HANDS + hand * LINE] = Doing.AWAKE;
    crew.set(8);
    expect(crew.report()).toEqual({ threads: 4, ready: 4, reason: "no memory for more" });
    crew.set(3);
    expect(crew.report()).toEqual({ threads: 3, ready: 3, reason: null });
  });

  test("has those that could be made, where others are refused", () => {
    const made: number[] = [];
    class Limited {
      constructor(_text: string, { workerData }: { workerData: Orders }) {
        if (workerData.hand > 2) throw new Error("there are enough");
        made.push(workerData.hand);
        Atomics.store(crew.inspect().words, At.HANDS + workerData.hand * LINE, Doing.AWAKE);
      }
      on() {}
      unref() {}
    }
    vi.stubGlobal("process", { getBuiltinModule: () => ({ Worker: Limited }) });
    const crew = new Crew({}, {});
    crew.begin({ enlist: (hands) => hands, part: () => {} }, () => 64);
    crew.set(6);
    expect(made).toEqual([1, 2]);
    expect(crew.report()).toEqual({ threads: 3, ready: 3, reason: "Error: there are enough" });
  });
});

describe("a browser's worker", () => {
  test("that fails is ended, and its number is given to another", () => {
    const made: Fake[] = [];
    class Fake {
      onerror: ((event: { message: string }) => void) | null = null;
      ended = 0;
      constructor() {
        made.push(this);
      }
      postMessage() {}
      terminate() {
        this.ended++;
      }
    }
    vi.stubGlobal("process", {});
    vi.stubGlobal("Worker", Fake);
    const crew = new Crew({}, {});
    crew.begin({ enlist: (hands) => hands, part: () => {} }, () => 64);
    crew.set(3);
    expect(made.length).toBe(2);
    made[0]?.onerror?.({ message: "" });
    expect(made[0]?.ended).toBe(1);
    expect(crew.report()).toEqual({
      ...{ threads: 1, ready: 1 },
      reason: "a page's Content-Security-Policy needs worker-src blob:",
    });
    made[1]?.onerror?.({ message: "" });
    crew.set(3);
    expect(made.length).toBe(4);
    // What is told of those before is not of these.
    made[0]?.onerror?.({ message: "late" });
    expect(crew.report()).toEqual({ threads: 3, ready: 1, reason: null });
  });
});
