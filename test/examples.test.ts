/**
 * The examples in docstrings and README: each is checked by TypeScript and runs, and what it
 * shows is what comes out. `examples/check.ts` says how a result is written, and
 * `examples/preamble.ts` has the names that an example need not make.
 */
import { readFileSync, rmSync } from "node:fs";
import { afterAll, describe, expect, test } from "vitest";
import { type Checked, check, type Example } from "./examples/check.js";
import { Compiler } from "./examples/compiler.js";
import { folder, preambles } from "./examples/preamble.js";
import { type Entry, type Library, MODULES, readPublic } from "./examples/public.js";
import { run, shown } from "./examples/run.js";

/** Public, and without an example for a reason. */
const WITHOUT: Record<string, string> = {
  'NormSaved."batchnorm-wasm.holds"': "how `scope` sees into a record, for nobody else",
  "Tensor.[Symbol.toStringTag]": "read by engines and consoles",
  "Parameter.[Symbol.toStringTag]": "as Tensor's",
  "BatchNorm.[Symbol.toStringTag]": "as Tensor's",
  "SampleNorm.[Symbol.toStringTag]": "as Tensor's",
  "NormSaved.[Symbol.toStringTag]": "as Tensor's",
  "BatchNormSaved.[Symbol.toStringTag]": "as Tensor's",
  "GroupNormSaved.[Symbol.toStringTag]": "as Tensor's",
  "LayerNormSaved.[Symbol.toStringTag]": "as Tensor's",
  "RMSNormSaved.[Symbol.toStringTag]": "as Tensor's",
  "UnitNormSaved.[Symbol.toStringTag]": "as Tensor's",
  'Tensor.[Symbol.for("nodejs.util.inspect.custom")]': "called by Node's console",
  "BatchNormError.name": "as every Error has it",
  "BatchNormError.cause": "as every Error has it",
};

const compiler = new Compiler();
const entries = readPublic(compiler.open([...MODULES.keys()]));
/** What an example of each library can import, and where from. */
const valuesOf: Record<Library, readonly (readonly [from: Library, names: readonly string[]])[]> = {
  "batchnorm-wasm": [["batchnorm-wasm", importable("batchnorm-wasm")]],
  "batchnorm-wasm/slim": [
    [
      "batchnorm-wasm/slim",
      [...importable("batchnorm-wasm"), ...importable("batchnorm-wasm/slim")],
    ],
  ],
  "batchnorm-wasm/weights": [
    ["batchnorm-wasm", importable("batchnorm-wasm")],
    ["batchnorm-wasm/weights", importable("batchnorm-wasm/weights")],
  ],
  "batchnorm-wasm/threads": [
    [
      "batchnorm-wasm/threads",
      [...importable("batchnorm-wasm"), ...importable("batchnorm-wasm/threads")],
    ],
  ],
};
const documented = entries.flatMap((entry) =>
  entry.examples.map((text) => ofDocstring(entry, text)),
);
const readme = ofReadme(readFileSync(new URL("../README.md", import.meta.url), "utf8"));
const checked = check(compiler, [...documented, ...readme]);
compiler.close();
afterAll(() => rmSync(folder, { recursive: true }));

function importable(library: Library): string[] {
  return entries.filter((one) => one.library === library && one.isValue).map(({ name }) => name);
}

/** Has the imports that a reader supplies: all names of the library that it uses. */
function ofDocstring({ name, library }: Entry, text: string): Example {
  const { imports, body } = withoutImports(text);
  for (const [from, names] of valuesOf[library]) {
    const used = names.filter((one) => hasWord(body, one));
    if (used.length > 0) imports.push([`{ ${used.join(", ")} }`, from]);
  }
  return exampleOf(name, library, imports, body, "docstring");
}

