import { Contents, type Operation } from "../generated/abi.js";
import { Allocation, wroteSince } from "./allocation.js";
import { fail } from "./errors.js";
import type { Port, Tracked } from "./kernel.js";
import { type Call, failForKernel, Place } from "./operands.js";
import type { Float64Values } from "./values.js";
import { View } from "./view.js";

/**
 * What the kernel keeps of a forward pass as float64, vector by vector (`Word.Saved`); of slices of
 * the batch one after the other.
 */
export enum SavedVector {
  /** One value for each set of elements that share statistics. */
  MEAN,
  VARIANCE,
  /** γ, one value a channel. */
  WEIGHT,
}

/** What tells how much is saved. */
type Sizes = Pick<Call, "slices" | "sets" | "channels" | "extra">;

/** What a forward pass saved, as this package has it: the inside of what users hold. */
export class SavedState {
  declare readonly port: Port;
  /** Which forward passes fill it. */
  declare readonly operation: Operation;
  /** What users have of it, if they have seen it. */
  handle: Tracked | null = null;
  /**
   * The forward pass, but what it has written; the copy of its elements' weights belongs to it. The
   * values of γ and of given statistics as they were then are kept apart, so that these may change,
   * but no gradient is to be written over them.
   */
  call: Call<View> | null = null;
  /** Of that pass. */
  sizes: Sizes = { slices: 1, sets: 0, channels: 0, extra: 0 };
  /** How many forward passes it was of. */
  pass = 0;
  /** Where x is a copy that belongs to these values: that. */
  copy: View | null = null;
  /** The output where an activation came last: its sign tells what was let through. */
  y: View | null = null;
  /** Why nothing more can be done with it. */
  gone: "disposed" | "stale" | null = null;

  #version = 0;
  #versionOfY = 0;
  #values: Allocation | null = null;
  #next: Allocation | null = null;

  constructor(port: Port, operation: Operation) {
    this.port = port;
    this.operation = operation;
  }

  get x(): View | null {
    return this.call?.operands[Place.X] ?? null;
  }

