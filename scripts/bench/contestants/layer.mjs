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
export function createLayer(library, module, { op, axis }, data) {
  const { BatchNorm, createKernel, Tensor } = library;
  const kernel = createKernel(module);
  const { weight, bias, mean, variance, eps } = data;
  const layer = new BatchNorm(weight.length, { axis, eps, kernel });
  layer.loadStateDict({
    weight,
    bias,
    running_mean: mean,
    running_var: variance,
    num_batches_tracked: 0,
  });
  layer.train(!op.startsWith("inference"));
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
      dbias: layer.bias.grad.toFloat32Array(),
    }),
    dispose() {
      for (const tensor of tensors) tensor.dispose();
      layer.dispose();
    },
  };
}
