/** A run as it is seen and kept: progress, the JSON file, tables at the end. */
import { commit, describeMachine, load } from "./machine.mjs";
import { reasonsOf } from "./overview.mjs";
import { writeResults } from "./results.mjs";
import { makeProgress, targetsTable, timesTable } from "./terminal.mjs";
import { conclude, describePlan, numbered } from "./words.mjs";

/** Processes that wait for a core, on average over a minute. */
const BUSY = 0.5;

/**
 * @param {object} plan
 * @param {readonly import("./contestant.d.ts").Cell[]} plan.cells
 * @param {readonly string[]} plan.names of the contestants
 * @param {readonly number[]} plan.times ms that each cell is expected to take
 * @param {number} plan.threads of each contestant
 * @param {object} about
 * @param {string} about.command as it was called
 * @param {{ [name: string]: string }} about.versions
 * @param {boolean} [about.avx2] native contestants are held to AVX2
 * @param {number} about.kernelGzip bytes of the kernel, gzipped
 * @param {string | undefined} about.json where to write
 */
export function makeSession(
  { cells, names, times, threads },
  { command, versions, avx2 = false, kernelGzip, json },
) {
  const total = times.reduce((a, b) => a + b, 0);
  console.error(`${describePlan(cells, names, total, threads)}\n`);
  const progress = makeProgress(cells, times, process.stderr);
  /** @type {import("./contestant.d.ts").Results} */
  const results = {
    date: new Date().toISOString(),
    command,
    machine: describeMachine(),
    versions: { commit: commit(), ...versions },
    ...(avx2 ? { avx2 } : {}),
    ...(threads > 1 ? { threads } : {}),
    kernel_gzip: kernelGzip,
    records: [],
  };
  const { load_before } = results.machine;
  if (Number(load_before) > BUSY) {
    console.error(`this machine is busy (load ${load_before}): figures will be off`);
  }
  // A path that can't be written to is to be known now, not after the first cell.
  if (json) writeResults(json, results);
  return {
    running: progress.running,
    /** @param {number} index @param {import("./contestant.d.ts").Record[]} records */
    finished(index, records) {
      results.records.push(...records);
      // The run itself makes as many as it has threads.
      results.machine.load_most = Math.max(load(), Number(results.machine.load_most ?? 0));
      if (json) writeResults(json, results);
      const cell = cells[index];
      if (cell) progress.finished(cell, index, records);
    },
    /** Ours alone must be right everywhere: then the command fails. */
    end() {
      const { records, machine } = results;
      const { processor, cores, memory_gb, system } = machine;
      console.log(`\n${timesTable(records)}\n\n${reasonsOf(records).join("\n")}\n`);
      console.log(`${targetsTable(results)}\n`);
      const words = conclude(records);
      if (words) console.log(`${words}\n`);
      console.log(`${processor}, ${cores} cores, ${memory_gb} GB, ${system}, ${numbered(threads)}`);
      console.log(Object.entries(results.versions).flat().join(" "));
      const ours = records.filter(({ kind, status }) => kind === "ours" && isBad(status));
      if (ours.length > 0) process.exitCode = 1;
    },
  };
}

/** Ours can always be there, with its threads too. @param {string} status */
const isBad = (status) => status === "wrong" || status === "failed" || status === "absent";
