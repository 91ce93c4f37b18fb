/**
 * Cold start: what the package adds to a runtime's own start, beside its rivals.
 *
 *     npm run bench:start              ROUNDS=20 for another number of rounds
 *
 * Contestants are interleaved in rounds, each in a new process or browser context;
 * differences to the bare runtime are taken round by round, and the table shows their
 * medians and quartiles in milliseconds. An empty package is the floor: no package is
 * faster. It needs what `test:runtimes` needs.
 */
import { execFileSync } from "node:child_process";
import { cpSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { quantile } from "simple-statistics";
import { pack, temporaryFolder } from "../../../test/packaging/pack.mjs";
import { openChromium } from "./chromium.mjs";
import { commands } from "./commands.mjs";
import { CHANNELS, ROWS } from "./programs/shared.mjs";
import { prepareWorkerd } from "./workerd.mjs";

const ROUNDS = Number(process.env.ROUNDS ?? 30);
const WARM_UP = 2; // Files come from the disk's cache then, as they would from a user's.
const TARGET = 5;
const here = fileURLToPath(new URL(".", import.meta.url));
const titles = {
  bare: "bare",
  empty: "empty package",
  import: "import only",
  result: "first result",
  tfjs: "tfjs-wasm",
  onnxruntime: "onnxruntime-web",
};

const folder = temporaryFolder();
try {
  await prepare();
  const chromium = await openChromium(folder);
  try {
    const runtimes = {
      ...commands(folder),
      workerd: await prepareWorkerd(folder),
      Chromium: chromium,
    };
    console.log(`${ROUNDS} rounds; ms over the bare runtime: median (quartiles)\n`);
    console.log(row("", Object.values(titles)));
    for (const [name, runtime] of Object.entries(runtimes))
      console.log(await measure(name, runtime));
    console.log(`\ntarget: first result within ${TARGET} ms in Node, workerd and Chromium`);
  } finally {
    await chromium.close();
  }
} finally {
  rmSync(folder, { recursive: true });
}

/** The programs, the rivals and the packed package, in a folder of their own. */
async function prepare() {
  for (const name of ["package.json", "package-lock.json", "programs"]) {
    cpSync(join(here, name), join(folder, name), { recursive: true });
  }
  const npm = (/** @type {string[]} */ ...args) =>
    execFileSync("npm", ["--silent", ...args], { cwd: folder });
  npm("ci");
  npm("install", "--no-save", pack(folder));
  const empty = join(folder, "node_modules/empty");
  mkdirSync(empty);
  writeFileSync(join(empty, "package.json"), `{ "type": "module", "exports": "./index.js" }\n`);
  writeFileSync(join(empty, "index.js"), "export {};\n");
  // It takes protobufjs from this folder.
  cpSync(join(here, "../contestants/onnx-model.mjs"), join(folder, "onnx-model.mjs"));
  const { modelOf } = await import(join(folder, "onnx-model.mjs"));
  const ones = new Float32Array(CHANNELS).fill(1);
  const model = modelOf(
    { op: "inference", shape: [ROWS, CHANNELS] },
    { weight: ones, bias: ones, mean: ones, variance: ones, eps: 1e-5 },
  );
  const code = `export default Uint8Array.from(${JSON.stringify([...model])});\n`;
  writeFileSync(join(folder, "programs/model.mjs"), code);
}

/**
 * @param {string} name
 * @param {{ programs: string[], run: (program: string) => Promise<number> }} runtime
 *   `run` gives milliseconds
 */
async function measure(name, { programs, run }) {
  /** @type {Record<string, number[]>} */
  const times = Object.fromEntries(programs.map((program) => [program, []]));
  for (let round = -WARM_UP; round < ROUNDS; round++) {
    const bare = await run("bare");
    for (const program of programs) {
      const time = program === "bare" ? bare : (await run(program)) - bare;
      if (round >= 0) times[program]?.push(time);
    }
  }
  const cells = Object.keys(titles).map((program) => {
    const all = times[program];
    if (!all) return "";
    const [low, median, high] = [0.25, 0.5, 0.75].map((q) => quantile(all, q).toFixed(1));
    return `${median} (${low}–${high})`;
  });
  return row(name, cells);
}

/** @param {string} head @param {string[]} cells */
function row(head, cells) {
  return head.padEnd(10) + cells.map((cell) => cell.padStart(22)).join("");
}
