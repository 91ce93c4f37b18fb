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

test("--variants and --norms have sets of their own: no two sets are one run", () => {
  expect(optionOf("variants", "--variants")).toBe("true\n");
  expect(optionOf("variants")).toBe("false\n");
  expect(() => optionOf("variants", "--variants", "--full")).toThrow("--variants has a set of its");
  expect(() => optionOf("norms", "--norms", "--quick")).toThrow("--norms has a set of its own");
  expect(() => optionOf("norms", "--norms", "--variants")).toThrow("not both");
});
