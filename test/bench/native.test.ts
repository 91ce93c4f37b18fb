/** What native contestants run with, so that both classes of machines are compared alike. */
import { execFileSync } from "node:child_process";
import { expect, test } from "vitest";
import { environmentOf } from "../../scripts/bench/native/environment.mjs";

test("they have one thread, and the instructions of the machine unless held to AVX2", () => {
  const own = environmentOf({ avx2: false });
  expect(own).toMatchObject({ OMP_NUM_THREADS: "1", MKL_NUM_THREADS: "1" });
  expect(Object.keys(own).filter((name) => /ATEN|XLA|MARCH|ISA/.test(name))).toEqual([]);
  expect(environmentOf({ avx2: true })).toMatchObject({
    ...own,
    ATEN_CPU_CAPABILITY: "avx2",
    TORCHINDUCTOR_CPP_MARCH: "x86-64-v3",
    XLA_FLAGS: "--xla_cpu_max_isa=AVX2",
  });
  expect(environmentOf({ avx2: true }).TORCHINDUCTOR_CACHE_DIR).toContain("avx2");
});

test("--avx2 without --native is an error, not ignored", () => {
  const options =
    "import('./scripts/bench/options.mjs').then((m) => console.log(m.readOptions().avx2))";
  const run = (...given: string[]) =>
    execFileSync(process.execPath, ["-e", options, "--", ...given], {
      encoding: "utf8",
      stdio: "pipe",
    });
  expect(run("--native", "--avx2")).toBe("true\n");
  expect(run("--native")).toBe("false\n");
  expect(() => run("--avx2")).toThrow("--avx2 is for --native");
});
