/** The examples in docstrings of `batchnorm-wasm/tfjs` run. */
import { readdirSync, readFileSync } from "node:fs";
import * as library from "batchnorm-wasm/tfjs/install";
import { afterEach, expect, test } from "vitest";
import { tf } from "./tfjs.js";

const folder = new URL("../../ts/tfjs/", import.meta.url);
/** Each function that is exported, with what stands behind `@example`. */
const examples = readdirSync(folder).flatMap((file) =>
  [
    ...readFileSync(new URL(file, folder), "utf8").matchAll(
      /@example\n((?: \* .*\n)+) \*\/\nexport function (\w+)/g,
    ),
  ].map(([, text = "", name = ""]) => ({ name, code: text.replace(/^ \* /gm, "") })),
);

const MODULES: { [name: string]: object } = {
  "@tensorflow/tfjs": tf,
  "batchnorm-wasm/tfjs": library,
  "batchnorm-wasm/tfjs/install": library,
};

afterEach(() => {
  library.install(tf)();
  delete (globalThis as { tf?: unknown }).tf;
});

test("all that is public has one", () => {
  const functions = Object.entries(library).filter(
    ([name, value]) => typeof value === "function" && name !== "BatchNormError",
  );
  expect(examples.map(({ name }) => name).sort()).toEqual(functions.map(([name]) => name).sort());
});

test.each(examples)("$name", async ({ name, code }) => {
  Object.assign(globalThis, { tf });
  if (name !== "install") library.install(tf);
  await tf.setBackend("cpu");
  const model = tf.sequential({ layers: [tf.layers.dense({ units: 8, inputShape: [4] })] });
  const results: unknown[] = [];
  const body = code
    .replace(/^import (?:\* as )?(.*) from (".*");.*$/gm, "const $1 = modules[$2];")
    // What stands behind a line in a comment is what comes out.
    .replace(/^(\S.*); +\/\/ (\S+)$/gm, (line, expression, shown) =>
      /^\d/.test(shown) ? `results.push([${expression} ?? 0, ${shown}]);` : line,
    );
  new Function("modules", "model", "results", body)(MODULES, model, results);
  if (name === "normalizations") expect(model.layers.length).toBe(2);
  if (name === "normalizationMemory") expect(results).toEqual([[0, 2 ** 20]]);
});
