/**
 * TensorFlow.js in Node, with the norms of this package: one import more than without.
 *
 *     npm i && npm start
 */
import { createRequire } from "node:module";
import { dirname } from "node:path";
import * as tf from "@tensorflow/tfjs";
import { setWasmPaths } from "@tensorflow/tfjs-backend-wasm";
import "batchnorm-wasm/tfjs";
import { fineTune } from "./fine-tune.js";

const { resolve } = createRequire(import.meta.url);
setWasmPaths(`${dirname(resolve("@tensorflow/tfjs-backend-wasm"))}/`);
await tf.setBackend("wasm");
const { before, after } = await fineTune(tf, console.log);
process.exitCode = after > 0.95 && after > before ? 0 : 1;
