/**
 * `batchnorm-wasm/tfjs`: importing it has TensorFlow.js normalize by our kernels. Of tfjs it imports the
 * core alone, which is the program's own.
 */
import * as tf from "@tensorflow/tfjs-core";
import { install } from "./tfjs-install.js";

install(tf);

export * from "./tfjs-install.js";