  /**
   * Makes room for the values of a forward pass, and returns its address. What is there stays
   * until `set`, or `abandon` undoes it.
   */
  reserve(call: Sizes): number {
    const { slices, sets, channels, extra } = this.sizes;
    const same =
      call.slices === slices &&
      call.sets === sets &&
      call.channels === channels &&
      call.extra === extra;
    if (this.#values && same) return this.#values.address;
    this.#next = allocateSaved(this.port, call);
    return this.#next.address;
  }

  /** Undoes `reserve` after a failure. */
  abandon(): void {
    this.#next?.release();
    this.#next = null;
  }

  /** They are of this forward pass from now on; before its writes are counted. */
  set(call: Call<View>): void {
    const { operands } = call;
    const x = operands[Place.X] as View;
    this.inherit(this, x, operands[Place.OUT] as View);
    if (this.#next) {
      this.#values?.release();
      this.#values = this.#next;
      this.#next = null;
    }
    this.#forgetOutput();
    operands[Place.DY] =
      operands[Place.OUT] =
      operands[Place.FIRST_ACCUMULATOR] =
      operands[Place.SECOND_ACCUMULATOR] =
        null;
    call.constant ||= operands[Place.MEAN] !== null;
    endWeights(this.call);
    this.call = call;
    this.pass += 1;
    this.sizes = call;
    this.#version = x.allocation.version;
  }

  /** The backward pass reads this output, too; after its write was counted. */
  setOutput(y: View): void {
    this.y = y;
    this.#versionOfY = y.allocation.version;
  }

  /** x is a copy that belongs to these values; and then nobody else has the output for long. */
  own(copy: View): void {
    const { y } = this;
    this.copy = copy;
    if (y) this.y = new View(y.allocation, y.shape, y.strides, y.offset);
  }

  /**
   * Takes over the copy of x that the values before have: it can be in users' hands, and the next
   * forward pass may read it, or write it, and then it is theirs.
   */
  inherit(before: SavedState, x: View, y: View): void {
    const copy = before.copy;
    before.copy = null;
    if (copy === x) this.copy = copy;
    else if (copy !== y) copy?.dispose();
  }

  /** @throws BatchNormError `disposed`, `stale`, `foreign-kernel` unless it can be overwritten */
  checkWritable(port: Port, owner: string): void {
    this.#checkThere(owner);
    if (this.port !== port) failForKernel(owner, "saved");
  }

  /**
   * The forward pass.
   *
   * @throws BatchNormError `stale` where its x has changed or is gone, `disposed`
   */
  check(owner: string): Call<View> {
    this.#checkThere(owner);
    const call = this.call ?? fail("stale", `${owner}: there was no forward pass`);
    checkFresh("x", call.operands[Place.X] as View, this.#version, owner);
    if (this.y) checkFresh("y", this.y, this.#versionOfY, owner);
    return call;
  }

  /** One of the kept vectors, copied. */
  values(vector: SavedVector, owner: string): Float64Values {
    this.#checkThere(owner);
    return readSaved(this.#values as Allocation, vector, this.sizes);
  }

  /** What is kept beside, slice by slice, copied. */
  extra(owner: string): Float64Values {
    this.#checkThere(owner);
    const { sizes } = this;
    const length = sizes.extra / 8;
    const before = bytesOfSlice(sizes) / 8 - length;
    return readSlices(this.#values as Allocation, sizes, before, length);
  }

  /** Gives its memory back: nobody needs it any more, or a later forward pass took its place. */
  end(why: "disposed" | "stale"): void {
    this.gone = why;
    this.#values?.release();
    this.#values = null;
    endWeights(this.call);
    this.call?.operands.fill(null);
    this.#forgetOutput();
    this.copy?.dispose();
    this.copy = null;
  }

  #forgetOutput(): void {
    // Users' tensors have a handle; without one it is these values' own view.
    if (this.y && !this.y.handle) this.y.dispose();
    this.y = null;
  }

  #checkThere(owner: string): void {
    if (this.gone === "disposed") fail("disposed", `${owner}: saved was disposed`);
    if (this.gone === "stale") {
      fail("stale", `${owner}: saved is of an earlier forward pass; takeSaved() keeps it`);
    }
  }
}

/** Gives weights back, which are a pass's own. */
function endWeights(pass: Call<View> | null): void {
  const weights = pass?.operands[Place.ELEMENT_WEIGHTS];
  if (weights) weights.dispose();
}

/** @throws BatchNormError `stale` where a view has changed since a version, or is gone */
function checkFresh(name: string, view: View, version: number, owner: string): void {
  if (view.disposed) fail("stale", `${owner}: ${name} was disposed since the forward pass`);
  if (wroteSince(view.allocation, version, view)) {
    fail("stale", `${owner}: ${name} was overwritten since the forward pass`);
  }
}

/** Bytes of what is saved of a slice. */
export function bytesOfSlice({ slices, sets, channels, extra }: Sizes): number {
  return ((SavedVector.WEIGHT * sets) / slices + channels) * 8 + extra;
}

/** Memory for what is saved, which the caller releases. */
export function allocateSaved(port: Port, sizes: Sizes): Allocation {
  const values = new Allocation(port, sizes.slices * bytesOfSlice(sizes), Contents.Zero);
  values.retain();
  return values;
}

/** A copy of one of the vectors, of all slices; of γ, which is the same for all, of the first. */
export function readSaved(values: Allocation, vector: SavedVector, sizes: Sizes): Float64Values {
  const each = sizes.sets / sizes.slices;
  return vector === SavedVector.WEIGHT
    ? readSlices(values, { ...sizes, slices: 1 }, vector * each, sizes.channels)
    : readSlices(values, sizes, vector * each, each);
}

/** A copy of so many numbers of each slice, behind some others. */
function readSlices(
  { port, address }: Allocation,
  sizes: Sizes,
  before: number,
  length: number,
): Float64Values {
  const copy = new Float64Array(sizes.slices * length);
  for (let slice = 0; slice < sizes.slices; slice++) {
    const at = address + slice * bytesOfSlice(sizes) + before * 8;
    copy.set(new Float64Array(port.memory.linear.buffer, at, length), slice * length);
  }
  return copy;
}
