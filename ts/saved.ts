import { fail } from "./errors.js";
import type { Kernel, Tracked } from "./kernel.js";
import type { Holding } from "./scope.js";
import { Storage } from "./storage.js";
import type { Tensor } from "./tensor.js";

/**
 * What a forward pass keeps for its backward pass: x, γ and the statistics that
 * normalized x. It copies no tensor but counts their versions, so that a backward
 * pass through an overwritten one is an error and not a wrong number.
 */
export class BatchNormSaved implements Tracked, Holding {
  /** Whether the batch's own statistics normalized x, or constant ones. */
  statistics: "batch" | "running" = "batch";
  /** The channel axis, counted from 0. */
  axis = 0;
  /** Number of channels. */
  channels = 0;
  /** Added to the variance. */
  eps = 0;

  readonly #kernel: Kernel;
  #x: Tensor | null = null;
  #weight: Tensor | null = null;
  #mean: Tensor | null = null;
  #variance: Tensor | null = null;
  /** Versions of these four's storages when they were saved. */
  readonly #versions = [0, 0, 0, 0];
  /** The batch's means and then its variances, as f64. */
  #batch: Storage | null = null;
  #nextBatch: Storage | null = null;
  /** Tensors that nobody else knows: x as a copy, or statistics that have moved since. */
  #own: Tensor[] = [];
  #disposed = false;

  /** @internal Made by a forward pass. */
  constructor(kernel: Kernel) {
    this.#kernel = kernel;
  }

  /** What was normalized. */
  get x(): Tensor {
    return this.#x ?? fail("disposed", "saved was disposed");
  }

  /** γ, if there was one. */
  get weight(): Tensor | null {
    return this.#weight;
  }

  /** A copy of the means that normalized x, one a channel. */
  get mean(): Float64Array {
    return this.#vector(this.#mean, () => this.meanAddress);
  }

  /** A copy of the variances that normalized x (biased ones of a batch), one a channel. */
  get variance(): Float64Array {
    return this.#vector(this.#variance, () => this.varianceAddress);
  }

  /** @internal Address of the means: f64 of a batch, f32 running ones. */
  get meanAddress(): number {
    return this.#mean?.address ?? (this.#batch as Storage).address;
  }

  /** @internal Address of the variances, likewise. */
  get varianceAddress(): number {
    return this.#variance?.address ?? (this.#batch as Storage).address + this.channels * 8;
  }

  /**
   * @internal Makes room for the statistics of a batch, means before variances, and
   * returns its address. What the record holds stays until `set`, or `abandon` undoes it.
   */
  reserveBatch(channels: number): number {
    this.#checkLive();
    const bytes = channels * 16;
    if (this.#batch?.bytes === bytes) return this.#batch.address;
    this.#nextBatch = new Storage(this.#kernel, bytes, true);
    this.#nextBatch.retain();
    return this.#nextBatch.address;
  }

  /** @internal Undoes `reserveBatch` after a failure. */
  abandon(): void {
    this.#nextBatch?.release();
    this.#nextBatch = null;
  }

  /**
   * @internal Overwrites the record after a forward pass. With `mean` and
   * `variance` these normalized x, else the batch's own, of `reserveBatch`.
   */
  set(
    x: Tensor,
    weight: Tensor | null,
    axis: number,
    eps: number,
    mean: Tensor | null,
    variance: Tensor | null,
  ): void {
    this.#checkLive();
    this.#disposeOwn();
    if (this.#nextBatch) {
      this.#batch?.release();
      this.#batch = this.#nextBatch;
      this.#nextBatch = null;
    }
    this.statistics = mean === null ? "batch" : "running";
    this.axis = axis;
    this.channels = x.shape[axis] as number;
    this.eps = eps;
    this.#x = x;
    this.#weight = weight;
    this.#mean = mean;
    this.#variance = variance;
    const versions = this.#versions;
    versions[0] = x.storage.version;
    versions[1] = weight === null ? 0 : weight.storage.version;
    versions[2] = mean === null ? 0 : mean.storage.version;
    versions[3] = variance === null ? 0 : variance.storage.version;
  }

  /** @internal The record disposes the tensor when it doesn't need it any more. */
  own(tensor: Tensor): void {
    this.#own.push(tensor);
  }

  /** @internal See `checkRecord`. */
  checkWritable(kernel: Kernel, owner: string): void {
    this.#checkLive();
    if (this.#kernel !== kernel) {
      fail("foreign-kernel", `${owner}: saved belongs to another kernel than the tensors`);
    }
  }

  /** @throws BatchNormError `stale` where something that was saved has changed or is gone */
  check(owner: string): void {
    this.#checkLive();
    if (this.#x === null) fail("stale", `${owner}: there was no forward pass`);
    this.#checkFresh(owner, "x", this.#x, 0);
    this.#checkFresh(owner, "weight", this.#weight, 1);
    this.#checkFresh(owner, "the running mean", this.#mean, 2);
    this.#checkFresh(owner, "the running variance", this.#variance, 3);
  }

  /** Gives the statistics' memory back. */
  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.#batch?.release();
    this.#batch = null;
    this.#disposeOwn();
    this.#x = this.#weight = this.#mean = this.#variance = null;
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  /** Whether {@link BatchNormSaved.dispose} was called. */
  get disposed(): boolean {
    return this.#disposed;
  }

  /** A scope that returns the record keeps the tensors that `backward` needs. */
  get "batchnorm-wasm.holds"(): (Tensor | null)[] {
    return [this.#x, this.#weight, this.#mean, this.#variance];
  }

  #disposeOwn(): void {
    if (this.#own.length === 0) return;
    for (const tensor of this.#own) tensor.dispose();
    this.#own = [];
  }

  #checkFresh(owner: string, name: string, tensor: Tensor | null, index: number): void {
    if (tensor === null) return;
    if (tensor.disposed) fail("stale", `${owner}: ${name} was disposed since the forward pass`);
    if (tensor.storage.wroteSince(this.#versions[index] as number, tensor)) {
      fail("stale", `${owner}: ${name} was overwritten since the forward pass (in place?)`);
    }
  }

  #vector(running: Tensor | null, address: () => number): Float64Array {
    this.#checkLive();
    if (running) return Float64Array.from(running.toFloat32Array());
    return new Float64Array(this.#kernel.memory.buffer, address(), this.channels).slice();
  }

  #checkLive(): void {
    if (this.#disposed) fail("disposed", "saved was disposed");
  }
}
