// The scheme is Parcel's: the address of the file that it puts beside the script.
import kernel from "url:batchnorm-wasm/kernel.wasm";
import * as library from "batchnorm-wasm/slim";
import * as weights from "batchnorm-wasm/weights";
import golden from "../golden.mjs";
import { runWhole } from "../program.mjs";
import { report } from "../report.js";

report(async () => {
  await library.init(kernel);
  return runWhole(library, weights, golden);
});
