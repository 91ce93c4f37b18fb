import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
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

test("KERNEL_WASM is the kernel that the package's sources run with", () => {
  // Another module than the committed one: with a section that has nothing but a name.
  const path = join(mkdtempSync(join(tmpdir(), "kernel-")), "kernel.wasm");
  writeFileSync(path, Uint8Array.of(...wasm, 0, 5, 4, ...Buffer.from("mine")));
  const code = `
    const { Module } = WebAssembly;
    WebAssembly.Module = class extends Module {
      constructor(bytes) {
        super(bytes);
        console.log(Module.customSections(this, "mine").length);
      }
    };
    const { Tensor } = await import("./ts/entry/node.ts");
    Tensor.zeros([1]);`;
  const args = ["--import", "tsx", "--input-type=module", "--eval", code];
  const sections = (KERNEL_WASM: string) =>
    execFileSync(process.execPath, args, {
      cwd: root,
      encoding: "utf8",
      env: { ...process.env, KERNEL_WASM },
    }).trim();
  expect([sections(path), sections("")]).toEqual(["1", "0"]);
});
