/** This package with the statistics that it gives, which the layer that is timed keeps inside. */
import {
  batchNormBackward,
  batchNormInference,
  batchNormTraining,
  createKernel,
  Tensor,
} from "../../../dist/index.js";

/** @type {import("../contestant.d.ts").Contestant} */
export default {
  name: "batchnorm-wasm",
  kind: "ours",
  async start({ kernel: bytes }) {
    const module = await WebAssembly.compile(bytes);
    return {
      version: "",
      refuses: () => undefined,
      async prepare({ op, shape, axis }, data) {
        const kernel = createKernel(module);
        const tensor = (/** @type {Float32Array} */ values, sizes = [values.length]) => {
          const made = Tensor.zeros(sizes, { kernel });
          made.data.set(values);
          return made;
        };
        const x = tensor(data.x, shape);
        const [weight, bias] = [tensor(data.weight), tensor(data.bias)];
        const common = { axis, weight, bias, eps: data.eps };
        /** @type {Record<string, Float32Array | Float64Array>} */
        let outputs = {};
        return {
          run() {
            if (op === "inference") {
              const running = { mean: tensor(data.mean), variance: tensor(data.variance) };
              const y = batchNormInference(x, { ...common, ...running });
              outputs = { y: y.toFloat32Array() };
            } else {
              const { y, saved } = batchNormTraining(x, common);
              const { dx, weightGrad, biasGrad } = batchNormBackward(tensor(data.dy, shape), {
                saved,
              });
              outputs = {
                y: y.toFloat32Array(),
                mean: saved.mean,
                variance: saved.variance,
                dx: dx.toFloat32Array(),
                dweight: weightGrad.toFloat32Array(),
                dbias: biasGrad.toFloat32Array(),
              };
            }
            return 0;
          },
          outputs: async () => outputs,
          // The kernel and its memory go as one.
          dispose() {},
        };
      },
    };
  },
};