/** The blocks of TypeScript and JavaScript; they import all by themselves. */
function ofReadme(text: string): Example[] {
  return [...text.matchAll(/^```(?:ts|js|typescript|javascript)\n(.*?)^```/gms)].map(
    ([, block = ""], i) => {
      const { imports, body } = withoutImports(block);
      const isFrom = (library: Library) => imports.some(([, from]) => from === library);
      const others: Library[] = ["batchnorm-wasm/slim", "batchnorm-wasm/threads"];
      const library = others.find(isFrom) ?? "batchnorm-wasm";
      return exampleOf(`block ${i + 1}`, library, imports, body, "readme");
    },
  );
}

function exampleOf(
  title: string,
  library: Library,
  imports: Example["imports"],
  body: string,
  preamble: Example["preamble"],
): Example {
  const names = Object.getOwnPropertyNames(preambles[preamble]({} as never));
  const given = names.filter((name) => hasWord(body, name) && !isMade(body, name));
  return { title, library, imports, preamble, given, body };
}

function withoutImports(text: string) {
  const imports: (readonly [string, string])[] = [];
  const body = text.replace(/^import (\w+|\{[^}]*\}) from "([^"]+)";.*\n/gm, (_, names, from) => {
    imports.push([names, from]);
    return "";
  });
  return { imports, body };
}

function hasWord(text: string, word: string): boolean {
  return new RegExp(`(?<![\\w$.])${word}\\b`).test(text);
}

/** Whether an example makes it itself, so that it need not be made before (slim's has no kernel). */
function isMade(text: string, name: string): boolean {
  return new RegExp(`\\b(?:const|let) ${name}\\b`).test(text);
}

function testExample(example: Example): void {
  const one = checked.get(example) as Checked;
  test(`${example.title} shows what comes out`, async () => {
    expect(one.faults).toEqual([]);
    const line = (i: number, comment = "") => `${one.results[i]?.statement} // ${comment}`;
    const found = await run(example, one);
    expect(found.map((comment, i) => line(i, comment))).toEqual(
      one.results.map(({ comment }, i) => line(i, comment)),
    );
  });
}

describe("the example of", () => {
  for (const example of documented) testExample(example);
});

describe("README's", () => {
  test("blocks are found: the ten lines, group norm, state dicts, weights, threads, and slim", () => {
    const found = readme.map(({ imports }) => imports.map(([, from]) => from).join());
    expect(found).toEqual([
      ...["batchnorm-wasm", "batchnorm-wasm", "batchnorm-wasm"],
      ...["batchnorm-wasm,batchnorm-wasm/weights", "batchnorm-wasm/threads", "batchnorm-wasm/slim"],
    ]);
  });

  for (const example of readme) testExample(example);
});

describe("every public", () => {
  /** Used without its name being there. */
  const isImplied = /^\w+\.(toString|\[Symbol\.dispose\])$/;

  test("function, class, member and constant has an example, but for those with a reason", () => {
    const missing = entries.filter(({ examples }) => examples.length === 0);
    expect(missing.map(({ name }) => name).sort()).toEqual(Object.keys(WITHOUT).sort());
  });

  test("thing's example uses it, and has one to five lines that fit a screen", () => {
    const wrong = documented.filter((example) => {
      const { title, body } = example;
      const lines = body.split("\n");
      const { uses } = checked.get(example) as Checked;
      const isUsed =
        isImplied.test(title) ||
        hasWord(body, title) ||
        [...uses].some((used) => used === title || used.startsWith(`${title}.`));
      return !isUsed || lines.length > 5 || lines.some((line) => line.length > 92);
    });
    expect(wrong.map(({ title }) => title)).toEqual([]);
  });
});

test("a value is shown to four digits, and long ones are cut", () => {
  expect(shown([0.1 + 0.2, "a", null, { b: Float32Array.of(-0.99999) }])).toBe(
    '[0.3, "a", null, { b: Float32Array [-1] }]',
  );
  expect(shown(new Uint8Array(9))).toBe("Uint8Array [0, 0, 0, 0, 0, 0, 0, 0, …]");
});
