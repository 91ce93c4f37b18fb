import { batchNormInference, Tensor } from "batchnorm-wasm";
import { CHANNELS, check, ROWS } from "./shared.mjs";

const x = Tensor.from(new Float32Array(ROWS * CHANNELS).fill(3), [ROWS, CHANNELS]);
const ones = Tensor.from(new Float32Array(CHANNELS).fill(1));
const y = batchNormInference(x, { mean: ones, variance: ones, weight: ones, bias: ones });
check(y.data);
