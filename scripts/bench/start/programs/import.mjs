import { BatchNorm, Tensor } from "batchnorm-wasm";

if (!BatchNorm || !Tensor) throw new Error("not there");
