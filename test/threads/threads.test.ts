/** What becomes of threads: they start, stop, die, trap, and are refused. */
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { Worker } from "node:worker_threads";
import { BatchNorm, createKernel, type Kernel, Tensor } from "batchnorm-wasm";
import { afterEach, describe, expect, test, vi } from "vitest";
import { kernelBytes } from "../../scripts/kernel/under-test.mjs";
import { crewed } from "../../ts/threads/kernel.js";
import { At, Doing } from "../../ts/threads/words.js";
import { bytes, EAGER, newCrew, ready } from "./crewed.js";
import { differences, run } from "./programs.js";
import { checkStacks, stress } from "./stress.js";

const root = fileURLToPath(new URL("../..", import.meta.url));

afterEach(() => {
  vi.unstubAllGlobals();
});

/** A tensor that is cut into parts. */
const large = (kernel: Kernel) => Tensor.zeros([64, 4096], { kernel });

test("random calls while threads start, stop and die, and memory grows, give one thread's bits", async () => {
  const tally = await stress(600, 3);
  expect(tally.byOthers).toBeGreaterThan(20);
  expect(tally.shared).toBeGreaterThan(200);
});

test("a stack that was used to near its end is found", () => {
  const { kernel, crew } = newCrew();
  crew.set(2);
  const { stacks } = crew.inspect();
  checkStacks(kernel, stacks);
  new Uint8Array(kernel.memory.buffer)[(stacks[0] as number) + 4000] = 1;
  expect(() => checkStacks(kernel, stacks)).toThrow("within 4000 bytes");
  crew.shutdown();
});

test("report tells of one thread before there are others, and set and shutdown change that", async () => {
  const { kernel, crew } = newCrew();
  crew.set(3);
  expect(crew.report().threads).toBe(3);
  await ready(crew, 3);
  expect(crew.report()).toEqual({ threads: 3, ready: 3, reason: null });
  crew.set(2);
  await vi.waitFor(() => expect(crew.report().ready).toBe(2), 10_000);
  crew.shutdown();
  await vi.waitFor(() => expect(crew.report().ready).toBe(1), 10_000);
  // The next call that is worth it makes others.
  for (let i = 0; i < 2; i++) new BatchNorm(4096, { kernel }).forward(large(kernel));
  await ready(crew, 2);
  crew.shutdown();
});

test("a thread that was killed between calls is made up for, and made again", async () => {
  const { kernel, crew } = newCrew();
  crew.set(2);
  await ready(crew, 2);
  await crew.inspect().kill(1);
  const want = differences(run(4, kernel, 100_000), run(4, createKernel(kernelBytes), 100_000));
  expect(want).toEqual([]);
  await vi.waitFor(() => expect(crew.report().ready).toBe(1), 10_000);
  crew.set(2);
  await ready(crew, 2);
  crew.shutdown();
});

describe("inside of a call", () => {
  /** Takes one part of the next job and does what it is told. */
  async function rogue(words: Int32Array, then: string): Promise<Worker> {
    const worker = new Worker(
      `const { workerData: words } = require("node:worker_threads");
       Atomics.store(words, ${At.NOTHING} + 1, 1);
       for (;;) {
         const job = Atomics.load(words, ${At.JOB});
         if ((job & 255) > (job >> 8 & 255) && Atomics.compareExchange(words, ${At.JOB}, job, job - 1) === job) break;
       }
       ${then}`,
      { eval: true, workerData: words },
    );
    await vi.waitFor(() => expect(Atomics.load(words, At.NOTHING + 1)).toBe(1), 20_000);
    return worker;
  }

  /** As if a thread were there. */
  function pretend(words: Int32Array): void {
    Atomics.store(words, At.HANDS + 16, Doing.AWAKE);
  }

  test("a thread that dies is an error after the deadline, and the kernel is unusable", async () => {
    const { kernel, crew } = newCrew({ deadline: 300, shared: 1 });
    crew.set(2);
    await ready(crew, 2);
    const { words } = crew.inspect();
    const bn = new BatchNorm(4096, { kernel });
    const x = large(kernel);
    const worker = await rogue(words, "");
    expect(() => {
      for (let i = 0; i < 1000; i++) bn.forward(x, { out: x });
    }).toThrow(
      expect.objectContaining({
        code: "kernel",
        message: expect.stringContaining("has not ended its part of a call within 300 ms"),
      }),
    );
    expect(() => Tensor.zeros([1], { kernel })).toThrow(
      expect.objectContaining({ code: "kernel" }),
    );
    await worker.terminate();
    crew.shutdown();
  });

  test("a thread that traps is an error, and the kernel is unusable", async () => {
    const { kernel, crew } = newCrew();
    const { words } = crew.inspect();
    const bn = new BatchNorm(4096, { kernel });
    const x = large(kernel);
    crew.set(2);
    await ready(crew, 2);
    pretend(words);
    const worker = await rogue(
      words,
      `Atomics.store(words, ${At.TRAPPED}, 1); Atomics.add(words, ${At.DONE}, 1);`,
    );
    expect(() => {
      for (let i = 0; i < 1000; i++) bn.forward(x, { out: x });
    }).toThrow(
      expect.objectContaining({
        code: "kernel",
        message: expect.stringContaining("trapped in another thread"),
      }),
    );
    expect(() => bn.forward(x)).toThrow(expect.objectContaining({ code: "kernel" }));
    await worker.terminate();
    crew.shutdown();
  });

  test("a worker that is given what is no job traps, and says so", async () => {
    const { crew } = newCrew();
    crew.set(2);
    await ready(crew, 2);
    const { words } = crew.inspect();
    // An address that no instance has.
    Atomics.store(words, At.ADDRESS, -8);
    Atomics.store(words, At.DONE, 0);
    Atomics.store(words, At.JOB, (77 << 16) | 1);
    Atomics.notify(words, At.JOB);
    await vi.waitFor(() => expect(Atomics.load(words, At.DONE)).toBe(1), 10_000);
    expect(Atomics.load(words, At.TRAPPED)).toBe(1);
    crew.shutdown();
  });
});

