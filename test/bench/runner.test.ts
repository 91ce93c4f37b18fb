import { expect, test, vi } from "vitest";
import type { Cell, Contestant, Host, Outputs, Record } from "../../scripts/bench/contestant.js";
import { runRounds } from "../../scripts/bench/rounds.mjs";
import { measure, startAll } from "../../scripts/bench/runner.mjs";

// Contestants have clocks of their own, so that these tell any time.

const cell: Cell = { op: "inference", layout: "NC", shape: [2, 2], axis: 1, name: "test" };
const effort = { slice: 2, warmup: 10, budget: 40, fewest: 3, most: 20, longest: 1000 };
const host: Host = {
  runtime: "node",
  kernel: new Uint8Array(),
  version: "",
  threadsVersion: "",
  threads: 1,
  assets: () => undefined,
  collectGarbage: () => {},
};

interface Made {
  kind?: Contestant["kind"];
  /** ms a call, by how many slices there were. */
  time?: (slice: number) => number;
  off?: number;
  refuses?: string;
  absent?: string;
  fails?: string;
}

function make(name: string, { kind = "javascript", time = () => 1, off = 0, ...how }: Made) {
  const disposed = vi.fn();
  const contestant: Contestant = {
    name,
    kind,
    async start() {
      if (how.absent) throw new Error(how.absent);
      return {
        version: "1",
        refuses: () => how.refuses,
        async prepare(_, { x, mean, variance, weight, bias, eps }) {
          if (how.fails) throw new Error(how.fails);
          const y = x.map((value, i) => {
            const of = (vector: Float32Array) => vector[i % mean.length] as number;
            return ((value - of(mean)) / Math.sqrt(of(variance) + eps)) * of(weight) + of(bias);
          });
          y[1] = (y[1] as number) + off;
          let slices = 0;
          return {
            run: (calls) => calls * time(slices++),
            outputs: async (): Promise<Outputs> => ({ y }),
            dispose: disposed,
          };
        },
      };
    },
  };
  return { contestant, disposed };
}

async function run(
  made: { contestant: Contestant }[],
  cells = [cell],
  threads = 1,
): Promise<Record[]> {
  const entrants = await startAll(
    made.map(({ contestant }) => contestant),
    host,
  );
  const records: Record[] = [];
  for await (const some of measure(cells, entrants, { host: { ...host, threads }, effort }))
    records.push(...some);
  return records;
}

const copy = () => make("copy", { kind: "limit", time: () => 0.5 });

test("a contestant's figures are over the copy's and over ours", async () => {
  const records = await run([
    copy(),
    make("ours", { kind: "ours", time: () => 1 }),
    make("rival", { time: () => 4 }),
  ]);
  expect(records.map((record) => record.ratio_to_copy)).toEqual([1, 2, 8]);
  expect(records.map((record) => record.ratio_to_ours)).toEqual([0.5, 1, 4]);
});

test("the second limit is what the loops of the passes take: ratios to it are of rounds, too", async () => {
  const records = await run([
    copy(),
    // Ours runs three times as slow in every other round, and so do the bare loops.
    make("bare loops", { kind: "limit", time: (slice) => (slice % 2 ? 3 : 1) * 2 }),
    make("ours", { kind: "ours", time: (slice) => (slice % 2 ? 3 : 1) * 3 }),
  ]);
  expect(records.map((record) => record.ratio_to_bare)).toEqual([expect.any(Number), 1, 1.5]);
  expect(await run([copy(), make("ours", { kind: "ours" })])).not.toHaveProperty("1.ratio_to_bare");
});

test("the third limit is batch norm without a variant, which the records name", async () => {
  const records = await run(
    [
      copy(),
      make("bare loops", { kind: "limit", time: () => 2 }),
      make("norm alone", { kind: "limit", time: () => 4 }),
      make("ours", { kind: "ours", time: () => 5 }),
    ],
    [{ ...cell, variant: "relu" }],
  );
  expect(records.map(({ ratio_to_alone }) => ratio_to_alone)).toEqual([0.125, 0.5, 1, 1.25]);
  expect(records.map(({ variant }) => variant)).toEqual(Array(4).fill("relu"));
});

test("limits are in every round, however slow they are", async () => {
  const records = await run([
    copy(),
    make("bare loops", { kind: "limit", time: () => 100 }),
    make("slow", { time: () => 100 }),
    make("fast", { time: () => 1 }),
  ]);
  expect(records.map(({ rounds }) => rounds)).toEqual([20, 20, 3, 20]);
});

test("a wrong one is shown as wrong with its error, and not timed", async () => {
  const rival = make("rival", { off: 0.5 });
  const [, record] = await run([copy(), rival]);
  expect(record).toMatchObject({ contestant: "rival", status: "wrong" });
  expect(record?.max_error).toBeGreaterThan(0.01);
  expect(record?.reason).toContain("y is off by");
  expect(record).not.toHaveProperty("median_ms");
  expect(rival.disposed).toHaveBeenCalledOnce();
});

test("one that is NaN is wrong", async () => {
  const [, record] = await run([copy(), make("rival", { off: Number.NaN })]);
  expect(record?.status).toBe("wrong");
});

