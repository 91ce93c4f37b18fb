import { type Allocation, allocateSaved, wroteSince } from "../core/allocation.js";
import { fail } from "../core/errors.js";
import type { Kernel, Port, Tracked } from "../core/kernel.js";
import { type Call, failForKernel, Place } from "../core/operands.js";
import type { Holding } from "../core/scope.js";
import type { Tensor } from "../core/tensor.js";
import type { Float64Values } from "../core/values.js";
import type { View } from "../core/view.js";
import { provideSaved } from "./records.js";

/** The inside of a {@link BatchNormSaved}. */
export class SavedState {
  declare readonly port: Port;
  /**
   * The forward pass, but what it has written. The values of γ and of given statistics as they
   * were then are kept apart, so that these may change, but no gradient is to be written over them.
   */
  call: Call<View> | null = null;
  channels = 0;
  /** How many forward passes it was of. */
  pass = 0;
  /** Why nothing more can be done with it. */
  gone: "disposed" | "stale" | null = null;

  #version = 0;
  #values: Allocation | null = null;
  #next: Allocation | null = null;
  /** A copy of x that nobody else has. */
  #copy: View | null = null;

  constructor(port: Port) {
    this.port = port;
  }

  get x(): View | null {
    return this.call?.operands[Place.X] ?? null;
  }

