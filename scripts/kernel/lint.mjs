/**
 * Clippy over what ships: for the host it sees neither the intrinsics nor memory that grows.
 */
import { fileURLToPath } from "node:url";
import { environmentOf, fail, findToolchain, run } from "./cargo.mjs";

process.chdir(fileURLToPath(new URL("../..", import.meta.url)));
const { path, reason } = findToolchain();
if (path === undefined) fail(`no toolchain\n${reason}`);
const env = environmentOf(path);
for (const features of ["", "--features batchnorm-boundary/threads "]) {
  const command = `clippy --locked --workspace --target wasm32-unknown-unknown ${features}-- -D warnings`;
  run("cargo", command.split(" "), env);
}
