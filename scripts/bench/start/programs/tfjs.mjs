import { setWasmPaths } from "@tensorflow/tfjs-backend-wasm";
import * as tf from "@tensorflow/tfjs-core";
import { CHANNELS, check, filesOf, ROWS } from "./shared.mjs";

setWasmPaths(filesOf("@tensorflow/tfjs-backend-wasm"));
await tf.setBackend("wasm");
const ones = tf.ones([CHANNELS]);
check(await tf.batchNorm(tf.fill([ROWS, CHANNELS], 3), ones, ones, ones, ones, 1e-5).data());
