/**
 * `npm run size`: what the package adds to a user's bundle, minified by esbuild and
 * gzipped, and how much of it is JavaScript. A budget that is passed fails.
 *
 *     npm run size -- --json     the same, for programs
 */
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

// Of README's ten lines.
const LAYER = "BatchNorm, Tensor";
const WEIGHTS = "batchnorm-wasm/weights";
const INFERENCE = "batchNormInference, Tensor";

/**
 * Budgets in bytes; 1 KB is 1000 bytes. Of a layer, 1.9 KB are for state dicts as people have them:
 * names of each framework, types of numbers and what is told of it.
 */
export const PROGRAMS = [
  { name: "everything", from: "batchnorm-wasm" },
  { name: "a layer", from: "batchnorm-wasm", names: LAYER, budget: 43_100 },
  { name: "inference only", from: "batchnorm-wasm", names: INFERENCE, budget: 32_400 },
  { name: "group norm, a layer", from: "batchnorm-wasm", names: "GroupNorm, Tensor" },
  { name: "group norm, forward", from: "batchnorm-wasm", names: "groupNorm, Tensor" },
  { name: "layer norm, a layer", from: "batchnorm-wasm", names: "LayerNorm, Tensor" },
  { name: "layer norm, forward", from: "batchnorm-wasm", names: "layerNorm, Tensor" },
  { name: "RMS norm, a layer", from: "batchnorm-wasm", names: "RMSNorm, Tensor" },
  { name: "RMS norm, forward", from: "batchnorm-wasm", names: "rmsNorm, Tensor" },
  { name: "unit length, a layer", from: "batchnorm-wasm", names: "UnitNormalization, Tensor" },
  { name: "slim, everything", from: "batchnorm-wasm/slim" },
  { name: "slim, a layer", from: "batchnorm-wasm/slim", names: `init, ${LAYER}` },
  {
    name: "slim, inference only",
    from: "batchnorm-wasm/slim",
    names: `init, ${INFERENCE}`,
    budget: 9_000,
  },
  // Alone, with the tensors that the shared file has; beside a layer, whose tensors and errors are there.
  { name: "weights, everything", from: WEIGHTS, budget: 10_300 },
  { name: "weights, safetensors", from: WEIGHTS, names: "fromSafetensors" },
  { name: "weights, tfjs models", from: WEIGHTS, names: "fromLayersModel" },
  { name: "weights, writing", from: WEIGHTS, names: "toSafetensors" },
  { name: "layer, safetensors", from: "batchnorm-wasm", names: LAYER, weights: "fromSafetensors" },
];

const THREADS = "batchnorm-wasm/threads";
PROGRAMS.push(
  { name: "threads, a layer", from: THREADS, names: LAYER, budget: 52_000 },
  { name: "threads, inference", from: THREADS, names: INFERENCE },
  { name: "under tfjs", from: "batchnorm-wasm/tfjs", budget: 38_900 },
);

// Others read the budgets alone.
if (process.argv[1] === fileURLToPath(import.meta.url)) await report();

async function report() {
  const rows = await Promise.all(PROGRAMS.map(measure));
  const gzipOf = (/** @type {string} */ name) => rows.find((row) => row.name === name)?.gzip ?? NaN;
  const smaller = [
    ["inference only", "a layer"],
    ["a layer", "everything"],
    ["group norm, forward", "group norm, a layer"],
    ["group norm, a layer", "everything"],
    ["layer norm, forward", "layer norm, a layer"],
    ["layer norm, a layer", "everything"],
    ["slim, inference only", "slim, a layer"],
    ["slim, a layer", "slim, everything"],
    ["weights, safetensors", "weights, everything"],
    ["a layer", "layer, safetensors"],
  ];
  const faults = [
    ...rows
      .filter(({ gzip, budget }) => budget !== undefined && gzip > budget)
      .map(({ name, gzip, budget }) => `${name} is ${gzip} bytes, over its budget of ${budget}`),
    ...smaller
      .filter(([less = "", more = ""]) => !(gzipOf(less) < gzipOf(more)))
      .map(([less, more]) => `${less} is not smaller than ${more}`),
  ];

  if (process.argv.includes("--json")) console.log(JSON.stringify(rows));
  else {
    console.log(
      `${"".padEnd(22)}${["minified", "gzip", "JavaScript", "budget"].map(right).join("")}`,
    );
    for (const { name, minified, gzip, javascript, budget } of rows) {
      console.log(
        `${name.padEnd(22)}${[minified, gzip, javascript, budget ?? ""].map(right).join("")}`,
      );
    }
  }
  for (const fault of faults) console.error(`OVER: ${fault}`);
  process.exitCode = faults.length > 0 ? 1 : 0;
}

/** @param {{ name: string, from: string, names?: string, weights?: string, budget?: number }} program */
async function measure({ name, from, names, weights, budget }) {
  const more = weights ? `import { ${weights} } from "${WEIGHTS}"; console.log(${weights});` : "";
  const contents = names
    ? `import { ${names} } from "${from}"; console.log(${names}); ${more}`
    : `export * from "${from}";`;
  const { outputFiles } = await build({
    stdin: { contents, resolveDir: "." },
    ...{ bundle: true, minify: true, format: "esm", write: false },
    // The program's own, whatever it takes.
    external: ["@tensorflow/*"],
    // Else this project's own paths lead to the sources.
    tsconfigRaw: "{}",
  });
  const text = outputFiles[0]?.text ?? "";
  const gzip = (/** @type {string} */ text) => gzipSync(text, { level: 9 }).length;
  // The kernel is the one string of its length.
  const javascript = gzip(text.replace(/"(?:[^"\\\n]|\\.){5000,}"/, '""'));
  return { name, minified: Buffer.byteLength(text), gzip: gzip(text), javascript, budget };
}

/** @param {string | number} value */
function right(value) {
  return `${value}`.padStart(12);
}
