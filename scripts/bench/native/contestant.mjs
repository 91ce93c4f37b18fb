/** A framework in a Python child process, as a contestant. */
import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { RENORM, VARIANTS, virtualBatchSizeOf } from "../cells.mjs";
import { Child } from "./child.mjs";
import { environmentOf, PYTHON } from "./environment.mjs";

/** ms for an answer. Compilation is part of a cell's first run. */
const LIMIT = { start: 120_000, answer: 300_000 };

/** Processor time over time passed, a thread: less than 1 but for what clocks differ. */
const ONE_CORE = 1.2;

/** ms in which threads look for work after a call, measured: PyTorch's, 7; JAX's sleep at once. */
const SETTLES = 10;

const SERVER = fileURLToPath(new URL("serve.py", import.meta.url));

/** What operations need beside x and the vectors. @type {Record<string, boolean>} */
const NEEDS_DY = { backward: true, "forward-backward": true };

/**
 * @param {string} name as shown
 * @param {string} framework a module beside `serve.py`
 * @param {NodeJS.ProcessEnv} [environment] options of the module
 * @returns {import("../contestant.d.ts").Contestant}
 */
export function nativeContestant(name, framework, environment = {}) {
  const spawn = async (/** @type {NodeJS.ProcessEnv} */ common) => {
    const env = { ...process.env, ...common, ...environment };
    const child = new Child(PYTHON, [SERVER, framework], env);
    const { version } = await child.answer(LIMIT.start);
    return { child, version };
  };
  return {
    name,
    kind: "native",
    norms: ["batch", "group", "layer", "rms"],
    variants: VARIANTS,
    threads: "several",
    async start({ avx2 = false, threads }) {
      if (!existsSync(PYTHON)) throw new Error("no environment: npm run bench:native-setup");
      const common = environmentOf({ avx2, threads });
      let { child, version } = await spawn(common);
      const folder = await mkdtemp(join(tmpdir(), "batchnorm-bench-"));
      let cells = 0;
      return {
        version,
        settles: threads > 1 ? SETTLES : 0,
        refuses: () => undefined,
        async prepare(cell, data) {
          // One that ended (out of memory, too slow) failed in its cell, not in the next.
          if (child.ended) ({ child } = await spawn(common));
          const id = `${cells++}`;
          const files = await writeData(join(folder, id), cell, data);
          const { op, layout, shape, axis, norm = "batch", groups, variant } = cell;
          const varied = { variant, ...RENORM, virtualBatchSize: virtualBatchSizeOf(cell) };
          const about = { op, layout, shape, axis, norm, groups, eps: data.eps };
          const request = { ...about, ...(variant ? varied : {}), files };
          try {
            await child.request({ do: "prepare", id, cell: request }, LIMIT.answer);
          } finally {
            await Promise.all(Object.values(files).map((path) => rm(path)));
          }
          return preparedCell(child, id, folder, threads);
        },
        async close() {
          await child.close();
          await rm(folder, { recursive: true });
        },
      };
    },
  };
}

/**
 * @param {Child} child @param {string} id @param {string} folder @param {number} threads
 * @returns {import("../contestant.d.ts").Prepared}
 */
function preparedCell(child, id, folder, threads) {
  let runs = 0;
  return {
    async run(calls) {
      const { ms, cpu_ms } = await child.request({ do: "run", id, calls }, LIMIT.answer);
      // Compilers, in the first run, may do as they like.
      if (runs++ > 0 && cpu_ms > threads * ms * ONE_CORE + 10) {
        const wanted = threads === 1 ? "one thread" : `${threads} threads`;
        throw new Error(`not on ${wanted}: ${cpu_ms} ms of processor time in ${ms} ms`);
      }
      return ms;
    },
    async outputs() {
      const { names } = await child.request({ do: "outputs", id, folder }, LIMIT.answer);
      /** @type {Record<string, Float32Array>} */
      const outputs = {};
      for (const name of names) {
        const path = join(folder, name);
        const { buffer, byteOffset, byteLength } = await readFile(path);
        await rm(path);
        outputs[name] = new Float32Array(buffer, byteOffset, byteLength / 4);
      }
      return outputs;
    },
    async dispose() {
      if (!child.ended) await child.request({ do: "dispose", id }, LIMIT.answer);
    },
  };
}

/**
 * @param {string} prefix @param {import("../contestant.d.ts").Cell} cell
 * @param {import("../contestant.d.ts").Data} data
 */
async function writeData(prefix, { op, variant }, data) {
  const { x, weight, bias, mean, variance } = data;
  const arrays = {
    ...{ x, weight, bias, mean, variance },
    ...(NEEDS_DY[op] && { dy: data.dy }),
    ...(variant === "residual-relu" && { residual: data.residual }),
    ...(variant === "mask" && { mask: data.mask }),
  };
  /** @type {Record<string, string>} */
  const files = {};
  for (const [name, array] of Object.entries(arrays)) {
    files[name] = `${prefix}-${name}`;
    await writeFile(files[name], new Uint8Array(array.buffer, array.byteOffset, array.byteLength));
  }
  return files;
}
