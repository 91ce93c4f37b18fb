/** What both sides of the boundary agree on: crate/boundary/src/abi.rs. */

/**
 * Version of the record, the exports and the statuses.
 */
export enum Abi {
  /**
   * To be raised with every change of them.
   */
  Version = 8,
}

/**
 * What is in memory that was allocated.
 */
export enum Contents {
  /**
   * Whatever was there.
   */
  Arbitrary = 0,
  /**
   * Zeros.
   */
  Zero = 1,
}

/**
 * What to do with x.
 */
export enum Operation {
  /**
   * Tensors x, y: normalizes by given statistics, and saves them where there is an address to;
   * or by the batch's, where there has to be one, and then moves the accumulators, if both are
   * there.
   */
  Forward = 0,
  /**
   * Tensor x: saves the batch's statistics.
   */
  Statistics = 1,
  /**
   * Tensors x, dy, dx: adds dγ and dβ to the accumulators, by what was saved; weight, bias,
   * mean and variance are not read.
   */
  Backward = 2,
  /**
   * Tensor x: moves the accumulators by what was saved.
   */
  Update = 3,
  /**
   * Tensors x, y: normalizes groups of channels of each sample by their own statistics, and
   * saves them where there is an address to.
   */
  GroupForward = 4,
  /**
   * Tensors x, dy, dx: of that, as of `Operation.Forward`.
   */
  GroupBackward = 5,
  /**
   * Tensors x, y: normalizes rows across the channels by their own statistics, and saves them
   * where there is an address to.
   */
  LayerForward = 6,
  /**
   * Tensors x, dy, dx: of that, as of `Operation.Forward`.
   */
  LayerBackward = 7,
  /**
   * `Operation.LayerForward` around 0: the means are 0, the variances mean squares.
   */
  RmsForward = 8,
  /**
   * `Operation.LayerBackward` of that.
   */
  RmsBackward = 9,
  /**
   * `Operation.RmsForward` to unit length: the variances are sums of squares, ε the least
   * length.
   */
  UnitForward = 10,
  /**
   * `Operation.LayerBackward` of that.
   */
  UnitBackward = 11,
  /**
   * `Operation.Forward` and an activation.
   */
  ActivatedForward = 12,
  /**
   * Tensors x, residual, y: the same, with the residual added before the activation.
   */
  ResidualForward = 13,
  /**
   * Tensors x, gated, dx, and then dy, y, gated: gates dy by y, and goes on with that as
   * `Operation.Backward` does with dy. It may be dx.
   */
  ActivatedBackward = 14,
}

/**
 * Places of a record's numbers, of eight bytes.
 */
export enum RecordNumber {
  /**
   * ε.
   */
  Eps = 0,
  /**
   * Weight of the batch in running statistics.
   */
  Momentum = 1,
  /**
   * What the batch's variance is multiplied with there.
   */
  Correction = 2,
  /**
   * What an activation multiplies with where its input is not above 0: 1 of none.
   */
  Slope = 3,
  /**
   * How many there are.
   */
  Count = 4,
}

/**
 * Sizes of a record's parts.
 */
export enum RecordSize {
  /**
   * Axes of a shape, at most.
   */
  MaxRank = 64,
  /**
   * Tensors, at most.
   */
  Tensors = 6,
  /**
   * Words of a tensor before its strides.
   */
  Tensor = 2,
}

/**
 * How a call ended. Anything but `Ok` means that nothing was written.
 */
export enum Status {
  /**
   * Done.
   */
  Ok = 0,
  /**
   * No room for the workspace.
   */
  OutOfMemory = 1,
  /**
   * The call record contradicts itself: the caller's mistake.
   */
  BadRecord = 2,
  /**
   * An address or a length lies outside of the memory: the caller's mistake.
   */
  BadAddress = 3,
  /**
   * A given variance is below zero.
   */
  NegativeVariance = 4,
}

/**
 * Places of a record's words, of four bytes, behind the numbers.
 */
export enum Word {
  /**
   * Which `Operation`.
   */
  Operation = 8,
  /**
   * The channel axis, counted from 0.
   */
  Axis = 9,
  /**
   * Number of axes, up to `RecordSize.MaxRank`.
   */
  Rank = 10,
  /**
   * Address of γ: `f32`, one a channel.
   */
  Weight = 11,
  /**
   * Address of β: likewise.
   */
  Bias = 12,
  /**
   * Address of given means: likewise; with 0 for these and the variances, the batch's.
   */
  Mean = 13,
  /**
   * Address of given variances: likewise.
   */
  Variance = 14,
  /**
   * Address of what gathers over calls, `f32`, one a channel: the running mean, which a batch
   * moves, or γ's gradient, which is added to.
   */
  FirstAccumulator = 15,
  /**
   * Address of the running variance, or β's gradient: likewise.
   */
  SecondAccumulator = 16,
  /**
   * Address of the weights of a channel's elements in statistics that are taken, or were taken in
   * the forward pass; with 0 all count alike: their sum, `f64`, and behind it each, `f32`, in
   * row-major order of the axes but the channels'.
   */
  ElementWeights = 17,
  /**
   * Address of `f64` of a forward pass: the mean of each set of elements that share statistics
   * (a channel, a group of a sample or a row), then their variances, then γ of each channel (1 where
   * absent).
   */
  Saved = 18,
  /**
   * 1 where gradients see constants in these statistics; of a forward pass without given means and
   * variances, that these stand among the saved values.
   */
  Constant = 19,
  /**
   * Number of groups of channels.
   */
  Groups = 20,
  /**
   * Address of `f64` of what corrects the batch's statistics, or 0: the least and the most r, the
   * most d, then of each channel, side by side, the running 1/σ and mean, and r and d, which a
   * forward pass writes and its backward pass reads.
   */
  Renorm = 21,
  /**
   * The sizes, so many as the rank; then each of the operation's tensors: its address, its
   * extent and its strides.
   */
  Sizes = 22,
}