  /** The kept values: the kernel's `saved`. */
  get address(): number {
    return (this.#values as Allocation).address;
  }

  /**
   * Makes room for the values of a forward pass, and returns its address. What the record
   * holds stays until `set`, or `abandon` undoes it.
   */
  reserve(channels: number): number {
    if (this.#values && this.channels === channels) return this.#values.address;
    this.#next = allocateSaved(this.port, channels);
    return this.#next.address;
  }

  /** Undoes `reserve` after a failure. */
  abandon(): void {
    this.#next?.release();
    this.#next = null;
  }

  /** Overwrites the record after a forward pass, before its writes are counted. */
  set(call: Call<View>): void {
    const { operands } = call;
    const x = operands[Place.X] as View;
    this.inherit(this, x, operands[Place.OUT] as View);
    if (this.#next) {
      this.#values?.release();
      this.#values = this.#next;
      this.#next = null;
    }
    operands[Place.OUT] = operands[Place.FIRST] = operands[Place.SECOND] = null;
    call.constant = operands[Place.MEAN] !== null;
    this.call = call;
    this.pass += 1;
    this.channels = x.shape[call.axis] as number;
    this.#version = x.allocation.version;
  }

  /** Has the record own its x: a copy. */
  own(x: View): void {
    this.#copy = x;
  }

  /**
   * Takes over what the record before owns: users can have its copy of x, and the next forward
   * pass may read that, or write it, and then it is theirs.
   */
  inherit(before: SavedState, x: View, y: View): void {
    const copy = before.#copy;
    before.#copy = null;
    if (copy === x) this.#copy = copy;
    else if (copy !== y) copy?.dispose();
  }

  /** @throws BatchNormError `disposed`, `stale`, `foreign-kernel` unless it can be overwritten */
  checkWritable(port: Port, owner: string): void {
    this.#checkThere(owner);
    if (this.port !== port) {
      failForKernel(owner, "saved");
    }
  }

  /**
   * The forward pass.
   *
   * @throws BatchNormError `stale` where its x has changed or is gone, `disposed`
   */
  check(owner: string): Call<View> {
    this.#checkThere(owner);
    const call = this.call ?? fail("stale", `${owner}: there was no forward pass`);
    const view = call.operands[Place.X] as View;
    if (view.disposed) fail("stale", `${owner}: x was disposed since the forward pass`);
    if (wroteSince(view.allocation, this.#version, view)) {
      fail("stale", `${owner}: x was overwritten since the forward pass`);
    }
    return call;
  }

  /** One of the kept vectors, copied. */
  values(index: 0 | 1 | 2, owner: string): Float64Values {
    this.#checkThere(owner);
    const { channels } = this;
    const { buffer } = this.port.memory;
    return new Float64Array(buffer, this.address + index * channels * 8, channels).slice();
  }

  /** Gives its memory back: nobody needs it any more, or a later forward pass took its place. */
  end(why: "disposed" | "stale"): void {
    this.gone = why;
    this.#values?.release();
    this.#values = null;
    this.call?.operands.fill(null);
    this.#copy?.dispose();
    this.#copy = null;
  }

  #checkThere(owner: string): void {
    if (this.gone === "disposed") fail("disposed", `${owner}: saved was disposed`);
    if (this.gone === "stale") {
      fail("stale", `${owner}: saved is of an earlier forward pass; takeSaved() keeps it`);
    }
  }
}

const states = /* @__PURE__ */ provideSaved(newRecord);

/** An empty record. */
export function newRecord(port: Port): BatchNormSaved {
  return new BatchNormSaved(new SavedState(port));
}

/** The inside of a record. Who calls it has records made: see `records.ts`. */
export function recordOf(value: unknown): SavedState | undefined {
  return states.get(value as object);
}

/**
 * What a forward pass keeps for its backward pass: x, and copies of γ and of the
 * statistics that normalized x. It copies no x but counts its writes, so that a backward
 * pass through an overwritten one is an error and not a wrong number.
 *
 * @example
 * const { y, saved } = batchNormTraining(x, { weight, bias });
 * const { dx, weightGrad, biasGrad } = batchNormBackward(dy, { saved });
 */
export class BatchNormSaved implements Tracked, Holding {
  /** The kernel whose memory it lives in. */
  readonly kernel: Kernel;
  /** What `Object.prototype.toString` says: who wraps plain objects in Proxies leaves it alone. */
  readonly [Symbol.toStringTag]: string = "BatchNormSaved";

  /** @internal Made by a forward pass. */
  constructor(state: SavedState) {
    if (!(state instanceof SavedState)) {
      fail("invalid-option", "new BatchNormSaved: use saved: true");
    }
    states.set(this, state);
    this.kernel = state.port.kernel;
  }

  /** Whether the batch's own statistics normalized x, or constant ones. */
  get statistics(): "batch" | "running" {
    return inside(this).call?.constant ? "running" : "batch";
  }

  /** The channel axis, counted from 0. */
  get axis(): number {
    return inside(this).call?.axis ?? 0;
  }

  /** Number of channels. */
  get channels(): number {
    return inside(this).channels;
  }

  /** Added to the variance. */
  get eps(): number {
    return inside(this).call?.eps ?? 0;
  }

  /** What was normalized. */
  get x(): Tensor {
    const state = inside(this);
    return state.x?.tensor ?? fail(state.gone ?? "stale", "saved holds no x");
  }

  /** A copy of the means that normalized x, one a channel. */
  get mean(): Float64Values {
    return inside(this).values(0, "mean");
  }

  /** A copy of the variances that normalized x (biased ones of a batch), one a channel. */
  get variance(): Float64Values {
    return inside(this).values(1, "variance");
  }

  /** A copy of γ as it was, `[C]`; `null` where there was none. */
  get weight(): Float64Values | null {
    const state = inside(this);
    const values = state.values(2, "weight");
    return state.call?.operands[Place.WEIGHT] ? values : null;
  }

  /** Whether {@link BatchNormSaved.dispose} was called. */
  get disposed(): boolean {
    return inside(this).gone === "disposed";
  }

  /** Gives its memory back. */
  dispose(): void {
    inside(this).end("disposed");
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  /** A scope that returns the record keeps the tensor that `backward` needs. */
  get "batchnorm-wasm.holds"(): Tensor | null {
    return inside(this).x?.tensor ?? null;
  }
}

function inside(saved: BatchNormSaved): SavedState {
  return (
    states.get(saved) ??
    fail("dtype", "saved is a Proxy (Vue: toRaw), or of another copy of this package")
  );
}
