/**
 * Ghost batches (Hoffer, Hubara & Soudry 2017, arXiv:1705.08741): consecutive slices of the batch are
 * normalized each by its own statistics, and move running ones one after the other. So they are as
 * many calls of the kernel.
 *
 * TabNet splits the batch evenly into parts of about this size instead, and tf-keras averages the
 * slices' statistics and moves running ones once.
 */
import { fail } from "../core/errors.js";
import { type Call, hasShapeOfX, type Operand, Place, type Through } from "../core/operands.js";
import { bytesOfSlice } from "../core/saved-state.js";
import { showShape } from "../core/show.js";
import type { View } from "../core/view.js";
import { correctionOf, type RunningUpdate } from "./running.js";

/**
 * Has a training pass go by slices of so many samples, unless there are no more.
 *
 * @param running what it moves, if anything
 * @throws BatchNormError `unsupported` where the first axis counts the channels, `batch-too-small`
 *   where a slice has one value a channel
 */
export function inSlices(
  call: Call<View>,
  virtualBatchSize: number,
  running: RunningUpdate | null,
): void {
  const { owner, axis, channels } = call;
  const { shape, size } = call.operands[Place.X] as View;
  if (axis === 0) {
    fail("unsupported", `${owner}: virtualBatchSize is of samples, but axis 0 counts the channels`);
  }
  const samples = shape[0] as number;
  if (virtualBatchSize >= samples) return;
  const last = samples % virtualBatchSize || virtualBatchSize;
  if ((size / samples / channels) * last === 1) {
    fail(
      "batch-too-small",
      `${owner}: virtualBatchSize ${virtualBatchSize} leaves a slice of ${showShape(shape)} with 1 ` +
        "value per channel; take another size, or drop its sample",
    );
  }
  call.slices = Math.ceil(samples / virtualBatchSize);
  call.sets = channels * call.slices;
  call.through = new Slices(virtualBatchSize, running, call.through);
}

/** The way of a pass by slices, forward and back. */
class Slices implements Through<View> {
  readonly #size: number;
  readonly #cumulative: boolean;
  readonly #unbiased: boolean;
  /** That of each slice, if it isn't the kernel's. */
  readonly #through: Through<View> | null;

  constructor(size: number, running: RunningUpdate | null, through: Through<View> | null) {
    this.#size = size;
    this.#through = through;
    this.#cumulative = running?.cumulative ?? false;
    this.#unbiased = running?.unbiased ?? false;
  }

  run(call: Call<View>): void {
    const x = call.operands[Place.X] as View;
    const way = this.#through ?? x.allocation.port.record;
    const samples = x.shape[0] as number;
    const slice: Call<Operand> = { ...call, operands: [...call.operands] };
    for (let first = 0; first < samples; first += this.#size) {
      const size = Math.min(this.#size, samples - first);
      call.operands.forEach((operand, place) => {
        if (operand && hasShapeOfX(place)) slice.operands[place] = samplesOf(operand, first, size);
      });
      const count = ((x.size / samples) * size) / call.channels;
      slice.correction = correctionOf(count, this.#unbiased);
      // If this fails for want of memory, then with the first slice, which is the largest.
      way.run(slice as Call<View>);
      slice.saved += bytesOfSlice(call);
      // Of an average: the next one weighs 1/(k + 1) where this one weighs 1/k.
      if (this.#cumulative) slice.momentum /= 1 + slice.momentum;
    }
  }
}

/** Some samples of a tensor. */
function samplesOf(tensor: View, first: number, size: number): Operand {
  const { shape, strides, address, extent, contiguous, disposed, allocation } = tensor;
  const [samples, ...others] = shape as [number, ...number[]];
  const stride = strides[0] as number;
  return {
    shape: [size, ...others],
    strides,
    offset: tensor.offset + first * stride,
    size: (tensor.size / samples) * size,
    address: address + first * stride * 4,
    extent: extent - (samples - size) * stride,
    contiguous,
    disposed,
    allocation,
  };
}
