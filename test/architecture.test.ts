/** Which file of ts/ may import which: read from their import statements, those of types too. */
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { Place } from "../ts/core/operands.js";
import { Word } from "../ts/generated/abi.js";

const root = fileURLToPath(new URL("../ts/", import.meta.url));

/** `ts/core`, from the bottom up: a file imports none but those before it. */
const CORE = [
  ...[
    "typed-arrays",
    "show",
    "errors",
    "checks",
    "options",
    "geometry",
    "values",
    "merged",
    "dtypes",
  ],
  ...["memory-section", "instance", "memory", "operands", "record", "kernel", "default-kernel"],
  ...["allocation", "view", "tensor", "parameter", "float64", "plain", "arguments", "norm-options"],
  ...[
    "saved-state",
    "saved-access",
    "run",
    "passes",
    "scope",
    "saved",
    "trace",
    "state-names",
    "state-dict",
  ],
  ...["presets", "layer-options", "layer-state", "last-pass", "layer-engine", "sample-norm"],
];

/** Of the kernel's exports, those that compute nothing. */
const MEMORY = ["memory", "abi_version", "allocate", "release"];

const files = readdirSync(root, { recursive: true, encoding: "utf8" })
  .map((path) => path.replaceAll("\\", "/"))
  .filter((path) => path.endsWith(".ts") && !path.endsWith(".d.ts"));

/** The code of a file, without its comments. */
function codeOf(file: string): string {
  return readFileSync(join(root, file), "utf8").replace(/\/\*[\s\S]*?\*\/|^\s*\/\/.*$/gm, "");
}

/** What each file imports of ts/, by its path there. */
const imports = new Map(
  files.map((file) => [
    file,
    [...codeOf(file).matchAll(/(?:\bfrom|\bimport)\s*\(?\s*"(\.[^"]*)"/g)].map(([, path = ""]) =>
      relative(root, join(root, dirname(file), path))
        .replaceAll("\\", "/")
        .replace(/\.js$/, ".ts"),
    ),
  ]),
);

const folderOf = (file: string) => (file.includes("/") ? file.slice(0, file.indexOf("/")) : "");
/** Folders of what is built on norms. */
const ABOVE = ["moments", "folding", "regularization", "model", "weights", "threads", "tfjs"];
const norms = new Set(
  files
    .map(folderOf)
    .filter((one) => !/^(|core|entry|generated)$/.test(one) && !ABOVE.includes(one)),
);

/** Which floor a file is on; it imports none of those above. */
function floorOf(file: string): number {
  const folder = folderOf(file);
  if (folder === "generated") return 0;
  if (folder === "core") return 1;
  if (norms.has(folder)) return 2;
  if (ABOVE.includes(folder)) return 3;
  return file === "index.ts" ? 4 : 5;
}

/** Imports that `isWrong`, as words. */
function wrongImports(isWrong: (from: string, to: string) => boolean): string[] {
  return [...imports].flatMap(([from, all]) =>
    all.filter((to) => isWrong(from, to)).map((to) => `${from} imports ${to}`),
  );
}

test("the import statements are read: all files import something but these", () => {
  const alone = [...imports].filter(([, all]) => all.length === 0).map(([file]) => file);
  expect(alone.sort()).toEqual([
    ...["core/typed-arrays.ts", "generated/abi.ts", "tfjs/mark.ts", "tfjs/types.ts"],
    ...["threads/report.ts", "threads/words.ts"],
  ]);
  // Which kernel is under test is told outside of ts/.
  const outside = ["node", "threads-node"].map(
    (entry) => `entry/${entry}.ts imports ../scripts/kernel/under-test.mjs`,
  );
  expect(wrongImports((_, to) => !/\.wasm/.test(to) && !files.includes(to))).toEqual(outside);
});

test("no file leads back to itself, by imports of types neither", () => {
  const seen = new Set<string>();
  const circles: string[] = [];
  const walk = (file: string, path: readonly string[]) => {
    if (path.includes(file)) circles.push([...path.slice(path.indexOf(file)), file].join(" → "));
    if (seen.has(file)) return;
    seen.add(file);
    for (const next of imports.get(file) ?? []) walk(next, [...path, file]);
  };
  for (const file of files) walk(file, []);
  expect(circles).toEqual([]);
});

test("entries import the index, that what is above norms, and these the core: none upward", () => {
  expect(wrongImports((from, to) => floorOf(to) > floorOf(from))).toEqual([]);
});

test("the index and entries alone know more than one norm, and none but entries the kernel's bytes", () => {
  expect(norms).toContain("batch");
  const isSideways = (from: string, to: string) =>
    norms.has(folderOf(from)) && norms.has(folderOf(to)) && folderOf(from) !== folderOf(to);
  expect(wrongImports(isSideways)).toEqual([]);
  const isBesides = (from: string, to: string) =>
    ABOVE.includes(folderOf(from)) &&
    ABOVE.includes(folderOf(to)) &&
    folderOf(from) !== folderOf(to);
  expect(wrongImports(isBesides)).toEqual([]);
  const isBytes = (from: string, to: string) =>
    folderOf(to) === "generated" && to !== "generated/abi.ts" && folderOf(from) !== "entry";
  expect(wrongImports(isBytes)).toEqual([]);
});

test("every file of the core has a place in its order, and imports none from above it", () => {
  const core = files.filter((file) => folderOf(file) === "core");
  expect(core.sort()).toEqual(CORE.map((name) => `core/${name}.ts`).sort());
  const placeOf = (file: string) => CORE.indexOf(file.replace(/^core\/|\.ts$/g, ""));
  const isUpward = (from: string, to: string) =>
    folderOf(from) === "core" && folderOf(to) === "core" && placeOf(to) >= placeOf(from);
  expect(wrongImports(isUpward)).toEqual([]);
});

test("no file but core/record.ts calls an export of the kernel that computes", () => {
  const declared = readFileSync(join(root, "generated/kernel.d.ts"), "utf8");
  const names = [...declared.matchAll(/export const (\w+)/g)].map(([, name = ""]) => name);
  const computing = names.filter((name) => !MEMORY.includes(name));
  expect(computing).toEqual(["run"]);
  const calling = /\bexports\s*(\.\s*run\b|\[)/;
  expect(files.filter((file) => calling.test(codeOf(file)))).toEqual(["core/record.ts"]);
});

test("operands of one value a channel have their places in the order of the record's words", () => {
  const order = (words: object) =>
    Object.entries(words)
      .filter(([, value]) => typeof value === "number")
      .sort(([, a], [, b]) => a - b)
      .map(([name]) => name.toLowerCase().replaceAll("_", ""));
  const [places, words] = [order(Place), order(Word)];
  const vectors = places.slice(places.indexOf("weight"), places.indexOf("y"));
  expect(vectors.length).toBeGreaterThan(3);
  expect(words.slice(words.indexOf("weight"))).toEqual([
    ...vectors,
    "saved",
    "constant",
    "groups",
    "renorm",
    "sizes",
  ]);
});
