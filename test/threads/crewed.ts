/** Kernels whose long walks threads share, for tests: each with a crew of its own. */
import { readFileSync } from "node:fs";
import type { Kernel } from "batchnorm-wasm";
import { threadsKernelFile } from "../../scripts/kernel/under-test.mjs";
import { type Crew, POLICY, type Policy } from "../../ts/threads/crew.js";
import { crewed } from "../../ts/threads/kernel.js";

export const bytes = new Uint8Array(readFileSync(threadsKernelFile));

/** Shares whatever can be cut, with threads that are awake for long. */
export const EAGER: Policy = { ...POLICY, shared: 0, woken: 0, patience: 20, rest: 0 };

export function newCrew(policy: Partial<Policy> = {}): { kernel: Kernel; crew: Crew } {
  const { kernel, crew } = crewed(bytes, { ...EAGER, ...policy });
  if (!crew) throw new Error("there are no threads here");
  return { kernel, crew };
}

/** Resolves once so many are ready. */
export async function ready(crew: Crew, threads: number): Promise<void> {
  for (let waited = 0; crew.report().ready < threads; waited += 5) {
    if (waited > 30_000) throw new Error(JSON.stringify(crew.report()));
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
