/** A layer of this package with a cell's parameters, in a kernel of its own. */
import { ACTIVATED, RENORM, virtualBatchSizeOf } from "../cells.mjs";

/** @type {WeakMap<Uint8Array, Promise<WebAssembly.Module>>} */
const modules = new WeakMap();

/**
 * Compiled once, also where several contestants are of this package: optimized code is the module's,
 * and on a busy machine it comes to one before the other.
 *
 * @param {Uint8Array<ArrayBuffer>} kernel
 */
export function moduleOf(kernel) {
  const module = modules.get(kernel) ?? WebAssembly.compile(kernel);
  modules.set(kernel, module);
  return module;
}

/**
 * A kernel for each cell, so that none depends on what the cells before left in memory.
 *
 * @param {import("../contestant.d.ts").Library} library
 * @param {WebAssembly.Module | undefined} module without one it is the library's own kernel: it alone
 *   has threads
 * @param {import("../contestant.d.ts").Cell} cell
 * @param {import("../contestant.d.ts").Data} data
 */
export function createLayer(library, module, cell, data) {
  const { createKernel, Tensor } = library;
  const kernel = module && createKernel(module);
  const layer = layerOf(library, kernel, cell, data);
  layer.train(!cell.op.startsWith("inference"));
  /** @type {import("batchnorm-wasm").Tensor[]} */
  const tensors = [];
  /** @param {readonly number[]} shape */
  const zeros = (shape) => {
    const tensor = Tensor.zeros(shape, { kernel });
    tensors.push(tensor);
    return tensor;
  };
  return {
    layer,
    kernel,
    zeros,
    /** What a forward pass takes beside x. */
    beside() {
      const put = (/** @type {readonly number[]} */ shape, /** @type {Float32Array} */ values) => {
        const tensor = zeros(shape);
        tensor.data.set(values);
        return tensor;
      };
      const { variant, shape, axis } = cell;
      if (variant === "residual-relu") return { residual: put(shape, data.residual) };
      if (variant !== "mask") return {};
      const positions = shape.filter((_, i) => i !== axis);
      return { mask: put(positions, data.mask) };
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
 * @param {import("batchnorm-wasm").Kernel | undefined} kernel
 * @param {import("../contestant.d.ts").Cell} cell
 * @param {import("../contestant.d.ts").Data} data
 */
function layerOf(library, kernel, cell, data) {
  const { norm = "batch", groups = 0, axis } = cell;
  const { weight, bias, mean, variance, eps } = data;
  const options = { eps, kernel };
  const count = weight.length;
  switch (norm) {
    case "batch": {
      const running = { running_mean: mean, running_var: variance, num_batches_tracked: 0 };
      return loaded(new library.BatchNorm(count, { ...options, axis, ...varied(cell) }), {
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

/** A variant as options of a layer. @param {import("../contestant.d.ts").Cell} cell */
function varied(cell) {
  const { variant } = cell;
  if (variant === "ghost") return { virtualBatchSize: virtualBatchSizeOf(cell) };
  if (variant === "renorm") return { renorm: RENORM };
  return variant && ACTIVATED.includes(variant)
    ? { activation: /** @type {const} */ ("relu") }
    : {};
}
