import { fail } from "./errors.js";
import type { Kernel, Tracked } from "./kernel.js";
import { holds } from "./scope.js";
import { Storage } from "./storage.js";
import type { Tensor } from "./tensor.js";

/** A tensor, and what its storage's version was when it was saved. */
interface Seen {
  readonly name: string;
  tensor: Tensor | null;
  version: number;
}

/**
 * What a forward pass keeps for its backward pass: x, γ and the statistics that
 * normalized x. It copies no tensor but counts their versions, so that a backward
 * pass through an overwritten one is an error and not a wrong number.
 */
export class BatchNormSaved implements Tracked {
  /** Whether the batch's own statistics normalized x, or constant ones. */
  statistics: "batch" | "running" = "batch";
  /** The channel axis, counted from 0. */
  axis = 0;
  /** Number of channels. */
  channels = 0;
  /** Added to the variance. */
  eps = 0;

  readonly #kernel: Kernel;
  readonly #seen: Seen[] = ["x", "weight", "running mean", "running variance"].map((name) => ({
    name,
    tensor: null,
    version: 0,
  }));
  /** The batch's means and then its variances, as f64. */
  #batch: Storage | null = null;
  #ownsX = false;
  #disposed = false;

  /** @internal Made by a forward pass. */
  constructor(kernel: Kernel) {
    this.#kernel = kernel;
  }

  /** What was normalized. */
  get x(): Tensor {
    return (this.#seen[0] as Seen).tensor ?? fail("disposed", "the saved values were disposed");
  }

  /** γ, if there was one. */
  get weight(): Tensor | null {
    return (this.#seen[1] as Seen).tensor;
  }

  /** A copy of the means that normalized x, one a channel. */
  get mean(): Float64Array {
    return this.#vector(0);
  }

  /** A copy of the variances that normalized x (biased ones of a batch), one a channel. */
  get variance(): Float64Array {
    return this.#vector(1);
  }

  /** @internal Addresses of the statistics: f64 of a batch, f32 running ones. */
  get addresses(): [mean: number, variance: number] {
    if (this.statistics === "running") {
      const [, , mean, variance] = this.#seen as [Seen, Seen, Seen, Seen];
      return [(mean.tensor as Tensor).address, (variance.tensor as Tensor).address];
    }
    const { address } = this.#batch as Storage;
    return [address, address + this.channels * 8];
  }

  /** @internal Makes room for the statistics of a batch and returns their addresses. */
  reserveBatch(channels: number): [mean: number, variance: number] {
    this.#checkLive();
    const bytes = channels * 16;
    if (this.#batch?.bytes !== bytes) {
      const batch = new Storage(this.#kernel, bytes, false);
      batch.retain();
      this.#batch?.release();
      this.#batch = batch;
    }
    return [this.#batch.address, this.#batch.address + channels * 8];
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
    mean: Tensor | null = null,
    variance: Tensor | null = null,
  ): void {
    this.#checkLive();
    if (this.#ownsX) this.x.dispose();
    this.#ownsX = false;
    this.statistics = mean === null ? "batch" : "running";
    this.axis = axis;
    this.channels = x.shape[axis] as number;
    this.eps = eps;
    this.#see(0, x);
    this.#see(1, weight);
    this.#see(2, mean);
    this.#see(3, variance);
  }

  /** @internal x is a copy that nobody else knows: the record disposes it. */
  ownX(): void {
    this.#ownsX = true;
  }

  /** @throws BatchNormError `stale` where something that was saved has changed or is gone */
  check(owner: string): void {
    this.#checkLive();
    for (const { name, tensor, version } of this.#seen) {
      if (tensor === null) continue;
      if (tensor.disposed) {
        fail("stale", `${owner}: ${name} was disposed since the forward pass`);
      }
      if (tensor.storage.wroteSince(version, tensor)) {
        fail("stale", `${owner}: ${name} was overwritten since the forward pass (in place?)`);
      }
    }
  }

  /** Gives the statistics' memory back. */
  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.#batch?.release();
    this.#batch = null;
    if (this.#ownsX) this.x.dispose();
    for (const seen of this.#seen) seen.tensor = null;
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  /** Whether {@link BatchNormSaved.dispose} was called. */
  get disposed(): boolean {
    return this.#disposed;
  }

  /** A scope that returns the record keeps the tensors that `backward` needs. */
  get [holds](): (Tensor | null)[] {
    return this.#seen.map((seen) => seen.tensor);
  }

  #see(index: number, tensor: Tensor | null): void {
    const seen = this.#seen[index] as Seen;
    seen.tensor = tensor;
    seen.version = tensor?.storage.version ?? 0;
  }

  #vector(which: 0 | 1): Float64Array {
    this.#checkLive();
    if (this.statistics === "running") {
      return Float64Array.from((this.#seen[2 + which] as Seen).tensor?.toFloat32Array() ?? []);
    }
    const address = this.addresses[which];
    return new Float64Array(this.#kernel.memory.buffer, address, this.channels).slice();
  }

  #checkLive(): void {
    if (this.#disposed) fail("disposed", "the saved values were disposed");
  }
}
