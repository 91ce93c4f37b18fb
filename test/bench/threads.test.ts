/** Contestants of several threads: as many as were asked for, or a reason. */
import { expect, test } from "vitest";
import { readyThreads } from "../../scripts/bench/contestants/ready-threads.mjs";

/** A package whose threads come one a look, up to `most`. */
function library(most: number, reason: string | null = null) {
  const asked: number[] = [];
  let ready = 1;
  return {
    asked,
    setThreads: (number: number) => void asked.push(number),
    threads: () => {
      const now = { threads: 2, ready, reason: ready < most ? null : reason };
      ready = Math.min(most, ready + 1);
      return now;
    },
  };
}

test("threads are asked for, and waited for until all are ready", async () => {
  const three = library(3);
  await readyThreads(three, 3);
  expect(three.asked).toEqual([3]);
  expect(three.threads().ready).toBe(3);
});

test("where there can be no more, the package's reason is the error", async () => {
  await expect(readyThreads(library(1, "no workers here"), 2)).rejects.toThrow(
    "1 of 2 threads are ready: no workers here",
  );
});
