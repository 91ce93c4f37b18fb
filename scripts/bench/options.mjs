/** The commands' options. */
import { parseArgs } from "node:util";

const HELP = `options:
  --quick          four tensors and the main rivals, in under a minute
  --full           all shapes, 64 bytes to 1 GB: an hour, with --native an hour and a half
  --norms          group, instance, layer and RMS norm instead of batch norm
  --variants       batch norm's ghost batches, renorm, masks, ReLU, residual and ReLU, beside it alone
  --threads N      contestants with N threads, 2 to 16, ours beside itself on one: a set of its own
  --native         with PyTorch, torch.compile and JAX (npm run bench:native-setup)
  --avx2           --native as on a processor without AVX-512
  --filter REGEX   only what matches in "operation layout shape name contestant"
  --json FILE      every figure, written as it comes
KERNEL_WASM=path measures another build of the kernel.`;

/** As many as this package's entry with threads takes. */
const MOST_THREADS = 16;

export function readOptions() {
  const { values } = parseArgs({
    options: {
      quick: { type: "boolean", default: false },
      full: { type: "boolean", default: false },
      norms: { type: "boolean", default: false },
      variants: { type: "boolean", default: false },
      threads: { type: "string" },
      native: { type: "boolean", default: false },
      avx2: { type: "boolean", default: false },
      filter: { type: "string", default: "" },
      json: { type: "string" },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) {
    console.log(HELP);
    process.exit();
  }
  if (values.quick && values.full) throw new Error("--quick or --full, not both");
  const own = /** @type {const} */ (["norms", "variants", "threads"]).filter((set) => values[set]);
  if (own.length > 0 && (values.quick || values.full)) {
    throw new Error(`--${own[0]} has a set of its own, without --quick or --full`);
  }
  if (own.length > 1) throw new Error(`--${own.join(" or --")}, not both`);
  if (values.quick && values.native) throw new Error("--quick goes without --native");
  if (values.avx2 && !values.native)
    throw new Error("--avx2 is for --native: what else runs chooses itself");
  /** @type {import("./cells.mjs").SetName} */
  const set = values.quick ? "quick" : values.full ? "full" : "default";
  return { ...values, set, threads: threadsOf(values.threads) };
}

/** @param {string | undefined} given */
function threadsOf(given) {
  if (given === undefined) return 1;
  const threads = Number(given);
  if (!Number.isInteger(threads) || threads < 2 || threads > MOST_THREADS) {
    throw new Error(`--threads is a whole number from 2 to ${MOST_THREADS}, not ${given}`);
  }
  if (process.env.KERNEL_WASM) {
    throw new Error("KERNEL_WASM goes without --threads: that entry carries its kernel");
  }
  return threads;
}
