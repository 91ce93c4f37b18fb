import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { digestOfSources } from "../scripts/kernel/digest.mjs";
import { countVectorFunctions } from "../scripts/kernel/inspect.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));
const wasm = new Uint8Array(readFileSync(`${root}/ts/generated/kernel.wasm`));
const record = JSON.parse(readFileSync(`${root}/ts/generated/kernel.json`, "utf8"));

test("the committed kernel was built from these sources (else: npm run build:kernel)", () => {
  expect(record.sources).toBe(digestOfSources(root));
});

test("the committed kernel is the one in the record", () => {
  expect(createHash("sha256").update(wasm).digest("hex")).toBe(record.kernel.sha256);
  expect(wasm.length).toBe(record.kernel.bytes);
});

test("the committed kernel imports nothing", () => {
  expect(WebAssembly.Module.imports(new WebAssembly.Module(wasm))).toEqual([]);
});

test("the committed kernel uses SIMD", () => {
  expect(countVectorFunctions(wasm)).toBeGreaterThan(0);
});
