/** A layer of this package with a cell's parameters, in a kernel of its own. */
/**
 * A kernel for each cell, so that none depends on what the cells before left in memory.
 * The module is compiled once: optimized code is the module's, not the instance's.
 *
 * @param {import("../contestant.d.ts").Library} library
 * @param {WebAssembly.Module} module
 * @param {import("../contestant.d.ts").Cell} cell
 * @param {import("../contestant.d.ts").Data} data
 */
export function createLayer(library, module, cell, data) {
  const { createKernel, Tensor } = library;
  const kernel = createKernel(module);
  const layer = layerOf(library, kernel, cell, data);
  layer.train(!cell.op.startsWith("inference"));
  /** @type {import("batchnorm-wasm").Tensor[]} */
  const tensors = [];
  return {
    layer,
    /** @param {readonly number[]} shape */
    zeros(shape) {
      const tensor = Tensor.zeros(shape, { kernel });
      tensors.push(tensor);
      return tensor;
    },
    gradients: () => ({
      dweight: layer.weight.grad.toFloat32Array(),
      // RMS norm has none.
      ...(layer.bias ? { dbias: layer.bias.grad.toFloat32Array() } : {}),
    }),
    dispose() {
      for (const tensor of tensors) tensor.dispose();
      layer.dispose();
    },
  };
}

/**
 * @param {import("../contestant.d.ts").Library} library
 * @param {import("batchnorm-wasm").Kernel} kernel
 * @param {import("../contestant.d.ts").Cell} cell
 * @param {import("../contestant.d.ts").Data} data
 */
function layerOf(library, kernel, { norm = "batch", groups = 0, axis }, data) {
  const { weight, bias, mean, variance, eps } = data;
  const options = { eps, kernel };
  const count = weight.length;
  switch (norm) {
    case "batch": {
      const running = { running_mean: mean, running_var: variance, num_batches_tracked: 0 };
      return loaded(new library.BatchNorm(count, { ...options, axis }), {
        ...{ weight, bias },
        ...running,
      });
    }
    case "group":
      return loaded(new library.GroupNorm(groups, count, { ...options, axis }), { weight, bias });
    case "layer":
      return loaded(new library.LayerNorm(count, options), { weight, bias });
    case "rms":
      return loaded(new library.RMSNorm(count, options), { weight });
  }
}

/**
 * @template {{ loadStateDict(dict: import("batchnorm-wasm").StateDict): unknown }} Layer
 * @param {Layer} layer
 * @param {import("batchnorm-wasm").StateDict} dict
 */
function loaded(layer, dict) {
  layer.loadStateDict(dict);
  return layer;
}
