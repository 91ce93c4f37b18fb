/** What native contestants run with, so that both classes of machines are compared alike. */
import { execFileSync } from "node:child_process";
import { expect, test } from "vitest";
import { environmentOf } from "../../scripts/bench/native/environment.mjs";

test("they have one thread, and the instructions of the machine unless held to AVX2", () => {
  const own = environmentOf({ avx2: false, threads: 1 });
  expect(own).toMatchObject({ OMP_NUM_THREADS: "1", MKL_NUM_THREADS: "1" });
  expect(Object.keys(own).filter((name) => /ATEN|XLA|MARCH|ISA/.test(name))).toEqual([]);
  expect(environmentOf({ avx2: true, threads: 1 })).toMatchObject({
    ...own,
    ATEN_CPU_CAPABILITY: "avx2",
    TORCHINDUCTOR_CPP_MARCH: "x86-64-v3",
    XLA_FLAGS: "--xla_cpu_max_isa=AVX2",
  });
  expect(environmentOf({ avx2: true, threads: 1 }).TORCHINDUCTOR_CACHE_DIR).toContain("avx2");
});

test("with several threads all frameworks have as many, and compiled programs are kept apart", () => {
  const two = environmentOf({ avx2: false, threads: 2 });
  expect(two).toMatchObject({ OMP_NUM_THREADS: "2", MKL_NUM_THREADS: "2" });
  const caches = [
    environmentOf({ avx2: false, threads: 1 }),
    environmentOf({ avx2: true, threads: 1 }),
    two,
    environmentOf({ avx2: true, threads: 2 }),
    environmentOf({ avx2: false, threads: 4 }),
  ].map(({ TORCHINDUCTOR_CACHE_DIR }) => TORCHINDUCTOR_CACHE_DIR);
  expect(new Set(caches).size).toBe(5);
});

/** What an option is read as, in a process that was called so. */
function optionOf(name: string, ...given: string[]) {
  const read = `import('./scripts/bench/options.mjs').then((m) => console.log(m.readOptions().${name}))`;
  const call = ["-e", read, "--", ...given];
  return execFileSync(process.execPath, call, { encoding: "utf8", stdio: "pipe" });
}

test("--avx2 without --native is an error, not ignored", () => {
  const run = (...given: string[]) => optionOf("avx2", ...given);
  expect(run("--native", "--avx2")).toBe("true\n");
  expect(run("--native")).toBe("false\n");
  expect(() => run("--avx2")).toThrow("--avx2 is for --native");
});

test("--threads is a whole number from 2 to 16, and has a set of its own", () => {
  expect(optionOf("threads")).toBe("1\n");
  expect(optionOf("threads", "--threads", "2", "--native")).toBe("2\n");
  for (const wrong of ["1", "17", "2.5", "two", ""]) {
    expect(() => optionOf("threads", "--threads", wrong)).toThrow("whole number from 2 to 16");
  }
  for (const set of ["--full", "--quick"]) {
    expect(() => optionOf("threads", "--threads", "2", set)).toThrow("has a set of its own");
  }
  expect(() => optionOf("threads", "--threads", "2", "--norms")).toThrow("not both");
});

test("--variants and --norms have sets of their own: no two sets are one run", () => {
  expect(optionOf("variants", "--variants")).toBe("true\n");
  expect(optionOf("variants")).toBe("false\n");
  expect(() => optionOf("variants", "--variants", "--full")).toThrow("--variants has a set of its");
  expect(() => optionOf("norms", "--norms", "--quick")).toThrow("--norms has a set of its own");
  expect(() => optionOf("norms", "--norms", "--variants")).toThrow("not both");
});
