/**
 * The bare loops' text to the bytes beside it: `npm run bench:assemble`, once after each change
 * of the text, by binaryen's assembler, without its optimizer: the loops are to be what was
 * written. The bytes are committed, since a page, and tests without binaryen, need them.
 */
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { digestOf } from "./digest.mjs";
import { TEXT } from "./text.mjs";

const assembler = fileURLToPath(
  new URL("../../kernel/node_modules/binaryen/bin/wasm-as", import.meta.url),
);
if (!existsSync(assembler)) throw new Error("no assembler: npm ci --prefix scripts/kernel");

const folder = mkdtempSync(join(tmpdir(), "bare-loops-"));
const [text, bytes] = ["loops.wat", "loops.wasm"].map((name) => join(folder, name));
writeFileSync(text, TEXT);
const { status } = spawnSync(
  process.execPath,
  [assembler, text, "-o", bytes, "--enable-simd", "--enable-bulk-memory"],
  { stdio: "inherit" },
);
if (status !== 0) throw new Error("the text was not assembled");
const base64 = readFileSync(bytes).toString("base64");
rmSync(folder, { recursive: true });
writeFileSync(
  new URL("generated.mjs", import.meta.url),
  `/** The bare loops assembled: \`npm run bench:assemble\` makes this file from \`text.mjs\`. */

/** SHA-256 of the text that these bytes are of. */
export const DIGEST = ${JSON.stringify(digestOf(TEXT))};

export const BASE64 =
  ${JSON.stringify(base64)};
`,
);
