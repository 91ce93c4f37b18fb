/** What a result was measured on, and with. */
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { cpus, loadavg, release, totalmem } from "node:os";
import { gzipSync } from "node:zlib";
import { kernelBytes, threadsKernelFile } from "../kernel/under-test.mjs";

const root = new URL("../../", import.meta.url);
const require = createRequire(import.meta.url);

export function describeMachine() {
  const processors = cpus();
  return {
    processor: processors[0]?.model ?? "unknown",
    cores: processors.length,
    ...vectors(),
    memory_gb: Math.round(totalmem() / 2 ** 30),
    system: `${process.platform} ${release()} ${process.arch}`,
    // Of the minute before: what others run at the same time is in every figure.
    load_before: load(),
  };
}

/** Processes that ran or waited for a core, on average over the last minute. */
export function load() {
  return Number((loadavg()[0] ?? 0).toFixed(2));
}

/** The widest vectors of the processor, where the system tells: what native rivals compute with. */
function vectors() {
  if (process.platform !== "linux") return {};
  const flags = readFileSync("/proc/cpuinfo", "utf8");
  if (/\bavx512f\b/.test(flags)) return { vectors: "AVX-512" };
  return /\bavx2\b/.test(flags) ? { vectors: "AVX2" } : {};
}

/** The kernel under measurement. */
export function readKernel() {
  const { version } = JSON.parse(readFileSync(new URL("package.json", root), "utf8"));
  const told = (/** @type {Uint8Array} */ bytes) =>
    `${version}, kernel ${createHash("sha256").update(bytes).digest("hex").slice(0, 8)}`;
  return {
    kernel: kernelBytes,
    version: told(kernelBytes),
    threadsVersion: told(readFileSync(threadsKernelFile)),
  };
}

/** Bytes of the kernel, gzipped. @param {Uint8Array} kernel */
export function gzipOf(kernel) {
  return gzipSync(kernel, { level: 9 }).length;
}

/** The commit that was measured, if it is known. */
export function commit() {
  const git = (/** @type {string[]} */ ...args) =>
    execFileSync("git", args, { cwd: root, encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
  try {
    const changed = git("status", "--porcelain").trim() !== "";
    return `${git("rev-parse", "--short", "HEAD").trim()}${changed ? ", with changes" : ""}`;
  } catch {
    // A tarball has no history.
    return "unknown";
  }
}

/**
 * @param {Partial<Pick<import("./contestant.d.ts").Host, "threads" | "avx2">>} [options]
 * @returns {import("./contestant.d.ts").Host}
 */
export function nodeHost({ threads = 1, avx2 = false } = {}) {
  const collectGarbage = globalThis.gc;
  if (!collectGarbage) throw new Error("run node with --expose-gc");
  return {
    runtime: "node",
    ...readKernel(),
    ...{ threads, avx2 },
    // ONNX Runtime finds its files itself.
    assets: (name) =>
      name === "@tensorflow/tfjs-backend-wasm"
        ? require.resolve(`${name}/dist/tf-backend-wasm.node.js`).replace(/dist.*$/, "wasm-out/")
        : undefined,
    collectGarbage,
  };
}
