/** The packed package as tools judge it: publint, are-the-types-wrong, old and new TypeScript. */
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { install, pack } from "./pack.mjs";
import { cell, report } from "./results.mjs";
import { run } from "./runtimes/child.mjs";

const modules = fileURLToPath(new URL("node_modules", import.meta.url));

/** A strict program; whatever its `lib` is, the package brings the types of `using`. */
const PROGRAM = `
import { BatchNorm, BatchNormalization, BatchNormError, scope, Tensor } from "batchnorm-wasm";
import type { BatchNormErrorCode, PlainResult } from "batchnorm-wasm";
import kernel from "batchnorm-wasm/kernel.wasm";
import { BatchNorm as SlimBatchNorm, init, initSync } from "batchnorm-wasm/slim";
import { fromLayersModel, fromSafetensors, toSafetensors } from "batchnorm-wasm/weights";
import type { WeightDict } from "batchnorm-wasm/weights";
import { install, normalizations } from "batchnorm-wasm/tfjs";
const bn: BatchNorm = new BatchNorm(3, { preset: "keras", momentum: 0.9 });
using y: Tensor = scope(() => bn.train().forward(Tensor.zeros([4, 3])));
const data: Float32Array = y.data;
const plain: PlainResult = bn.forward({ data: [1, 2, 3], shape: [1, 3] });
const same: typeof BatchNorm = SlimBatchNorm;
initSync(kernel, { initialBytes: 2 ** 26 });
const file = toSafetensors(bn.stateDict(), { metadata: { format: "pt" } });
const dict: WeightDict = fromSafetensors(file.buffer);
bn.loadStateDict(dict);
export const model: WeightDict = fromLayersModel("{}", { "weights.bin": file });
export const ready: Promise<void> = init("kernel.wasm");
export const code = (error: unknown): BatchNormErrorCode | null =>
  error instanceof BatchNormError ? error.code : null;
export default [data, plain.data.length, same, new BatchNormalization().gamma];
const layers = { batchNormalization: (_?: { name: string }) => ({ built: true }) };
export const tfjs = (): boolean => normalizations({ layers }).rmsNormalization().built;
// @ts-expect-error no tfjs
export const none = () => install({});
// @ts-expect-error a wrong preset
new BatchNorm(3, { preset: "pytorch" });
// @ts-expect-error plain in, plain out
export const wrong: Tensor = bn.forward({ data: [1, 2, 3], shape: [1, 3] });
`;

/** What a page does: some of it takes arrays only that no other thread shares. */
const PAGE = `
for (const values of [y.data, plain.data, y.toFloat32Array()]) {
  new Blob([values]);
  fetch("values", { method: "POST", body: values });
  new AudioBuffer({ length: 4, sampleRate: 44_100 }).copyToChannel(values, 0);
}
init(fetch("kernel.wasm"));
init(new URL("kernel.wasm", "https://example.org"));
initSync(new WebAssembly.Module(new Uint8Array(8)));
`;

const RESOLUTIONS = { node16: "node16", nodenext: "nodenext", bundler: "esnext" };

const tarball = pack();
const consumer = install(tarball);
try {
  await report("health", all());
} finally {
  for (const folder of [dirname(tarball), consumer]) rmSync(folder, { recursive: true });
}

/** @returns {AsyncGenerator<import("./results.mjs").Result>} */
async function* all() {
  yield tool("publint", "strict", ["publint/src/cli.js", tarball, "--strict"]);
  const attw = ["@arethetypeswrong/cli/dist/index.js", tarball, "--profile", "esm-only"];
  yield tool("@arethetypeswrong/cli", "esm-only", attw);

  writeFileSync(join(consumer, "program.mts"), PROGRAM);
  writeFileSync(join(consumer, "page.mts"), PROGRAM + PAGE);
  for (const name of ["typescript-oldest", "typescript-newest"]) {
    for (const [moduleResolution, module] of Object.entries(RESOLUTIONS)) {
      for (const [file, lib] of [
        ["page.mts", ["es2022", "dom"]],
        ["program.mts", ["es2022"]],
      ]) {
        const compilerOptions = {
          ...{ strict: true, exactOptionalPropertyTypes: true, noEmit: true, skipLibCheck: false },
          ...{ target: "es2022", lib, types: [], module, moduleResolution },
        };
        const config = JSON.stringify({ compilerOptions, include: [file] });
        writeFileSync(join(consumer, "tsconfig.json"), config);
        const check = `moduleResolution ${moduleResolution}, lib ${lib}`;
        yield tool(name, check, [`${name}/bin/tsc`]);
      }
    }
  }
}

/** @param {string} name @param {string} check @param {string[]} command */
async function tool(name, check, [script = "", ...args]) {
  const manifest = `${modules}/${name}/package.json`;
  const version = existsSync(manifest) ? JSON.parse(readFileSync(manifest, "utf8")).version : "";
  return cell({ suite: "health", name, version, check }, async () => {
    await run([process.execPath, `${modules}/${script}`, ...args], { cwd: consumer });
    return { checks: [{ name: check, status: "passed" }] };
  });
}