describe("where there can be no threads, the same kernel runs on one", () => {
  const wanted = run(4, createKernel(kernelBytes), 100_000);

  for (const [what, stub, reason] of [
    ["a page that is not isolated", ["crossOriginIsolated", false], "cross-origin isolated"],
    ["a runtime without SharedArrayBuffer", ["SharedArrayBuffer", undefined], "SharedArrayBuffer"],
    ["a runtime without workers", ["process", {}], "no Worker"],
    [
      "a Node that is too old",
      ["process", { versions: { node: "18.20.8" } }],
      "process.getBuiltinModule is missing",
    ],
  ] as const) {
    test(what, async () => {
      vi.stubGlobal(...(stub as [string, unknown]));
      const { kernel, crew } = crewed(bytes, EAGER);
      expect(crew).toBe(null);
      const { alone } = await import("../../ts/threads/crew.js");
      expect(alone()).toEqual({ threads: 1, ready: 1, reason: expect.stringContaining(reason) });
      vi.unstubAllGlobals();
      expect(kernel.memory.buffer).toBeInstanceOf(ArrayBuffer);
      expect(differences(run(4, kernel, 100_000), wanted)).toEqual([]);
    });
  }

  test("workers that can't be made", () => {
    class Refused {
      constructor() {
        throw new Error("not here");
      }
    }
    const real = process.getBuiltinModule.bind(process);
    vi.stubGlobal("process", {
      ...process,
      getBuiltinModule: (name: string) =>
        name === "node:worker_threads" ? { Worker: Refused } : real(name as "node:os"),
    });
    const { kernel, crew } = newCrew();
    crew.set(4);
    expect(crew.report()).toEqual({ threads: 1, ready: 1, reason: "Error: not here" });
    expect(differences(run(4, kernel, 100_000), wanted)).toEqual([]);
  });
});

describe("a program", () => {
  const program = (body: string) => `
    import { BatchNorm, setThreads, shutdown, Tensor, threads } from "./ts/entry/threads-node.ts";
    const x = Tensor.zeros([512, 1024]);
    const bn = new BatchNorm(1024);
    const go = () => bn.train().forward(x, { out: x });
    ${body}`;

  function runProgram(body: string, ...flags: string[]) {
    const args = [...flags, "--import", "tsx", "--input-type=module", "--eval", program(body)];
    const { status, stdout, stderr, signal } = spawnSync(process.execPath, args, {
      cwd: root,
      encoding: "utf8",
      timeout: 60_000,
    });
    return { status, signal, stdout: stdout.trim(), stderr: stderr.trim() };
  }

  const WAIT = "while (threads().ready < 2) await new Promise((go) => setTimeout(go, 5));";
  for (const [what, body, code] of [
    [
      "ends by itself with threads that sleep",
      `setThreads(2); ${WAIT} go(); await new Promise((go) => setTimeout(go, 50));`,
      0,
    ],
    ["ends by itself with threads that are awake", `setThreads(2); ${WAIT} go();`, 0],
    ["ends by itself with threads that have not begun", "setThreads(4);", 0],
    ["ends by process.exit with its code", `setThreads(2); ${WAIT} go(); process.exit(7);`, 7],
    ["ends after shutdown", `setThreads(2); ${WAIT} go(); shutdown();`, 0],
  ] as const) {
    test(what, () => {
      expect(runProgram(`${body}`)).toEqual({ status: code, signal: null, stdout: "", stderr: "" });
    });
  }

  test("that throws ends with its error", () => {
    const { status, stderr } = runProgram(`setThreads(2); ${WAIT} go(); throw new Error("mine");`);
    expect(status).toBe(1);
    expect(stderr).toContain("mine");
  });
});
