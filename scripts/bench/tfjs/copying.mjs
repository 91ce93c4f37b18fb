/**
 * Kernels that take ours' place and compute nothing: they make each tensor that these make, of a copy of
 * one that is there. No kernel that tfjs calls, and whose memory isn't tfjs's, takes less.
 */

/**
 * @typedef {{ shape: number[], dataId: object }} Info
 * @typedef {Float32Array | Int32Array} Values
 * @typedef {{ values(tensor: Info): Values, make(shape: number[], dtype: string, values: Values): object }} Host
 */

/** @param {typeof import("@tensorflow/tfjs")} tf @returns {() => void} has ours again */
export function copying(tf) {
  const name = /** @type {"wasm" | "cpu"} */ (tf.getBackend());
  const ours = Object.keys(KERNELS).map((kernel) => tf.getKernel(kernel, name));
  for (const config of ours) {
    tf.unregisterKernel(config.kernelName, name);
    tf.registerKernel({
      ...config,
      kernelFunc: ({ inputs, backend }) =>
        /** @type {any} */ (KERNELS)[config.kernelName](inputs, HOSTS[name](backend)),
    });
  }
  return () => {
    for (const config of ours) {
      tf.unregisterKernel(config.kernelName, name);
      tf.registerKernel(config);
    }
  };
}

/** @type {{ [name in "wasm" | "cpu"]: (backend: any) => Host }} */
const HOSTS = {
  wasm: (backend) => ({
    values: (tensor) => backend.typedArrayFromHeap(tensor),
    make(shape, dtype, values) {
      const made = backend.makeOutput(shape, dtype);
      backend.typedArrayFromHeap(made).set(values);
      return made;
    },
  }),
  cpu: (backend) => ({
    values: ({ dataId }) => backend.data.get(dataId).values,
    make: (shape, dtype, values) => backend.makeTensorInfo(shape, dtype, values.slice()),
  }),
};

/** @param {Host} host @param {Info | undefined} like */
function copy(host, like) {
  const tensor = /** @type {Info} */ (like);
  return host.make(tensor.shape, "float32", host.values(tensor));
}

/** @type {{ [kernel: string]: (inputs: { [name: string]: Info }, host: Host) => object }} */
const KERNELS = {
  FusedBatchNorm: ({ x }, host) => copy(host, x),
  BatchNormWasmForward({ x, movingMean, movingVariance }, host) {
    // The bits of statistics, which are four words a channel.
    const words = 4 * /** @type {number} */ (movingMean?.shape[0]);
    return [
      copy(host, x),
      host.make([words], "int32", new Int32Array(words)),
      copy(host, movingMean),
      copy(host, movingVariance),
    ];
  },
  BatchNormWasmBackward: ({ dy, gamma }, host) => [dy, gamma, gamma].map((one) => copy(host, one)),
};
