import { fromSafetensors, toSafetensors } from "batchnorm-wasm/weights";
import golden from "../golden.mjs";
import { report } from "../report.js";

report(() => {
  const { file } = golden.flax;
  const back = toSafetensors(fromSafetensors(Uint8Array.from(file)));
  const same = `${back}` === `${file}`;
  const reason = `${back} instead of ${file}`;
  return {
    checks: [{ name: "the file", ...(same ? { status: "passed" } : { status: "failed", reason }) }],
  };
});
