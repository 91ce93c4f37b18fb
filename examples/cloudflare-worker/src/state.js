/** A trained layer's state dict, as `JSON.stringify` of `bn.stateDict()` would give it. */
export default {
  weight: [1.5, 0.5, 2],
  bias: [0, 1, -1],
  running_mean: [0.25, -3, 10],
  running_var: [1, 4, 0.25],
  num_batches_tracked: 100,
};
