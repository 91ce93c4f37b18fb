/** This package with the statistics that it gives, which the layer that is timed keeps inside. */
import * as library from "../../../dist/entry/slim.js";
import { prepare } from "../contestants/ours.mjs";

const { batchNormBackward, batchNormInference, batchNormTraining, createKernel, Tensor } = library;

/** @type {import("../contestant.d.ts").Contestant} */
export default {
  name: "batchnorm-wasm",
  kind: "ours",
  norms: ["batch", "group", "layer", "rms"],
  async start({ kernel: bytes, version }) {
    const module = await WebAssembly.compile(bytes);
    return {
      version,
      refuses: () => undefined,
      async prepare(cell, data) {
        const { op, shape, axis, norm = "batch" } = cell;
        if (norm !== "batch") return prepare(library, module, cell, data);
        const kernel = createKernel(module);
        const tensor = (
          /** @type {Float32Array} */ values,
          /** @type {readonly number[]} */ sizes = [values.length],
        ) => {
          const made = Tensor.zeros(sizes, { kernel });
          made.data.set(values);
          return made;
        };
        const x = tensor(data.x, shape);
        const [weight, bias] = [tensor(data.weight), tensor(data.bias)];
        const common = { axis, weight, bias, eps: data.eps };
        /** @type {Record<string, Float32Array | Float64Array | undefined>} */
        let outputs = {};
        return {
          run() {
            if (op === "inference") {
              const running = { mean: tensor(data.mean), variance: tensor(data.variance) };
              const y = batchNormInference(x, { ...common, ...running });
              outputs = { y: y.toFloat32Array() };
              return 0;
            }
            const { y, saved } = batchNormTraining(x, common);
            const { mean, variance } = saved;
            outputs = { y: y.toFloat32Array(), mean, variance };
            if (op === "training") return 0;
            const gradients = batchNormBackward(tensor(data.dy, shape), { saved });
            outputs.dx = gradients.dx.toFloat32Array();
            outputs.dweight = gradients.weightGrad?.toFloat32Array();
            outputs.dbias = gradients.biasGrad?.toFloat32Array();
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
