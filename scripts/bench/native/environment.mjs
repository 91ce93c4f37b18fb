/**
 * Where `npm run bench:native-setup` puts the virtual environment of the native contestants,
 * and the variables that they run with.
 */
import { fileURLToPath } from "node:url";

const ROOT = new URL("../../../", import.meta.url);

export const ENVIRONMENT = fileURLToPath(new URL("target/native", ROOT));
export const PYTHON = `${ENVIRONMENT}/bin/python`;
/** What the environment was made from, written when it is complete. */
export const STAMP = `${ENVIRONMENT}/requirements.txt`;
export const REQUIREMENTS = fileURLToPath(new URL("requirements.txt", import.meta.url));

const COMMON = {
  // glibc returns large blocks to the system when they are freed, and each output would
  // be made of new pages: 92 ms instead of 14 for PyTorch's inference of 205 MB.
  MALLOC_MMAP_MAX_: "0",
  MALLOC_TRIM_THRESHOLD_: "1000000000000",
  PYTHONDONTWRITEBYTECODE: "1",
};

/** As on a processor without AVX-512: what each framework chooses its instructions by. */
const AVX2 = {
  // PyTorch's own kernels, and the vectors that torch.compile writes C++ for …
  ATEN_CPU_CAPABILITY: "avx2",
  // … which the compiler would else be free to turn into others; apart in the cache.
  TORCHINDUCTOR_CPP_MARCH: "x86-64-v3",
  TORCHINDUCTOR_CACHE_DIR: cacheOf(true),
  ONEDNN_MAX_CPU_ISA: "AVX2",
  XLA_FLAGS: "--xla_cpu_max_isa=AVX2",
};

/**
 * @param {object} options
 * @param {boolean} options.avx2 no wider vectors than those of AVX2
 * @param {number} options.threads of the framework: `threads.py` has them from here
 * @returns {NodeJS.ProcessEnv}
 */
export function environmentOf({ avx2, threads }) {
  const several = threads > 1;
  return {
    ...COMMON,
    ...{ OMP_NUM_THREADS: `${threads}`, MKL_NUM_THREADS: `${threads}` },
    ...(avx2 ? AVX2 : {}),
    // The C++ that torch.compile writes is for so many threads, and is kept by what it was made of.
    ...(several ? { TORCHINDUCTOR_CACHE_DIR: `${cacheOf(avx2)}-${threads}-threads` } : {}),
  };
}

/** Of torch.compile. @param {boolean} avx2 */
function cacheOf(avx2) {
  return `${ENVIRONMENT}/inductor${avx2 ? "-avx2" : ""}`;
}
