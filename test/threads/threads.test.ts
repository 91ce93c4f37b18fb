/** What becomes of threads: they start, stop, die, trap, and are refused. */
import { spawnSync } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { Worker } from "node:worker_threads";
import { BatchNorm, createKernel, type Kernel, Tensor } from "batchnorm-wasm";
import { afterEach, describe, expect, test, vi } from "vitest";
import { kernelBytes } from "../../scripts/kernel/under-test.mjs";
import { alone } from "../../ts/threads/crew.js";
import { crewed } from "../../ts/threads/kernel.js";
import { At, Doing } from "../../ts/threads/words.js";
import { bytes, EAGER, newCrew, ready } from "./crewed.js";
import { differences, run } from "./programs.js";
import { checkStacks, stress } from "./stress.js";

const root = fileURLToPath(new URL("../..", import.meta.url));

afterEach(() => {
  vi.unstubAllGlobals();
  vi.restoreAllMocks();
});

/** A tensor that is cut into parts. */
const large = (kernel: Kernel) => Tensor.zeros([64, 4096], { kernel });

test("random calls while threads start, stop and die, and memory grows, give one thread's bits", async () => {
  const tally = await stress(600, 3);
  expect(tally.byOthers).toBeGreaterThan(20);
  expect(tally.shared).toBeGreaterThan(200);
  expect(tally.killed).toBeGreaterThan(0);
  expect(tally.grown).toBeGreaterThan(0);
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
  new BatchNorm(4096, { kernel }).forward(large(kernel));
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

test("threads have the memory that was taken after they began", async () => {
  const { kernel, crew } = newCrew();
  crew.set(3);
  await ready(crew, 3);
  const { memory } = kernel;
  const held: Tensor[] = [];
  for (let round = 0; round < 3; round++) {
    const { byteLength } = memory.buffer;
    while (memory.buffer.byteLength === byteLength) {
      held.push(Tensor.zeros([2 ** 20], { kernel }));
    }
    const [x, y] = [held.at(-1), Tensor.zeros([2 ** 20], { kernel })] as [Tensor, Tensor];
    held.push(y);
    expect(x.data.fill(1).byteOffset + 4 * x.size).toBeGreaterThan(byteLength);
    const bn = new BatchNorm(1024, { kernel }).eval();
    const before = crew.inspect().byOthers;
    for (let call = 0; call < 1000 && crew.inspect().byOthers === before; call++) {
      bn.forward(x.reshape([1024, 1024]), { out: y.reshape([1024, 1024]) });
    }
    expect(crew.inspect().byOthers).toBeGreaterThan(before);
    expect(new Set(y.data)).toEqual(new Set([Math.fround(1 / Math.sqrt(1 + 1e-5))]));
  }
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
    ["a runtime without workers", ["process", {}], "no Worker, as in service workers and worklets"],
    [
      "a Node that is too old",
      ["process", { versions: { node: "18.20.8" } }],
      "process.getBuiltinModule is missing",
    ],
  ] as const) {
    test(what, () => {
      vi.stubGlobal(...(stub as [string, unknown]));
      const { kernel, crew } = crewed(bytes, EAGER);
      expect(crew).toBe(null);
      expect(alone()).toEqual({ threads: 1, ready: 1, reason: expect.stringContaining(reason) });
      vi.unstubAllGlobals();
      expect(kernel.memory.buffer).toBeInstanceOf(ArrayBuffer);
      expect(differences(run(4, kernel, 100_000), wanted)).toEqual([]);
    });
  }

  test("a runtime that shares no memory", () => {
    const { Memory } = WebAssembly;
    const construct = (_: object, [descriptor]: WebAssembly.MemoryDescriptor[]) => {
      if (!descriptor || descriptor.shared) throw new RangeError("could not allocate memory");
      return new Memory(descriptor);
    };
    const value = new Proxy(Memory, { construct });
    vi.stubGlobal("WebAssembly", Object.create(WebAssembly, { Memory: { value } }));
    const { kernel, crew } = crewed(bytes, EAGER);
    expect(crew).toBe(null);
    expect(alone()).toEqual({
      ...{ threads: 1, ready: 1 },
      reason: "memory can't be shared",
    });
    expect(differences(run(4, kernel, 100_000), wanted)).toEqual([]);
  });

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

describe("in a worker", () => {
  /** A worker that has threads of its own, and what it has said by then. */
  async function within(then: string) {
    const worker = new Worker(
      `const { parentPort, workerData } = require("node:worker_threads");
       const library = import("tsx/esm/api").then(({ register }) => register()).then(() => import(workerData));
       library.then(async ({ BatchNorm, setThreads, Tensor, threads }) => {
         setThreads(3);
         while (threads().ready < 3) await new Promise((go) => setTimeout(go, 5));
         const x = Tensor.zeros([512, 1024]);
         x.data.forEach((_, i, data) => { data[i] = i % 1021; });
         const bn = new BatchNorm(1024).train();
         for (let i = 0; i < 20; i++) bn.forward(x, { out: x });
         parentPort.postMessage(x.toFloat32Array());
         ${then}
       });`,
      { eval: true, workerData: new URL("../../ts/entry/threads-node.ts", import.meta.url).href },
    );
    const [values] = await once(worker, "message");
    return { worker, values: values as Float32Array };
  }

  test("calls are shared, and it ends by itself", async () => {
    const { worker, values } = await within("");
    const [code] = await once(worker, "exit");
    expect(code).toBe(0);
    const kernel = createKernel(kernelBytes);
    const x = Tensor.zeros([512, 1024], { kernel });
    x.set(Float32Array.from({ length: x.size }, (_, i) => i % 1021));
    const bn = new BatchNorm(1024, { kernel }).train();
    for (let i = 0; i < 20; i++) bn.forward(x, { out: x });
    expect(Buffer.compare(Buffer.from(values.buffer), Buffer.from(x.data.slice().buffer))).toBe(0);
  });

  test("that is terminated its threads end, too", async () => {
    const { worker } = await within("for (;;) bn.forward(x, { out: x });");
    expect(await worker.terminate()).toBe(1);
  });
});
