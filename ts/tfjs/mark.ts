/** What is ours among kernels, gradients and layers, whichever copy of this package has put it there. */
export const MARK = "batchnorm-wasm";