test("who is absent, refuses or fails is shown with the reason, and others go on", async () => {
  const records = await run([
    copy(),
    make("absent", { absent: "no compiler" }),
    make("refusing", { refuses: "no gradients" }),
    make("failing", { fails: "no kernel\nand a long trace" }),
    make("ours", { kind: "ours" }),
  ]);
  expect(records.map(({ status, reason }) => [status, reason])).toEqual([
    ["ok", undefined],
    ["absent", "no compiler"],
    ["refused", "no gradients"],
    ["failed", "no kernel"],
    ["ok", undefined],
  ]);
});

test("what would take too long is refused, by what a smaller tensor took", async () => {
  const sized = (rows: number): Cell => ({ ...cell, shape: [rows, 1024] });
  const rival = make("rival", { time: () => 600 });
  const records = await run([copy(), rival], [sized(64), sized(128), sized(256)]);
  const statuses = records.filter(({ contestant }) => contestant === "rival");
  expect(statuses.map(({ status, reason }) => reason ?? status)).toEqual([
    "ok",
    "would take 1.20 s a call",
    "would take 2.40 s a call",
  ]);
});

test("… of the same operation: what one variant took tells nothing of another", async () => {
  const sized = (rows: number, variant?: Cell["variant"]): Cell => ({
    ...{ ...cell, shape: [rows, 1024] },
    ...(variant ? { variant } : {}),
  });
  const rival = make("rival", { time: () => 600 });
  const cells = [sized(64), sized(128, "relu"), sized(128)];
  const records = await run([copy(), rival], cells);
  const reasons = records.filter(({ contestant }) => contestant === "rival");
  expect(reasons.map(({ reason }) => reason)).toEqual([
    undefined,
    // Measured, and not what a variant gives.
    expect.stringContaining("y is off by"),
    "would take 1.20 s a call",
  ]);
});

test("one that compiles at its first call has as many rounds as any other", async () => {
  const compiler = make("compiler", { time: (slice) => (slice === 0 ? 900 : 1) });
  const [, plain, record] = await run([copy(), make("plain", {}), compiler]);
  expect(record).toMatchObject({ status: "ok", first_ms: 900, median_ms: 1 });
  expect(record?.rounds).toBe(plain?.rounds);
});

test("slow ones run in fewer rounds, always beside the copy; all are disposed", async () => {
  const made = [copy(), make("slow", { time: () => 100 }), make("fast", { time: () => 1 })];
  const records = await run(made);
  expect(records.map(({ rounds }) => rounds)).toEqual([20, 3, 20]);
  for (const { disposed } of made) expect(disposed).toHaveBeenCalledOnce();
});

test("warm-up is what ran before the times of the rounds", async () => {
  // 5 ms, then 4 calls of 5 ms, then for good 1 ms a call.
  const rival = make("rival", { time: (slice) => (slice < 3 ? 5 : 1) });
  const [, record] = await run([copy(), rival]);
  expect(record).toMatchObject({ first_ms: 5, warmup_ms: 15, median_ms: 1 });
});

test("what threads gain is of rounds that have both, with its interval, of ours alone", async () => {
  const one = "batchnorm-wasm on one thread";
  const field = () => [
    copy(),
    // Both run three times as slow in every other round.
    make("batchnorm-wasm", { kind: "ours", time: (slice) => (slice % 2 ? 3 : 1) * 40 }),
    make(one, { kind: "ours", time: (slice) => (slice % 2 ? 3 : 1) * 60 }),
    make("rival", { time: () => 50 }),
  ];
  const several = await run(field(), [cell], 2);
  expect(several[1]).toMatchObject({ gain: 1.5, gain_low: 1.5, gain_high: 1.5 });
  for (const other of [several[0], several[2], several[3]])
    expect(other).not.toHaveProperty("gain");
  // Slow as they are, they are in all rounds: the rival is not.
  expect(several.map(({ rounds }) => rounds)).toEqual([20, 20, 20, 3]);
  expect((await run(field().slice(0, 2)))[1]).not.toHaveProperty("gain");
});

test("threads come to rest before the next contestant, and one's own are woken before the clock starts", async () => {
  const calls: [string, number, number][] = [];
  const runner = (name: string, settles?: number) => ({
    name,
    always: true,
    ...(settles === undefined ? {} : { settles }),
    prepared: {
      run: (count: number) => {
        calls.push([name, count, performance.now()]);
        return count;
      },
      outputs: async () => ({}),
      dispose() {},
    },
    slices: [{ ms: 1, calls: 1 }],
    times: new Map(),
  });
  const waking = { ...effort, fewest: 2, most: 2, wakes: true };
  vi.useFakeTimers();
  const running = runRounds([runner("restless", 30), runner("quiet")], waking, 0, () => {});
  await vi.advanceTimersByTimeAsync(1000);
  await running;
  vi.useRealTimers();
  expect(calls.map(([name, count]) => [name, count])).toEqual([
    ...[
      ["restless", 1],
      ["restless", 2],
      ["quiet", 1],
      ["quiet", 2],
    ],
    ...[
      ["quiet", 1],
      ["quiet", 2],
      ["restless", 1],
      ["restless", 2],
    ],
  ]);
  const at = (index: number) => (calls[index] as (typeof calls)[number])[2];
  expect([at(2) - at(1), at(4) - at(3)]).toEqual([30, 0]);
});
