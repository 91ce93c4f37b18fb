/** Runs an example against a copy of the library that nothing else has used. */
import { transformSync } from "esbuild";
import { expect, vi } from "vitest";
import { kernelBytes } from "../../scripts/kernel/under-test.mjs";
import type { Checked, Example } from "./check.js";
import { here, preambles } from "./preamble.js";
import type { Library } from "./public.js";

/**
 * What stands behind each line that shows a result, as it really is.
 *
 * @throws what the example throws where it shows no error
 */
export async function run(example: Example, { code, results }: Checked): Promise<string[]> {
  const { modules, hasDefaultKernel } = await freshModules(example);
  const isSlim = example.library === "batchnorm-wasm/slim";
  // Else an `init` that does nothing would pass.
  expect(hasDefaultKernel(), "a default kernel before the example").toBe(!isSlim);
  const imports = example.imports.map(([names, from]) => {
    const of = names.startsWith("{") ? names.replaceAll(" as ", ": ") : `{ default: ${names} }`;
    return `const ${of} = $modules["${from}"];`;
  });
  const main = modules[mainOf(example)] as typeof import("batchnorm-wasm");
  const all: Record<string, unknown> = preambles[example.preamble](main);
  const given = example.given.map((name) => [name, all[name]]);
  const found = results.map(() => "shows nothing");
  const scope = {
    ...Object.fromEntries(given),
    $modules: modules,
    $shown: (i: number, value: unknown) => {
      found[i] = `→ ${shown(value)}`;
    },
    $threw: (i: number, error: { code?: string }) => {
      found[i] = error instanceof main.BatchNormError ? `throws ${error.code}` : `${error}`;
    },
    // Tests print nothing.
    console: { log: () => {} },
  };
  const program = transformSync(`run = async () => {\n${imports.join("\n")}\n{${code}}\n}`, {
    loader: "ts",
    target: "es2022",
    define: { "import.meta.url": JSON.stringify(here) },
  });
  const make = new Function(...Object.keys(scope), `let run; ${program.code}; return run;`);
  await make(...Object.values(scope))();
  expect(hasDefaultKernel(), "a default kernel after the example").toBe(true);
  return found;
}

const LOADS: Record<string, () => Promise<object>> = {
  "batchnorm-wasm": () => import("batchnorm-wasm"),
  "batchnorm-wasm/kernel.wasm": async () => ({ default: new WebAssembly.Module(kernelBytes) }),
  "batchnorm-wasm/slim": () => import("../../ts/entry/slim-node.js"),
  "batchnorm-wasm/weights": () => import("batchnorm-wasm/weights"),
  "batchnorm-wasm/threads": () => import("../../ts/entry/threads-node.js"),
};

/** The library that has tensors and layers. */
function mainOf({ library }: Example): Library {
  return library === "batchnorm-wasm/slim" ? library : "batchnorm-wasm";
}

/** What an example imports, by name, and its library: no other, which could bring a kernel. */
async function freshModules(example: Example) {
  vi.resetModules();
  // GROW_ON_ALLOCATE is for this copy, too.
  await import("../setup.js");
  const { hasDefaultKernel } = await import("../../ts/core/default-kernel.js");
  const modules: Record<string, object | undefined> = {};
  for (const name of [mainOf(example), ...example.imports.map(([, from]) => from)]) {
    modules[name] = await LOADS[name]?.();
  }
  return { modules, hasDefaultKernel };
}

/** Elements that are shown of a tensor or a list; `…` stands for the rest. */
const MOST = 8;

/**
 * A value as examples write it: what is no whole number to four digits, arrays and objects as in JavaScript,
 * a typed array as `Float32Array [5, 3]` and a tensor as `console.log` of Node has it.
 */
export function shown(value: unknown): string {
  if (Number.isInteger(value)) return `${value}`;
  if (typeof value === "number") return `${Number(value.toPrecision(4))}`;
  if (typeof value === "string") return JSON.stringify(value);
  if (value === null || typeof value !== "object") return `${value}`;
  if (ArrayBuffer.isView(value)) {
    return `${value.constructor.name} ${shown(Array.from(value as Float32Array))}`;
  }
  if (Array.isArray(value)) return `[${list(value.map(shown))}]`;
  if ("toFloat32Array" in value) {
    const tensor = value as import("batchnorm-wasm").Tensor;
    return tensor.disposed
      ? `${tensor}`
      : `${tensor} { ${list([...tensor.toFloat32Array()].map(shown))} }`;
  }
  if (Object.getPrototypeOf(value) !== Object.prototype) return `${value}`;
  const fields = Object.entries(value).map(([name, one]) => `${name}: ${shown(one)}`);
  return `{ ${fields.join(", ")} }`;
}

function list(items: readonly string[]): string {
  return [...items.slice(0, MOST), ...(items.length > MOST ? ["…"] : [])].join(", ");
}
