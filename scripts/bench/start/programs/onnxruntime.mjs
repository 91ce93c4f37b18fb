import * as ort from "onnxruntime-web/wasm";
import model from "./model.mjs";
import { CHANNELS, check, filesOf, ROWS } from "./shared.mjs";

ort.env.wasm.numThreads = 1;
ort.env.wasm.wasmPaths = filesOf("onnxruntime-web");
const session = await ort.InferenceSession.create(model);
const x = new Float32Array(ROWS * CHANNELS).fill(3);
const { y } = await session.run({ x: new ort.Tensor("float32", x, [ROWS, CHANNELS]) });
check(/** @type {Float32Array} */ (y?.data));
